# Copyright (c) 2026, the storpool.cloudstack authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What no source on CloudStack settles, each as one named switch (`--assume NAME=VALUE`)."""

from __future__ import annotations

from dataclasses import dataclass

from ..assumptions import Switches, switch


@dataclass
class CloudAssumptions(Switches):
    """The defaults are what the reference sheets suggest, and where they are silent what the server's sources show."""

    # Lists and settings
    names_ignore_case: bool = switch(True, "names compare without case, as MySQL's usual collation does")
    setting_name_match: str = switch("substring", "`name` of listConfigurations (the two sheets differ)", "substring", "exact")
    setting_scope_shown: str = switch(
        "scoped", "`scope` in answers on settings: only when asked for by an id, in lower case (the code), or always", "scoped", "always"
    )
    scope_falls_back_to: str = switch(
        "in_force",
        "the value of a setting in a scope that has none of its own: the global one in force, or the one stored",
        "in_force",
        "stored",
    )

    # Jobs
    job_polls: int = switch(1, "looks at a job that find it running, before it is finished")
    job_seconds: float = switch(1.0, "seconds until a job that nobody looks at is finished, for each such look")
    lost_job_text: str = switch("job cancelled because of management server restart", "text of a job that its management server lost")

    # Snapshots
    policies_run: bool = switch(
        True, "snapshot policies run by the clock; without, a test that declares some does not depend on the minute of the hour"
    )

    # Hosts, in seconds of the simulator's clock
    poll_seconds: float = switch(
        4.0, "how often background work looks at hosts, power states and host HA (plugin sheet 3.3: about every 4 s)"
    )
    boot_seconds: float = switch(
        120.0, "how long a host takes from a reset or power-on until agent and StorPool client run, if it comes back"
    )
    maintenance_seconds: float = switch(4.0, "how long a host is in PrepareForMaintenance")
    investigate_seconds: float = switch(
        150.0, "how long a host without host HA is Disconnected before its heartbeat decides that it is Down (ping.interval x ping.timeout)"
    )

    # Storage pools
    test_volumes: bool = switch(
        False, "a host that connects gets a test volume of each pool for its cluster (cs=check-volume-is-on-host), which stays attached"
    )
    servers_have_storpool_conf: bool = switch(
        True, "management servers have /etc/storpool.conf of the first cluster, for a url that is a template name"
    )
    pool_details_update: str = switch(
        "overlay",
        "details of updateStoragePool: laid over the stored ones (the generic code), or ignored (the plugin)",
        "overlay",
        "ignored",
    )

    # Commands
    unsupported_command_status: int = switch(501, "a command that the simulator does not have: HTTP status and error code")
