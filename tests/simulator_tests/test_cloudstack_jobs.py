# Copyright (c) 2026, the storpool.cloudstack authors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Asynchronous jobs: pending, done, failed, lost (sheet section 6)."""

from __future__ import annotations

import uuid
from collections.abc import Callable

import pytest
from storpool_simulator.testing import Simulator

from .cloudstack_support import VERSIONS, failed_job, job, named, ok, one, refused
from .support import wait_until

POOL = "storpool-nvme"


def pool_id(sim: Simulator) -> str:
    return named(sim, "listStoragePools", "storagepool", POOL)


def pool_state(sim: Simulator) -> str:
    return one(sim, "listStoragePools", "storagepool", name=POOL)["state"]


@pytest.fixture
def cloud(cloud: Simulator) -> Simulator:
    """Here no job ends because a second has passed meanwhile."""
    cloud.stop_clock()
    return cloud


def test_a_job_runs_for_some_polls_and_then_has_a_result(cloud: Simulator) -> None:
    id = pool_id(cloud)
    started = ok(cloud, "enableStorageMaintenance", id=id)
    assert set(started) == {"jobid"}
    first = ok(cloud, "queryAsyncJobResult", jobid=started["jobid"])
    assert (first["jobstatus"], first["jobprocstatus"], first["jobresultcode"]) == (0, 0, 0)
    assert "jobresult" not in first and "completed" not in first
    assert first["cmd"] == "org.apache.cloudstack.api.command.admin.storage.EnableStorageMaintenanceCmd"
    assert (first["jobinstancetype"], first["jobinstanceid"]) == ("StoragePool", id)
    pending = one(cloud, "listStoragePools", "storagepool")
    assert (pending["state"], pending["jobid"], pending["jobstatus"]) == ("Up", started["jobid"], 0)
    done = ok(cloud, "queryAsyncJobResult", jobid=started["jobid"])
    assert (done["jobstatus"], done["jobresulttype"], done["jobresult"]["storagepool"]["state"]) == (1, "object", "Maintenance")
    assert "jobid" not in one(cloud, "listStoragePools", "storagepool")
    assert ok(cloud, "queryAsyncJobResult", jobid=started["jobid"]) == done


@pytest.mark.parametrize("version", VERSIONS)
def test_the_maintenance_commands_have_odd_envelopes(clouds: Callable[[str], Simulator], version: str) -> None:
    from .cloudstack_support import call

    sim = clouds(version)
    id = pool_id(sim)
    reply = call(sim, "enableStorageMaintenance", "POST", id=id)
    assert reply.envelope == "prepareprimarystorageformaintenanceresponse"
    assert call(sim, "cancelStorageMaintenance", "POST", id=id).envelope == "cancelprimarystoragemaintenanceresponse"
    server = ok(sim, "queryAsyncJobResult", jobid=reply.content["jobid"])
    assert ("managementserverid" in server, "managementservername" in server) == (True, version >= "4.21")


def test_a_failing_job_is_http_200_and_keeps_nothing(cloud: Simulator) -> None:
    result = failed_job(cloud, "cancelStorageMaintenance", id=pool_id(cloud))
    assert result["errorcode"] == 530 and "is not ready to complete migration, as the status is:Up" in result["errortext"]


def test_other_exceptions_than_those_of_the_api_are_530_in_a_job(cloud: Simulator) -> None:
    """``InvalidParameterValueException`` is 431 as an answer and 530 in a job."""
    job(cloud, "enableStorageMaintenance", id=pool_id(cloud))
    assert failed_job(cloud, "enableStorageMaintenance", id=pool_id(cloud))["errorcode"] == 530
    host = named(cloud, "listHosts", "host", "kvm11")
    assert failed_job(cloud, "enableHAForHost", hostid=host)["errorcode"] == 431


def test_parameters_are_checked_before_the_job_exists(cloud: Simulator) -> None:
    assert refused(cloud, "enableStorageMaintenance", id="no-such-pool")["errorcode"] == 431
    assert ok(cloud, "listAsyncJobs", listall=True) == {}


def test_a_job_that_nobody_polls_gets_done(cloud: Simulator) -> None:
    cloud.background(False)
    ok(cloud, "enableStorageMaintenance", id=pool_id(cloud))
    assert pool_state(cloud) == "Up"
    cloud.background(True)
    cloud.advance(2)
    assert pool_state(cloud) == "Maintenance"


def test_jobs_survive_a_kill(start: Callable[..., Simulator]) -> None:
    sim = start(cloudstack="4.20.2")
    started = ok(sim, "enableStorageMaintenance", id=pool_id(sim))
    sim.kill()
    sim.start()
    wait_until(lambda: ok(sim, "queryAsyncJobResult", jobid=started["jobid"])["jobstatus"] == 1)
    assert pool_state(sim) == "Maintenance"


