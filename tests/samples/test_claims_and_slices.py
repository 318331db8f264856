"""Real claims, templates and slices: which devices there are, and who holds them."""

from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction

import pytest

from app.sources.kubernetes_dra import claim_facts, slice_facts, uses_claims
from app.sources.kubernetes_json import Json
from app.sources.kubernetes_objects import node_facts
from app.usage.claims_book import ClaimBook
from app.usage.claims_devices import DeviceList, list_devices
from app.usage.claims_facts import DeviceKey, SliceFacts
from app.usage.edges import edges_of
from app.usage.holds import holds_of
from app.usage.inventory import NodeFacts, PodFacts, PodHold
from app.usage.kinds import Sharing
from tests.samples.objects import (
    SEEN,
    a_node_object,
    allocated,
    born,
    bound,
    documents,
    from_template,
    of_kind,
    one_of,
)
from tests.usage.claiming import a_device, a_mig_device, a_slice

ADMIN = "dra_admin_access.yaml"
EXTENDED = "dra_extended_resource_gpu_full.yaml"
TWO_CONTAINERS = "dra_v1_gpu_test2.yaml"
TWO_PODS = "dra_v1_gpu_test3.yaml"
FOUR_INSTANCES = "dra_v1_gpu_test4.yaml"
MPS = "dra_v1_gpu_test_mps.yaml"
OPENSHIFT = "pod_with_resourceclaim_openshift.yaml"
ALLOCATED = "resourceclaims_dra_v1_allocated_vks.yaml"
SLICES = "resourceslices_dra_v1_vgpu_a100_10c_vks.yaml"
PARTITIONS = "kep4815_partitionable_gpu_shared_counters.yaml.txt"
MULTI_HOST = "kep4815_partitionable_multihost_tpu_resourceslice.yaml.txt"
HERE = {
    *(ADMIN, EXTENDED, TWO_CONTAINERS, TWO_PODS, FOUR_INSTANCES, MPS),
    *(OPENSHIFT, ALLOCATED, SLICES, PARTITIONS, MULTI_HOST),
}
NODE = node_facts(a_node_object("node-1", {}, {}))
# 2026-07-06T13:16:19Z.
ALLOCATED_MS = 1_783_343_779_000
GPU = {"request": "gpu", "driver": "gpu.nvidia.com", "pool": "node-1", "device": "gpu-0"}


def held(
    claim: Json, slices: Sequence[SliceFacts], *pods: PodFacts, node: NodeFacts = NODE
) -> tuple[list[PodHold], list[str]]:
    """Return who holds what of a claim, and kinds of what was odd."""
    book = ClaimBook()
    book.see_node(node)
    for one in slices:
        book.see_slice(one)
    for pod in pods:
        book.see_pod(pod, node, edges_of(pod))
    book.see_claim(claim_facts(claim), SEEN)
    holds, notes = book.changes()
    return holds, [note.kind for note in notes]


def share(hold: PodHold) -> Fraction:
    return Fraction(hold.share_num, hold.share_den)


def one_gpu() -> list[SliceFacts]:
    return [a_slice(a_device("gpu-0"))]


def using(name: str, claim: str) -> list[PodFacts]:
    """Return the pods of a file, bound; a claim made for one of them is named by its status."""
    return [
        bound(
            pod,
            "node-1",
            resourceClaimStatuses=[
                {"name": one["name"], "resourceClaimName": claim}
                for one in pod["spec"]["resourceClaims"]  # type: ignore[index]  # an object of the file
                if "resourceClaimTemplateName" in one
            ],
        )
        for pod in of_kind(name, "Pod")
    ]


@pytest.mark.parametrize("name", [ADMIN, TWO_CONTAINERS, TWO_PODS, MPS, OPENSHIFT])
def test_pods_with_claims_are_known_by_them_and_request_nothing(name: str) -> None:
    for pod in of_kind(name, "Pod"):
        assert uses_claims(pod)
        assert holds_of(bound(pod, "node-1"), NODE) == ((), ())


@pytest.mark.parametrize("name", [TWO_CONTAINERS, MPS])
def test_two_containers_of_one_pod_use_one_device_once(name: str) -> None:
    template = one_of(name, "ResourceClaimTemplate")
    (pod,) = using(name, "made-for-it")
    claim = allocated(from_template(template, "made-for-it"), [GPU], pod)

    (hold,), odd = held(claim, one_gpu(), pod)

    assert odd == []
    assert pod.claims == ("made-for-it",)
    assert (hold.pod, share(hold), hold.units) == (pod.name, 1, 1)
    assert hold.devices == ("GPU-gpu-0",)


