"""The client of the Kubernetes API over HTTP."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from app.simulator.fleet import Fleet
from app.simulator.kubernetes_api import SimulatedKubernetes
from app.simulator.spec import FleetSpec
from app.sources.kubernetes import (
    KubernetesAnswerBroken,
    KubernetesConfigError,
    KubernetesError,
    KubernetesObjectBroken,
    KubernetesRefused,
    KubernetesSettings,
    KubernetesSource,
    KubernetesUnreachable,
    WatchExpired,
)
from app.usage.inventory import Workload
from tests.real.ports import free_port
from tests.sources.scripted_server import Reply, Request, json_reply, scripted_server

PODS = "/api/v1/pods"


def a_pod(name: str, *, gpus: int = 1, version: int = 1, **metadata: object) -> dict[str, object]:
    return {
        "metadata": {
            "name": name,
            "namespace": "search",
            "uid": f"uid-{name}",
            "creationTimestamp": "2026-11-02T10:00:00Z",
            "resourceVersion": str(version),
            **metadata,
        },
        "spec": {
            "containers": [{"resources": {"requests": {"nvidia.com/gpu": gpus} if gpus else {}}}]
        },
        "status": {"phase": "Pending"},
    }


def a_list(*items: object, version: int = 100, token: str = "") -> Reply:
    metadata = {"resourceVersion": str(version), **({"continue": token} if token else {})}
    return json_reply({"kind": "PodList", "metadata": metadata, "items": list(items)})


def an_event(kind: str, item: object) -> bytes:
    return json.dumps({"type": kind, "object": item}).encode() + b"\n"


def a_status(code: int, message: str) -> dict[str, object]:
    return {"kind": "Status", "status": "Failure", "code": code, "message": message}


def a_source(url: str, **options: object) -> KubernetesSource:
    given: dict[str, object] = {"mode": "url", "url": url, "timeout_seconds": 5.0, **options}
    return KubernetesSource(KubernetesSettings(**given))  # type: ignore[arg-type]  # given by name


def owned_by(kind: str, name: str) -> dict[str, object]:
    reference = {"kind": kind, "name": name, "uid": f"uid-{name}", "controller": True}
    return {"ownerReferences": [reference]}


def in_turn(*replies: Reply) -> Callable[[Request], Reply]:
    left = list(replies)
    return lambda _: left.pop(0) if len(left) > 1 else left[0]


def test_a_list_is_read_page_by_page_and_filtered() -> None:
    def answer(request: Request) -> Reply:
        if request.form.get("continue") == "next":
            return a_list(a_pod("c"), version=100)
        return a_list(a_pod("a"), a_pod("b", gpus=0), version=100, token="next")

    with scripted_server(answer) as server:
        pods, version = a_source(server.url, page_size=2).list_pods()

    assert [pod.name for pod in pods] == ["a", "c"]
    assert version == "100"
    assert [request.form["limit"] for request in server.asked] == ["2", "2"]


def test_a_list_that_expires_between_pages_is_begun_again() -> None:
    expired = json_reply(a_status(410, "The provided continue parameter is too old"), 410)
    replies = in_turn(
        a_list(a_pod("a"), token="next"), expired, a_list(a_pod("a"), a_pod("b"), version=120)
    )

    with scripted_server(replies) as server:
        pods, version = a_source(server.url).list_pods()

    assert [pod.name for pod in pods] == ["a", "b"]
    assert version == "120"


def test_the_present_version_is_that_of_the_shortest_list() -> None:
    with scripted_server(lambda _: a_list(a_pod("a"), version=123, token="more")) as server:
        source = a_source(server.url)
        versions = (source.version_of_pods(), source.version_of_nodes())

    assert versions == ("123", "123")
    assert [request.form for request in server.asked] == [{"limit": "1"}] * 2


def test_a_list_that_always_expires_is_given_up() -> None:
    with (
        scripted_server(lambda _: json_reply(a_status(410, "too old"), 410)) as server,
        pytest.raises(KubernetesRefused, match="expire 5 times"),
    ):
        a_source(server.url).list_pods()


def test_a_watch_yields_changes_and_bookmarks_and_leaves_other_pods_out() -> None:
    lines = (
        an_event("ADDED", a_pod("a", version=101)),
        an_event("MODIFIED", a_pod("b", gpus=0, version=102)),
        an_event("BOOKMARK", {"kind": "Pod", "metadata": {"resourceVersion": "150"}}),
        an_event("DELETED", a_pod("a", version=151)),
    )
    with scripted_server(lambda _: Reply(lines=lines)) as server:
        events = list(a_source(server.url, watch_seconds=7).watch_pods("100"))

    assert [(event.type, event.resource_version) for event in events] == [
        ("ADDED", "101"),
        ("BOOKMARK", "150"),
        ("DELETED", "151"),
    ]
    assert events[0].pod is not None
    assert events[1].is_bookmark
    assert events[2].is_deletion
    asked = server.asked[0].form
    assert asked["watch"].lower() == "true"
    assert asked["allowWatchBookmarks"].lower() == "true"
    assert (asked["resourceVersion"], asked["timeoutSeconds"]) == ("100", "7")


def test_an_event_may_come_in_several_chunks() -> None:
    line = an_event("ADDED", a_pod("a", version=101))
    with scripted_server(lambda _: Reply(lines=(line[:40], line[40:]))) as server:
        (event,) = a_source(server.url).watch_pods("100")

    assert event.pod is not None
    assert event.pod.name == "a"


@pytest.mark.parametrize(
    "reply",
    [
        json_reply(a_status(410, "too old resource version: 1 (9)"), 410),
        Reply(lines=(an_event("ERROR", a_status(410, "too old resource version: 1 (9)")),)),
    ],
    ids=["status", "event"],
)
def test_a_version_that_is_too_old_is_said_in_both_shapes(reply: Reply) -> None:
    with (
        scripted_server(lambda _: reply) as server,
        pytest.raises(WatchExpired, match="too old"),
    ):
        list(a_source(server.url).watch_pods("1"))


@pytest.mark.parametrize(
    ("lines", "error"),
    [
        ((b"<html>\n",), KubernetesAnswerBroken),
        ((an_event("ADDED", a_pod("a"))[:50],), KubernetesAnswerBroken),
        ((b'{"type":"ADDED"}\n',), KubernetesAnswerBroken),
        ((an_event("RENAMED", a_pod("a")),), KubernetesAnswerBroken),
        ((an_event("ERROR", a_status(500, "etcd is gone")),), KubernetesRefused),
        ((an_event("ADDED", a_pod("a", uid="")),), KubernetesObjectBroken),
    ],
)
def test_a_bad_event_is_one_clear_error(
    lines: tuple[bytes, ...], error: type[KubernetesError]
) -> None:
    with scripted_server(lambda _: Reply(lines=lines)) as server, pytest.raises(error):
        list(a_source(server.url).watch_pods("1"))


@pytest.mark.parametrize(
    ("reply", "error", "words"),
    [
        (json_reply(a_status(403, "pods is forbidden"), 403), KubernetesRefused, "ClusterRole"),
        (json_reply(a_status(401, "Unauthorized"), 401), KubernetesRefused, "401"),
        (Reply(500, b"oops"), KubernetesRefused, "oops"),
        (Reply(200, b'{"kind": "PodL'), KubernetesAnswerBroken, "not JSON"),
        (Reply(200, b'{"items": ', missing=50), KubernetesAnswerBroken, "cut short"),
        (json_reply([1]), KubernetesAnswerBroken, "no object"),
        (json_reply({"items": {"a": 1}}), KubernetesAnswerBroken, "no list"),
    ],
)
def test_a_bad_list_is_one_clear_error(
    reply: Reply, error: type[KubernetesError], words: str
) -> None:
    with (
        scripted_server(lambda _: reply) as server,
        pytest.raises(error, match=words) as caught,
    ):
        a_source(server.url).list_pods()

    assert caught.value.hint


def test_nobody_there_is_unreachable() -> None:
    with pytest.raises(KubernetesUnreachable, match="did not answer"):
        a_source(f"http://127.0.0.1:{free_port()}").list_nodes()


def test_the_token_is_sent_and_never_shown() -> None:
    settings = KubernetesSettings(mode="url", url="http://x", token="s3cret")
    with scripted_server(lambda _: a_list()) as server:
        a_source(server.url, token="s3cret").list_pods()

    assert server.asked[0].headers["authorization"] == "Bearer s3cret"
    assert "s3cret" not in repr(settings)


def test_the_clock_of_the_server_is_remembered() -> None:
    with scripted_server(lambda _: a_list()) as server:
        source = a_source(server.url)
        assert source.answered_ms is None

        source.list_pods()

    assert source.answered_ms is not None


def owners(path: str, owner: Reply) -> Callable[[Request], Reply]:
    def answer(request: Request) -> Reply:
        if request.path == PODS:
            label = {"pod-template-hash": "5d9f"}
            kind = "ReplicaSet" if "replicasets" in path else "Job"
            name = path.rsplit("/", 1)[-1]
            pods = [a_pod(one, labels=label, **owned_by(kind, name)) for one in ("a", "b")]
            return a_list(*pods)
        assert request.path == path
        return owner

    return answer


REPLICA_SET = "/apis/apps/v1/namespaces/search/replicasets/web-5d9f"
JOB = "/apis/batch/v1/namespaces/search/jobs/nightly-1"


@pytest.mark.parametrize(
    ("path", "reply", "workload"),
    [
        (
            REPLICA_SET,
            json_reply({"metadata": {"namespace": "search", **owned_by("Deployment", "web")}}),
            ("Deployment", "web", "uid-web"),
        ),
        (
            JOB,
            json_reply({"metadata": {"namespace": "search", **owned_by("CronJob", "nightly")}}),
            ("CronJob", "nightly", "uid-nightly"),
        ),
        (
            JOB,
            json_reply({"metadata": {"namespace": "search", "name": "nightly-1", "uid": "j1"}}),
            ("Job", "nightly-1", "j1"),
        ),
        (REPLICA_SET, json_reply(a_status(404, "not found"), 404), ("Deployment", "web", "")),
        (REPLICA_SET, json_reply(a_status(403, "forbidden"), 403), ("Deployment", "web", "")),
        (JOB, json_reply(a_status(404, "gone"), 404), ("Job", "nightly-1", "uid-nightly-1")),
    ],
)
def test_the_workload_is_the_owner_of_the_owner(
    path: str, reply: Reply, workload: tuple[str, str, str]
) -> None:
    with scripted_server(owners(path, reply)) as server:
        pods, _ = a_source(server.url).list_pods()

    kind, name, uid = workload
    assert {pod.workload for pod in pods} == {
        Workload(namespace="search", kind=kind, name=name, uid=uid)
    }
    # Who owns an owner is asked once; a refusal is asked again, as rights may be given later.
    assert server.paths().count(path) == (1 if reply.status == 200 else 2)


def test_an_unknown_mode_and_a_missing_file_are_refused(tmp_path: Path) -> None:
    with pytest.raises(KubernetesConfigError, match="telepathy"):
        KubernetesSource(KubernetesSettings(mode="telepathy"))
    with pytest.raises(KubernetesConfigError, match="cannot be set up"):
        KubernetesSource(KubernetesSettings(mode="kubeconfig", kubeconfig=str(tmp_path / "none")))
    with pytest.raises(KubernetesConfigError, match="in-cluster"):
        KubernetesSource(KubernetesSettings(mode="in-cluster"))


def test_a_kubeconfig_and_its_context_are_used(tmp_path: Path) -> None:
    with scripted_server(lambda _: a_list(a_pod("a"))) as server:
        config = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [
                {"name": "good", "cluster": {"server": server.url}},
                {"name": "bad", "cluster": {"server": "http://127.0.0.1:1"}},
            ],
            "users": [{"name": "me", "user": {"token": "t0ken"}}],
            "contexts": [
                {"name": name, "context": {"cluster": name, "user": "me"}}
                for name in ("good", "bad")
            ],
            "current-context": "bad",
        }
        path = tmp_path / "config"
        path.write_text(json.dumps(config), encoding="utf-8")
        settings = KubernetesSettings(mode="kubeconfig", kubeconfig=str(path), context="good")

        pods, _ = KubernetesSource(settings).list_pods()

    assert [pod.name for pod in pods] == ["a"]
    assert server.asked[0].headers["authorization"] == "Bearer t0ken"


def test_the_simulated_cluster_is_read_as_it_is() -> None:
    spec = FleetSpec(start_ms=1_793_613_600_000, hours=1, nodes=4, services=2)
    fleet = Fleet.build(spec)
    now_ms = spec.start_ms + 1_800_000
    with SimulatedKubernetes(fleet, lambda: now_ms) as server:
        source = a_source(server.url, page_size=7)

        pods, version = source.list_pods()
        nodes, _ = source.list_nodes()

    alive = {node.uid for node in fleet.nodes if node.created_ms <= now_ms < node.deleted_ms}
    assert {node.uid for node in nodes} == alive
    assert {pod.uid for pod in pods} == {
        pod.uid
        for pod in fleet.pods
        if pod.created_ms <= now_ms < pod.removed_ms and any(c.gpus for c in pod.containers)
    }
    assert version
    assert not {pod.workload.kind for pod in pods} & {"ReplicaSet"}
    assert source.answered_ms == now_ms // 1000 * 1000
