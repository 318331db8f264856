"""Claims and slices are read alike from every version of the API, and their absence is told."""

import json
from collections.abc import Callable
from fractions import Fraction

import pytest

from app.sources.kubernetes import KubernetesForbidden, KubernetesSettings, KubernetesSource
from app.sources.kubernetes_dra import claim_facts, class_facts, pod_claims, slice_facts
from app.sources.kubernetes_dra_api import DraSource
from app.sources.kubernetes_objects import pod_facts
from app.usage.claims_facts import Amount, DeviceKey, ReservedPod
from tests.sources.dra_objects import (
    API_VERSIONS,
    a_claim_object,
    a_class_object,
    a_gpu,
    a_group,
    a_partition,
    a_result,
    a_slice_object,
)
from tests.sources.scripted_server import Reply, Request, json_reply, scripted_server
from tests.usage.builders import SECOND, T0
from tests.workflows.api_objects import JsonObject, a_pod_object

GROUP = "/apis/resource.k8s.io"


@pytest.mark.parametrize("version", API_VERSIONS)
def test_a_claim_says_the_same_in_every_version(version: str) -> None:
    results = (
        a_result(shareID="s-1", consumedCapacity={"memory": "20Gi"}),
        a_result("gpu-1", request="gpu/large", adminAccess=True),
    )

    claim = claim_facts(
        a_claim_object("c", *results, version=version, allocated_ms=T0, pods=("web-0",))
    )

    assert (claim.namespace, claim.name, claim.uid) == ("search-prod", "c", "uid-c")
    assert (claim.created_ms, claim.allocation_ms) == (T0 - 60 * SECOND, T0)
    assert claim.allocated is not None
    first, second = claim.allocated
    assert first.key == DeviceKey("gpu.nvidia.com", "gpu-1", "gpu-0")
    assert (first.request, first.share_id, first.admin_access) == ("gpu", "s-1", False)
    assert first.consumed == (Amount("memory", Fraction(20 * 2**30)),)
    assert (second.request, second.admin_access) == ("gpu/large", True)
    assert claim.reserved_for == (ReservedPod("uid-web-0", "web-0"),)
    assert (claim.node_name, claim.classes) == ("gpu-1", ("gpu.nvidia.com",))
    assert not claim.extended_resource


def test_a_claim_that_waits_has_nothing_allocated() -> None:
    claim = claim_facts(a_claim_object("waiting"))

    assert claim.allocated is None
    assert claim.allocation_ms is None
    assert claim.reserved_for == ()


def test_users_of_a_claim_that_are_no_pods_are_left_out() -> None:
    claim = a_claim_object("c", a_result())
    status = claim["status"]
    assert isinstance(status, dict)
    status["reservedFor"] = [{"apiGroup": "x.io", "resource": "things", "name": "t", "uid": "u"}]

    assert claim_facts(claim).reserved_for == ()


def test_a_claim_for_extended_resources_names_its_pod_and_classes() -> None:
    claim = claim_facts(a_claim_object("c", a_result(), extended_for="web-0"))

    assert claim.extended_resource
    assert claim.owner_pod == ReservedPod("uid-web-0", "web-0")
    assert class_facts(a_class_object()).extended_resources == (
        "deviceclass.resource.kubernetes.io/gpu.nvidia.com",
        "nvidia.com/gpu",
    )


def test_classes_of_a_prioritized_list_are_all_named() -> None:
    claim = a_claim_object("c")
    claim["spec"] = {
        "devices": {
            "requests": [
                {
                    "name": "gpu",
                    "firstAvailable": [
                        {"name": "large", "deviceClassName": "h100"},
                        {"name": "small", "deviceClassName": "a100"},
                    ],
                }
            ]
        }
    }

    assert claim_facts(claim).classes == ("a100", "h100")


