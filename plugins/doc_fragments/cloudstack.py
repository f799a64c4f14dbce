# Copyright (c) 2026, the storpool.cloudstack authors
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Documentation of the options that say how to reach CloudStack."""

from __future__ import annotations


class ModuleDocFragment:
    """Options shared by all modules that speak to CloudStack."""

    DOCUMENTATION = r"""
options:
  cloudstack_url:
    description:
      - Address of the CloudStack API, as in V(https://cloudstack.example.com/client/api).
      - Every connection setting is looked up in this order - the option, the profile, the environment variable (E(CLOUDSTACK_ENDPOINT)).
        An empty value counts as not set.
    type: str
    aliases: [api_url]
  cloudstack_key:
    description:
      - API key of a root administrator. Also taken from E(CLOUDSTACK_KEY). It never appears in any output.
    type: str
    aliases: [api_key]
  cloudstack_secret:
    description:
      - Secret key that belongs to O(cloudstack_key). Also taken from E(CLOUDSTACK_SECRET). It never appears in any output.
    type: str
    aliases: [api_secret]
  cloudstack_validate_certs:
    description:
      - Whether to verify the server's certificate. On when nothing sets it.
    type: bool
  cloudstack_ca_path:
    description:
      - File or directory with the certificate authorities to verify the server with, instead of the well-known ones.
      - E(REQUESTS_CA_BUNDLE), proxies of the environment and C(.netrc) are not used.
    type: path
  cloudstack_timeout:
    description:
      - Seconds that one call may take in all, with its retries. When nothing sets it, V(120) is used.
    type: int
  cloudstack_job_timeout:
    description:
      - Seconds that a job may take. When nothing sets it, V(3600) is used.
    type: int
  profile:
    description:
      - Name of a section of O(profile_file) with any of the connection settings, so that several systems can be kept in one file.
    type: str
  profile_file:
    description:
      - INI file with one section for each profile. When not given, C(~/.config/storpool.cloudstack/profiles.ini) is used.
    type: path
requirements:
  - requests (Python library) where the task runs
"""