def test_clients_may_choose_the_job_id(cloud: Simulator) -> None:
    wanted = str(uuid.uuid4())
    assert ok(cloud, "enableStorageMaintenance", id=pool_id(cloud), injectedjobid=wanted) == {"jobid": wanted}
    assert refused(cloud, "enableStorageMaintenance", id=pool_id(cloud), injectedjobid=wanted)["errorcode"] == 431


def test_listing_jobs(cloud: Simulator) -> None:
    first = ok(cloud, "enableStorageMaintenance", id=pool_id(cloud))["jobid"]
    second = ok(cloud, "reconnectHost", id=named(cloud, "listHosts", "host", "kvm11"))["jobid"]
    assert [one["jobid"] for one in ok(cloud, "listAsyncJobs", listall=True)["asyncjobs"]] == [first, second]
    assert [one["jobid"] for one in ok(cloud, "listAsyncJobs", keyword="reconnect")["asyncjobs"]] == [second]


def test_old_jobs_are_forgotten(cloud: Simulator) -> None:
    started = ok(cloud, "enableStorageMaintenance", id=pool_id(cloud))
    cloud.advance(60)
    assert ok(cloud, "queryAsyncJobResult", jobid=started["jobid"])["jobstatus"] == 1
    cloud.advance(1441 * 60)
    assert refused(cloud, "queryAsyncJobResult", jobid=started["jobid"])["errorcode"] == 431


# Faults


def test_a_job_fails_on_demand(cloud: Simulator) -> None:
    cloud.fault("job_fails", "enableStorageMaintenance", code=533, text="no room")
    assert failed_job(cloud, "enableStorageMaintenance", id=pool_id(cloud)) == {"errorcode": 533, "errortext": "no room"}
    assert pool_state(cloud) == "Up"
    job(cloud, "enableStorageMaintenance", id=pool_id(cloud))


@pytest.mark.parametrize("effect, state", [(True, "Maintenance"), (False, "Up")])
def test_a_lost_job_with_and_without_effect(cloud: Simulator, effect: bool, state: str) -> None:
    cloud.fault("job_lost", "enableStorageMaintenance", effect=effect)
    started = ok(cloud, "enableStorageMaintenance", id=pool_id(cloud))
    content = refused(cloud, "queryAsyncJobResult", jobid=started["jobid"])
    assert (content["errorcode"], content["cserrorcode"]) == (431, 4350)
    assert ok(cloud, "listAsyncJobs", listall=True) == {}
    cloud.advance(10)
    assert pool_state(cloud) == state


def test_a_slow_job(cloud: Simulator) -> None:
    cloud.fault("job_slow", "enableStorageMaintenance", polls=5)
    started = ok(cloud, "enableStorageMaintenance", id=pool_id(cloud))
    seen = [ok(cloud, "queryAsyncJobResult", jobid=started["jobid"])["jobstatus"] for _unused in range(7)]
    assert seen == [0, 0, 0, 0, 0, 1, 1]


def test_jobs_on_one_object_are_done_one_after_the_other(cloud: Simulator) -> None:
    """The second one is not done before the first one, however often it is asked for."""
    cloud.background(False)
    cloud.fault("job_slow", "enableStorageMaintenance", polls=3)
    first = ok(cloud, "enableStorageMaintenance", id=pool_id(cloud))["jobid"]
    second = ok(cloud, "cancelStorageMaintenance", id=pool_id(cloud))["jobid"]
    assert [ok(cloud, "queryAsyncJobResult", jobid=second)["jobstatus"] for _unused in range(5)] == [0] * 5
    assert [ok(cloud, "queryAsyncJobResult", jobid=first)["jobstatus"] for _unused in range(4)] == [0, 0, 0, 1]
    assert pool_state(cloud) == "Maintenance"
    assert ok(cloud, "queryAsyncJobResult", jobid=second)["jobstatus"] == 1
    assert pool_state(cloud) == "Up"


def test_a_server_that_restarts_may_lose_its_jobs(cloud: Simulator) -> None:
    cloud.background(False)
    kept = ok(cloud, "enableStorageMaintenance", id=pool_id(cloud))["jobid"]
    cloud.restart_server()
    assert ok(cloud, "queryAsyncJobResult", jobid=kept)["jobstatus"] == 0
    cloud.restart_server(lose_jobs=True)
    lost = ok(cloud, "queryAsyncJobResult", jobid=kept)
    assert lost["jobstatus"] == 2 and lost["jobresult"]["errorcode"] == 530 and "restart" in lost["jobresult"]["errortext"]
    assert pool_state(cloud) == "Up"


def test_faults_of_jobs_leave_storpool_alone(cloud: Simulator) -> None:
    cloud.fault("job_fails", "*")
    assert cloud.post("VolumeCreate", {"name": "v", "size": 1 << 30})[0] == 200
    assert failed_job(cloud, "enableStorageMaintenance", id=pool_id(cloud))["errortext"] == "a fault on demand"