@pytest.mark.parametrize("version", API_VERSIONS)
def test_a_slice_says_the_same_in_every_version(version: str) -> None:
    counters: list[JsonObject] = [{"name": "set-0", "counters": {"memory": {"value": "80Gi"}}}]
    consumes = [{"counterSet": "set-0", "counters": {"memory": {"value": "80Gi"}}}]
    gpu = a_gpu(
        consumesCounters=consumes,
        allowMultipleAllocations=True,
        taints=[{"key": "unhealthy", "effect": "NoSchedule"}],
    )

    one = slice_facts(
        a_slice_object(gpu, a_partition("mig-0", "1g.10gb"), version=version, counters=counters)
    )

    assert (one.driver, one.pool, one.generation, one.node_name) == (
        "gpu.nvidia.com",
        "gpu-1",
        1,
        "gpu-1",
    )
    first, second = one.devices
    assert first.attribute("productName") == "NVIDIA H100 80GB HBM3"
    assert first.attribute("minor") == "3"
    assert first.capacity == (Amount("memory", Fraction(80 * 2**30)),)
    assert first.consumes == one.shared_counters
    assert (first.allow_multiple, first.tainted) == (True, True)
    assert (second.attribute("profile"), second.allow_multiple, second.tainted) == (
        "1g.10gb",
        False,
        False,
    )


def test_a_device_of_a_pool_that_spans_nodes_has_its_own() -> None:
    hosts = {"key": "kubernetes.io/hostname", "operator": "In", "values": ["tpu-2"]}
    several = {"key": "kubernetes.io/hostname", "operator": "In", "values": ["tpu-1", "tpu-2"]}
    item = a_slice_object(
        {"name": "a", "nodeName": "tpu-1", "capacity": {"tpus": "4"}},
        {"name": "b", "nodeSelector": {"nodeSelectorTerms": [{"matchExpressions": [hosts]}]}},
        {"name": "c", "nodeSelector": {"nodeSelectorTerms": [{"matchExpressions": [several]}]}},
    )
    spec = item["spec"]
    assert isinstance(spec, dict)
    del spec["nodeName"]

    one = slice_facts(item)

    assert [device.node_name for device in one.devices] == ["tpu-1", "tpu-2", ""]
    assert one.devices[0].capacity == (Amount("tpus", Fraction(4)),)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("500m", Fraction(1, 2)),
        ("1e3", 1000),
        ("2Ti", 2**41),
        ("1.5", Fraction(3, 2)),
    ],
)
def test_quantities_are_exact_and_what_is_none_is_left_out(
    text: str, value: Fraction | int
) -> None:
    device: JsonObject = {"name": "a", "capacity": {"x": {"value": text}, "y": {"value": "plenty"}}}

    (found,) = slice_facts(a_slice_object(device)).devices[0].capacity

    assert found == Amount("x", Fraction(value))


def test_a_pod_names_its_claims_and_what_it_gets_by_an_extended_resource() -> None:
    pod = a_pod_object("web-0")
    spec, status = pod["spec"], pod["status"]
    assert isinstance(spec, dict)
    assert isinstance(status, dict)
    spec["resourceClaims"] = [
        {"name": "own", "resourceClaimName": "shared"},
        {"name": "made", "resourceClaimTemplateName": "t"},
        {"name": "unmade", "resourceClaimTemplateName": "t"},
    ]
    status["resourceClaimStatuses"] = [{"name": "made", "resourceClaimName": "web-0-made-x7"}]
    status["extendedResourceClaimStatus"] = {
        "resourceClaimName": "web-0-extended",
        "requestMappings": [
            {"containerName": "main", "requestName": "r", "resourceName": "nvidia.com/gpu"}
        ],
    }

    facts = pod_facts(pod)

    assert facts.claims == ("shared", "web-0-made-x7", "", "web-0-extended")
    assert facts.extended_claim == "web-0-extended"
    assert facts.extended_resources == ("nvidia.com/gpu",)
    assert pod_claims(a_pod_object("plain")) == ((), "", ())


def a_source(url: str) -> KubernetesSource:
    return KubernetesSource(KubernetesSettings(mode="url", url=url, timeout_seconds=5.0))


