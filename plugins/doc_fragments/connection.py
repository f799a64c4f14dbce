# Copyright (c) 2026, the storpool.cloudstack authors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Documentation of the options that say how to reach the systems."""

from __future__ import annotations


class ModuleDocFragment:
    """Options shared by all modules that speak to StorPool."""

    DOCUMENTATION = r"""
options:
  sp_api_http_host:
    description:
      - Host names or addresses of the StorPool management API, in order of preference. The next one is tried when one cannot be reached.
      - An entry may carry its own port, as in V(10.0.0.1:8081).
      - Every connection setting is looked up in this order - the option, the profile, the environment variable (E(SP_API_HTTP_HOST)),
        C(/etc/storpool.conf) and C(/etc/storpool.conf.d/*.conf). An empty variable, text or entry of a profile counts as not set.
    type: list
    elements: str
  sp_api_http_port:
    description:
      - TCP port of the API. Also taken from E(SP_API_HTTP_PORT). When nothing sets it, V(81) is used.
    type: int
  sp_auth_token:
    description:
      - Token of the API. Also taken from E(SP_AUTH_TOKEN). It never appears in any output.
    type: str
  sp_cluster:
    description:
      - Name of the cluster that is to carry out the calls, when it is not the one that is asked. V(~loc.sub) names it by its id.
    type: str
  sp_multi_cluster:
    description:
      - Whether calls span all clusters of the location (multi-cluster mode). Off when nothing sets it.
    type: bool
  sp_timeout:
    description:
      - Seconds that one call may take in all, with its retries and with failing over to other hosts. When nothing sets it, V(120) is used.
    type: int
  profile:
    description:
      - Name of a section of O(profile_file) with any of the connection settings, so that several clusters can be kept in one file.
    type: str
  profile_file:
    description:
      - INI file with one section for each profile. When not given, C(~/.config/storpool.cloudstack/profiles.ini) is used.
    type: path
requirements:
  - requests (Python library) where the task runs
notes:
  - A task with a local connection and without C(become), C(async) or C(environment) runs inside the controller,
    which makes loops much faster.
    Any other task runs as an ordinary module on its target. Results are the same.
    Set the variable C(storpool_in_process) to V(false) to always run the module.
"""
