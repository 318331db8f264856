import json
import threading
from collections.abc import Iterator
from datetime import datetime
from typing import Any

import pytest
import requests
from kubernetes import client, watch

from app.simulator.clock import VirtualClock
from app.simulator.fleet import Fleet
from app.simulator.kubernetes_api import SimulatedKubernetes
from app.simulator.spec import OPEN_MS
from tests.simulator.small import MINUTE_MS, MONDAY_MS, small_fleet


@pytest.fixture(scope="module")
def fleet() -> Fleet:
    return small_fleet()


@pytest.fixture
def clock() -> VirtualClock:
    return VirtualClock(MONDAY_MS)


@pytest.fixture
def server(fleet: Fleet, clock: VirtualClock) -> Iterator[SimulatedKubernetes]:
    with SimulatedKubernetes(fleet, clock) as server:
        yield server


@pytest.fixture
def core(server: SimulatedKubernetes) -> client.CoreV1Api:
    configuration = client.Configuration()
    configuration.host = server.url
    return client.CoreV1Api(client.ApiClient(configuration))


def _get(server: SimulatedKubernetes, path: str, **form: str) -> requests.Response:
    return requests.get(f"{server.url}{path}", params=form, timeout=10)


def _events(server: SimulatedKubernetes, version: str, **form: str) -> list[Any]:
    form = {"watch": "true", "resourceVersion": version, "timeoutSeconds": "0.05", **form}
    text = _get(server, "/api/v1/pods", **form).text
    return [json.loads(line) for line in text.splitlines()]


def _names(items: list[Any]) -> list[tuple[str, str]]:
    return [(item["metadata"]["namespace"], item["metadata"]["name"]) for item in items]


def test_the_official_client_reads_nodes_pods_and_version(
    core: client.CoreV1Api, server: SimulatedKubernetes, fleet: Fleet
) -> None:
    nodes = core.list_node().items
    pods = core.list_pod_for_all_namespaces().items
    version = client.VersionApi(core.api_client).get_code()

    living = [node for node in fleet.nodes if node.created_ms <= server.clock() < node.deleted_ms]
    assert sorted(node.metadata.name for node in nodes) == sorted(node.name for node in living)
    assert {node.status.allocatable["nvidia.com/gpu"] for node in nodes} == {"4"}
    shown = [pod for pod in fleet.pods if pod.exists_at(server.clock())]
    assert sorted(pod.metadata.uid for pod in pods) == sorted(pod.uid for pod in shown)
    assert version.git_version == "v1.33.4"


def test_pages_put_together_are_the_whole_list(
    core: client.CoreV1Api, server: SimulatedKubernetes, clock: VirtualClock
) -> None:
    whole = [pod.metadata.uid for pod in core.list_pod_for_all_namespaces().items]
    uids, token = [], None
    while True:
        page = core.list_pod_for_all_namespaces(limit=2, _continue=token)
        uids += [pod.metadata.uid for pod in page.items]
        token = page.metadata._continue
        clock.advance(1_000)  # the list stays the one that was begun
        if not token:
            break

    assert len(whole) > 4
    assert uids == whole
    assert _get(server, "/api/v1/pods", limit="2", **{"continue": "junk"}).status_code == 400


def test_a_page_that_comes_too_late_is_gone(
    server: SimulatedKubernetes, clock: VirtualClock
) -> None:
    token = _get(server, "/api/v1/pods", limit="2").json()["metadata"]["continue"]

    clock.advance(5 * MINUTE_MS)
    in_time = _get(server, "/api/v1/pods", limit="2", **{"continue": token})
    clock.advance(1)
    late = _get(server, "/api/v1/pods", limit="2", **{"continue": token})

    assert in_time.status_code == 200
    assert (late.status_code, late.json()["reason"]) == (410, "Expired")


def test_a_page_may_be_made_to_expire(server: SimulatedKubernetes) -> None:
    token = _get(server, "/api/v1/pods", limit="2").json()["metadata"]["continue"]
    server.expire_next_continue()

    statuses = [
        _get(server, "/api/v1/pods", limit="2", **{"continue": token}).status_code for _ in range(2)
    ]

    assert statuses == [410, 200]