def a_list(*items: JsonObject, version: str = "7") -> Reply:
    return json_reply({"metadata": {"resourceVersion": version}, "items": [*items]})


def a_stream(*events: tuple[str, JsonObject]) -> Reply:
    lines = [{"type": kind, "object": item} for kind, item in events]
    return Reply(lines=tuple(json.dumps(line).encode() + b"\n" for line in lines))


def serving(version: str, *known: str) -> Callable[[Request], Reply]:
    """An API with one GPU, given to one claim, under these versions."""

    claim = a_claim_object("c", a_result(), version=version)
    one = a_slice_object(a_gpu(), version=version)
    bookmark: JsonObject = {"metadata": {"resourceVersion": "9"}}
    lists = {
        "resourceclaims": a_list(claim),
        "resourceslices": a_list(one),
        "deviceclasses": a_list(a_class_object()),
    }
    streams = {
        "resourceclaims": a_stream(("MODIFIED", claim)),
        "resourceslices": a_stream(("DELETED", one), ("BOOKMARK", bookmark)),
    }

    def answer(request: Request) -> Reply:
        if request.path.rstrip("/") == GROUP:
            return json_reply(a_group(*known))
        found = streams if request.form.get("watch") else lists
        absent = json_reply({"message": "not here"}, status=404)
        return found.get(request.path.removeprefix(f"{GROUP}/{version}/"), absent)

    return answer


@pytest.mark.parametrize(
    ("known", "taken"),
    [
        (("v1", "v1beta2", "v1beta1"), "v1"),
        (("v1beta1", "v1beta2"), "v1beta2"),
        (("v1beta1", "v1alpha3"), "v1beta1"),
    ],
)
def test_the_best_version_that_is_served_is_read(known: tuple[str, ...], taken: str) -> None:
    with scripted_server(serving(taken, *known)) as server:
        source = a_source(server.url).dra()
        assert source is not None
        claims, version = source.list_claims()
        slices, _ = source.list_slices()
        classes = source.list_classes()
        changed = [*source.watch_claims(version)]
        lost = [*source.watch_slices(version)]
        sounded = (source.version_of_claims(), source.version_of_slices())

    assert (source.version, version, sounded) == (taken, "7", ("7", "7"))
    assert [claim.name for claim in claims] == ["c"]
    assert slices[0].devices[0].attribute("uuid") == "GPU-gpu-0"
    assert classes[0].name == "gpu.nvidia.com"
    assert changed[0].claim == claims[0]
    assert [(event.is_deletion, event.slice) for event in lost] == [
        (True, slices[0]),
        (False, None),
    ]
    assert lost[1].is_bookmark


def source_of(answer: Callable[[Request], Reply]) -> DraSource | None:
    with scripted_server(answer) as server:
        return a_source(server.url).dra()


def test_a_cluster_without_the_group_has_no_claims() -> None:
    absent = json_reply({"message": "not here"}, status=404)
    forbidden = json_reply({"message": "no"}, status=403)

    assert source_of(lambda _: absent) is None
    # Rights are checked before the address: a refusal does not say that there is something.
    assert source_of(lambda asked: absent if asked.path.rstrip("/") == GROUP else forbidden) is None
    assert source_of(lambda _: json_reply(a_group("v1alpha3"))) is None


def test_where_discovery_is_silent_the_versions_are_tried() -> None:
    answer = serving("v1beta2", "v1beta2")
    absent = json_reply({"message": "not here"}, status=404)

    source = source_of(lambda asked: absent if asked.path.rstrip("/") == GROUP else answer(asked))

    assert source is not None
    assert source.version == "v1beta2"


def test_a_missing_right_is_told_as_such() -> None:
    def answer(request: Request) -> Reply:
        if request.path.rstrip("/") == GROUP:
            return json_reply(a_group("v1"))
        return json_reply({"message": "resourceclaims is forbidden"}, status=403)

    with scripted_server(answer) as server:
        source = a_source(server.url).dra()
        assert source is not None
        with pytest.raises(KubernetesForbidden, match="resourceclaims is forbidden"):
            source.list_claims()