def test_two_pods_of_one_claim_hold_half_each() -> None:
    pods = using(TWO_PODS, "")
    claim = allocated(one_of(TWO_PODS, "ResourceClaim"), [GPU], *pods)

    holds, odd = held(claim, one_gpu(), *pods)

    assert odd == []
    assert {hold.pod: (share(hold), hold.sharing) for hold in holds} == {
        "pod1": (Fraction(1, 2), Sharing.SHARED_CLAIM),
        "pod2": (Fraction(1, 2), Sharing.SHARED_CLAIM),
    }


@pytest.mark.parametrize("name", [TWO_PODS, OPENSHIFT])
def test_a_claim_without_an_allocation_holds_nothing(name: str) -> None:
    pods = using(name, "")

    assert held(born(one_of(name, "ResourceClaim")), one_gpu(), *pods) == ([], [])


def test_an_exact_count_of_one_is_one_device() -> None:
    (pod,) = using(OPENSHIFT, "")
    claim = allocated(one_of(OPENSHIFT, "ResourceClaim"), [GPU], pod)

    (hold,), odd = held(claim, one_gpu(), pod)

    assert odd == []
    assert (hold.namespace, hold.pod, share(hold)) == ("dra-test", "dra-gpu-test", 1)
    assert claim_facts(claim).classes == ("gpu.nvidia.com",)


def test_four_instances_of_one_claim_are_no_more_than_their_device() -> None:
    template = one_of(FOUR_INSTANCES, "ResourceClaimTemplate")
    deployment = one_of(FOUR_INSTANCES, "Deployment")
    made = {"name": "mig-devices", "resourceClaimName": "made-for-it"}
    template_of_pod = deployment["spec"]["template"]  # type: ignore[index]  # an object of the file
    pod = bound(
        {"kind": "Pod", **template_of_pod, "metadata": {"namespace": "gpu-test4", "name": "pod-a"}},
        "node-1",
        resourceClaimStatuses=[made],
    )
    profiles = {
        "mig-1g-5gb-0": "1g.5gb",
        "mig-1g-5gb-1": "1g.5gb",
        "mig-2g-10gb": "2g.10gb",
        "mig-3g-20gb": "3g.20gb",
    }
    product = "NVIDIA A100-SXM4-40GB"
    slices = [
        a_slice(*(a_mig_device(name, one, product=product) for name, one in profiles.items()))
    ]
    results = [{**GPU, "request": name, "device": name} for name in profiles]

    holds, odd = held(allocated(from_template(template, "made-for-it"), results, pod), slices, pod)

    assert odd == []
    # By the larger of compute and memory 1/7 + 1/7 + 2/7 + 4/8 = 15/14, scaled to the device.
    assert {hold.resource.rpartition("/")[2]: share(hold) for hold in holds} == {
        "mig-1g-5gb-0": Fraction(2, 15),
        "mig-1g-5gb-1": Fraction(2, 15),
        "mig-2g-10gb": Fraction(4, 15),
        "mig-3g-20gb": Fraction(7, 15),
    }
    assert sum(Fraction(*hold.compute_share) for hold in holds) == 1
    assert {hold.gpu_model for hold in holds} == {"NVIDIA-A100-SXM4-40GB"}


def test_access_for_administrators_holds_nothing() -> None:
    (pod,) = using(ADMIN, "made-for-it")
    template = one_of(ADMIN, "ResourceClaimTemplate")
    results = [{**GPU, "request": "admin-gpu", "adminAccess": True}]
    claim = allocated(from_template(template, "made-for-it"), results, pod)

    assert held(claim, one_gpu(), pod) == ([], [])


def test_an_extended_resource_is_held_by_request_or_by_its_claim() -> None:
    manifest = one_of(EXTENDED, "Pod")
    told = {
        "resourceClaimName": "gpu-full-pod-extended-resources-x",
        "requestMappings": [
            {
                "containerName": "cuda-container",
                "requestName": "container-0-request-0",
                "resourceName": "nvidia.com/gpu",
            }
        ],
    }

    alone = bound(manifest, "node-1")
    backed = bound(manifest, "node-1", extendedResourceClaimStatus=told)

    # A limit alone is a request.
    assert [hold.resource for hold in holds_of(alone, NODE)[0]] == ["nvidia.com/gpu"]
    assert backed.extended_resources == ("nvidia.com/gpu",)
    assert backed.claims == (backed.extended_claim,) == ("gpu-full-pod-extended-resources-x",)