def test_a_list_and_the_events_after_it_give_the_later_list(
    server: SimulatedKubernetes, clock: VirtualClock
) -> None:
    body = _get(server, "/api/v1/pods").json()
    objects = {item["metadata"]["uid"]: item for item in body["items"]}
    version = body["metadata"]["resourceVersion"]
    kinds = set()
    for _ in range(10):
        clock.advance(2 * MINUTE_MS)
        for event in _events(server, version):
            item = event["object"]
            assert int(item["metadata"]["resourceVersion"]) > int(version)
            version = item["metadata"]["resourceVersion"]
            kinds.add(event["type"])
            uid = item["metadata"]["uid"]
            assert (uid in objects) == (event["type"] != "ADDED")
            if event["type"] == "DELETED":
                del objects[uid]
            else:
                objects[uid] = item
        # Renew the version, as bookmarks would.
        version = _get(server, "/api/v1/pods").json()["metadata"]["resourceVersion"]
    later = _get(server, "/api/v1/pods").json()["items"]

    assert kinds == {"ADDED", "MODIFIED", "DELETED"}
    assert {item["metadata"]["uid"] for item in later} == objects.keys()
    for item in later:
        seen = objects[item["metadata"]["uid"]]
        assert (seen["status"], seen["metadata"]) == (item["status"], item["metadata"])


def _second(text: str) -> int:
    return round(datetime.fromisoformat(text).timestamp() * 1000)


def test_what_the_events_say_of_holds_is_true_to_the_second(
    server: SimulatedKubernetes, fleet: Fleet, clock: VirtualClock
) -> None:
    version = str(server.history.version_at(fleet.spec.opens_ms))
    clock.move_to(fleet.spec.closes_ms - 1)
    server.history.kept_ms = 24 * 60 * MINUTE_MS
    spans: dict[str, tuple[int, int]] = {}
    for event in _events(server, version):
        item = event["object"]
        status = item["status"]
        scheduled = [c for c in status["conditions"] if c["type"] == "PodScheduled"]
        if scheduled[0]["status"] != "True":
            continue
        ends = [
            c["state"].get("terminated", {}).get("finishedAt")
            for c in [*status["containerStatuses"], *status.get("initContainerStatuses", [])]
        ]
        over = all(ends) and status["phase"] in ("Succeeded", "Failed")
        end = max(map(_second, ends)) if over else OPEN_MS
        uid = item["metadata"]["uid"]
        spans[uid] = (_second(scheduled[0]["lastTransitionTime"]), end)

    compared = 0
    for hold in fleet.truth.holds:
        if hold.pod_uid in spans:
            shown = hold.end_ms if hold.end_ms < fleet.spec.closes_ms else OPEN_MS
            assert spans[hold.pod_uid] == (hold.start_ms, shown)
            compared += 1
    assert compared > 10


def test_a_watch_waits_for_the_clock_and_sends_bookmarks(
    core: client.CoreV1Api, server: SimulatedKubernetes, clock: VirtualClock
) -> None:
    version = core.list_pod_for_all_namespaces().metadata.resource_version
    types: list[str] = []

    def read() -> None:
        stream = watch.Watch().stream(
            core.list_pod_for_all_namespaces,
            resource_version=version,
            allow_watch_bookmarks=True,
            timeout_seconds=1,
        )
        types.extend(event["type"] for event in stream)

    reader = threading.Thread(target=read)
    reader.start()
    while server.delivered_ms("pods") < MONDAY_MS:
        server.stopping.wait(0.01)
    before = len(types)
    clock.move_to(MONDAY_MS + 10 * MINUTE_MS)
    reader.join(timeout=10)

    assert before == 0
    assert types.count("BOOKMARK") >= 2
    assert {"ADDED", "MODIFIED"} <= set(types)
    assert server.delivered_ms("pods") == clock()


def test_a_bookmark_keeps_a_quiet_watch_alive(
    server: SimulatedKubernetes, clock: VirtualClock
) -> None:
    server.history.kept_ms = 5 * MINUTE_MS
    version = _get(server, "/api/v1/nodes").json()["metadata"]["resourceVersion"]
    for _ in range(5):
        clock.advance(2 * MINUTE_MS)
        events = _events(server, version, allowWatchBookmarks="true")
        assert events[-1]["type"] == "BOOKMARK"
        version = events[-1]["object"]["metadata"]["resourceVersion"]


def test_a_version_expires_after_five_minutes_in_both_shapes(
    server: SimulatedKubernetes, clock: VirtualClock
) -> None:
    version = _get(server, "/api/v1/pods").json()["metadata"]["resourceVersion"]
    clock.advance(5 * MINUTE_MS)
    assert all(event["type"] != "ERROR" for event in _events(server, version))

    clock.advance(2_000)
    events = _events(server, version)
    server.gone_as_event = False
    refused = _get(server, "/api/v1/pods", watch="true", resourceVersion=version)

    assert [event["type"] for event in events] == ["ERROR"]
    assert events[0]["object"]["code"] == 410
    assert (refused.status_code, refused.json()["code"]) == (410, 410)


def test_deleted_pods_are_forgotten(
    server: SimulatedKubernetes, fleet: Fleet, clock: VirtualClock
) -> None:
    gone = next(p for p in fleet.pods if MONDAY_MS < p.removed_ms < fleet.spec.end_ms)

    clock.move_to(gone.removed_ms - 1)
    before = _names(_get(server, "/api/v1/pods").json()["items"])
    clock.move_to(gone.removed_ms)
    after = _names(_get(server, "/api/v1/pods").json()["items"])

    assert (gone.namespace, gone.name) in before
    assert (gone.namespace, gone.name) not in after


def test_owners_are_found_until_they_go(
    server: SimulatedKubernetes, fleet: Fleet, clock: VirtualClock
) -> None:
    jobs = [p for p in fleet.pods if p.owner and p.owner.kind == "Job"]
    job = next(p for p in jobs if p.created_ms > MONDAY_MS and p.removed_ms < OPEN_MS)
    served = next(p for p in fleet.pods if p.owner and p.owner.kind == "ReplicaSet")
    assert job.owner
    assert served.owner
    batch = f"/apis/batch/v1/namespaces/{job.namespace}/jobs"
    sets = f"/apis/apps/v1/namespaces/{served.namespace}/replicasets"

    clock.move_to(job.created_ms)
    found = _get(server, f"{batch}/{job.owner.name}").json()
    above = _get(server, f"{sets}/{served.owner.name}").json()["metadata"]["ownerReferences"]
    clock.move_to(job.removed_ms + 60 * MINUTE_MS)

    assert found["metadata"]["uid"] == job.owner.uid
    assert [(o["kind"], o["name"]) for o in above] == [("Deployment", served.owner.top().name)]
    assert _get(server, f"{batch}/{job.owner.name}").status_code == 404
    assert _get(server, f"{sets}/nobody").status_code == 404
    assert _get(server, f"/apis/apps/v1/namespaces/x/jobs/{job.owner.name}").status_code == 404


def test_the_date_header_tells_virtual_time(server: SimulatedKubernetes) -> None:
    assert _get(server, "/version").headers["Date"] == "Mon, 23 Nov 2026 00:00:00 GMT"


def test_rights_and_faults_are_told_as_status_objects(server: SimulatedKubernetes) -> None:
    server.forbidden = ("/apis/apps",)
    server.fail_next(500)
    failed = _get(server, "/version")
    denied = _get(server, "/apis/apps/v1/namespaces/x/replicasets/y")
    server.token = "sesame"
    unknown = _get(server, "/version")
    headers = {"Authorization": "Bearer sesame"}
    known = requests.get(f"{server.url}/version", headers=headers, timeout=10)

    answers = [failed, denied, unknown]
    assert [answer.status_code for answer in answers] == [500, 403, 401]
    assert all(answer.json()["kind"] == "Status" for answer in answers)
    assert known.status_code == 200


def test_a_watch_may_break_off_in_the_middle_of_an_event(
    server: SimulatedKubernetes, clock: VirtualClock
) -> None:
    version = _get(server, "/api/v1/pods").json()["metadata"]["resourceVersion"]
    clock.advance(5 * MINUTE_MS)
    server.cut_next_stream()
    form = {"watch": "true", "resourceVersion": version}

    with pytest.raises(requests.exceptions.ChunkedEncodingError):
        requests.get(f"{server.url}/api/v1/pods", params=form, timeout=10)
    assert _events(server, version)


def test_a_node_shows_fewer_allocatable_devices_while_one_is_unhealthy(
    server: SimulatedKubernetes, fleet: Fleet, clock: VirtualClock
) -> None:
    node = next(node for node in fleet.nodes if len(node.counts()) == 3)
    shown = []
    for at_ms in (node.unhealthy_from_ms - 1, node.unhealthy_from_ms, node.unhealthy_until_ms):
        clock.move_to(at_ms)
        items = _get(server, "/api/v1/nodes").json()["items"]
        item = next(item for item in items if item["metadata"]["name"] == node.name)
        status = item["status"]
        shown.append(
            (status["capacity"]["nvidia.com/gpu"], status["allocatable"]["nvidia.com/gpu"])
        )

    assert shown == [("4", "4"), ("4", "3"), ("4", "4")]


def test_a_path_that_is_not_simulated_is_not_found(server: SimulatedKubernetes) -> None:
    assert _get(server, "/api/v1/secrets").status_code == 404
    assert _get(server, "/api/v1/pods", watch="true", resourceVersion="x").status_code == 400