def vks() -> tuple[PodFacts, Json, list[SliceFacts], NodeFacts]:
    claim = one_of(ALLOCATED, "ResourceClaim")
    slices = [slice_facts(one) for one in of_kind(SLICES, "ResourceSlice")]
    name = "conformance-test-np1-qcqc8-bpdtl-wv2gs"
    pod = bound(
        {
            "kind": "Pod",
            "metadata": {
                "namespace": "gpu-test1",
                "name": "dra-gpu-example-798fccd4d-sfl2p",
                "uid": "d36ca24f-9949-4c33-9d47-c06846f775b1",
            },
            "spec": {"containers": [{"name": "one"}]},
        },
        name,
        at="2026-07-06T13:16:19Z",
    )
    claims = ("dra-gpu-example-798fccd4d-sfl2p-single-gpu-d2jzk",)
    return replace(pod, claims=claims), claim, slices, node_facts(a_node_object(name, {}, {}))


def test_a_real_claim_is_held_by_its_pod() -> None:
    pod, claim, slices, node = vks()

    (hold,), odd = held(born(claim), slices, pod, node=node)

    assert odd == []
    assert (hold.pod_uid, share(hold)) == ("d36ca24f-9949-4c33-9d47-c06846f775b1", 1)
    # The device is a virtual GPU, which is all that the node has.
    assert hold.gpu_model == "GRID-A100-10C"
    assert hold.devices == ("GPU-44d2411e-1604-478f-aa96-5a3c00000000",)
    assert (hold.node_name, hold.node_uid) == (node.name, node.uid)
    assert (hold.start_ms, hold.start_unsure_ms) == (ALLOCATED_MS, 0)


def test_a_claim_that_no_pod_uses_yet_holds_by_itself_from_its_allocation() -> None:
    _, claim, slices, node = vks()

    (hold,), odd = held(born(claim), slices, node=node)

    assert odd == []
    assert (hold.workload.kind, hold.pod_uid) == ("ResourceClaim", hold.workload.uid)
    assert (hold.start_ms, hold.start_unsure_ms) == (ALLOCATED_MS, 0)


def test_a_claim_without_a_slice_is_one_device_of_an_unknown_model() -> None:
    pod, claim, _, node = vks()

    (hold,), odd = held(born(claim), [], pod, node=node)

    assert odd == ["claim_without_slice"]
    assert (share(hold), hold.gpu_model, hold.devices) == (1, "unknown", ())


def test_real_slices_list_one_device_a_node() -> None:
    _, _, slices, _ = vks()

    found = list_devices(slices)

    assert len(found.devices) == 2
    for one in slices:
        (count,) = found.on(one.node_name)
        assert (count.gpu_model, count.devices, count.allocatable) == ("GRID-A100-10C", 1, 1)


def listed(name: str, driver: str = "", **wrong: str) -> tuple[DeviceList, list[SliceFacts]]:
    """List a page's slices, as of another driver and with words of the page put right."""
    slices = []
    for number, document in enumerate(documents(name)):
        one = slice_facts(document)
        devices = tuple(
            replace(
                device,
                consumes=tuple(
                    replace(use, counter_set=wrong.get("counters") or use.counter_set)
                    for use in device.consumes
                ),
            )
            for device in one.devices
        )
        # Slices of one cluster have names of their own; on this page they have not.
        slices.append(
            replace(one, name=f"{one.name}-{number}", driver=driver or one.driver, devices=devices)
        )
    return list_devices(slices), slices


@pytest.mark.parametrize(("name", "count"), [(PARTITIONS, 5), (MULTI_HOST, 7)])
def test_devices_of_a_driver_that_nobody_knows_are_named_and_count_not(
    name: str, count: int
) -> None:
    found, _ = listed(name)

    assert dict(found.devices) == {}
    assert [(note.kind, note.quantity) for note in found.notes] == [
        ("unknown_device_driver", count)
    ]


def test_partitions_and_their_device_are_one() -> None:
    found, _ = listed(PARTITIONS, "gpu.nvidia.com")

    (count,) = found.on("my-node")
    assert (count.devices, count.allocatable) == (1, 1)
    shares = {key.device: device.share for key, device in found.devices.items()}
    assert shares == {"gpu-0": 1} | {f"gpu-0-partition-{n}": Fraction(1, 4) for n in range(4)}
    assert len({device.physical for device in found.devices.values()}) == 1


def test_slices_of_a_torus_are_their_chips() -> None:
    found, slices = listed(MULTI_HOST, "tpu.google.com", counters="tpu-counter-set")

    def chips(name: str) -> Fraction:
        device = found.devices[DeviceKey("tpu.google.com", "my-pool", name)]
        assert device.share is not None
        return device.share * device.units

    assert [chips(f"tpu-{shape}-1") for shape in ("4x4", "2x4", "2x2")] == [16, 8, 4]
    # Four hosts with four chips each; the larger shapes are made of the same chips.
    for number in (1, 2, 5, 6):
        (count,) = found.on(f"node-{number}")
        assert (count.devices, count.allocatable) == (4, 4)
    assert {one.pool for one in slices} == {"my-pool"}
