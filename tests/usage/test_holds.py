import pytest

from app.units.window import OPEN_MS
from app.usage.accelerators import looks_like_accelerator
from app.usage.holds import holds_of, pool_counts_of
from app.usage.inventory import ContainerFacts, PodFacts, PodHold, PoolCount
from app.usage.products import UNKNOWN_MODEL, canonical_model
from app.usage.requests import effective_request
from tests.usage.builders import MINUTE, SECOND, T0, a_container, a_node, a_pod

H100 = "NVIDIA-H100-80GB-HBM3"
PRODUCT = "nvidia.com/gpu.product"
COUNT = "nvidia.com/gpu.count"


def only_hold(pod: PodFacts, **instants: int) -> PodHold:
    (hold,), _ = holds_of(pod, a_node(), **instants)
    return hold


def kinds_of_notes(pod: PodFacts, **instants: int) -> list[str]:
    return [note.kind for note in holds_of(pod, a_node(), **instants)[1]]


# -- models --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "model"),
    [
        ("NVIDIA H100 80GB HBM3", H100),
        ("NVIDIA-H100-80GB-HBM3-SHARED", H100),
        ("NVIDIA-A100-SXM4-40GB-MIG-1g.5gb", "NVIDIA-A100-SXM4-40GB"),
        ("NVIDIA-A100-SXM4-40GB-MIG-1g.5gb+me-SHARED", "NVIDIA-A100-SXM4-40GB"),
        ("  Tesla  T4 ", "Tesla-T4"),
        ("", ""),
    ],
)
def test_sharing_suffixes_and_spaces_leave_the_model(text: str, model: str) -> None:
    assert canonical_model(text) == model


# -- requests ------------------------------------------------------------------------------------


def gpus(*containers: ContainerFacts) -> int:
    return dict(effective_request(containers)).get("nvidia.com/gpu", 0)


def test_app_containers_add_up() -> None:
    assert gpus(a_container(gpus=2), a_container("b", gpus=1)) == 3


def test_an_init_container_counts_only_where_it_needs_more() -> None:
    init = a_container("warm", kind="init", gpus=4)

    assert gpus(init, a_container(gpus=2)) == 4
    assert gpus(init, a_container(gpus=5)) == 5


def test_init_containers_do_not_add_up() -> None:
    first, second = (a_container(name, kind="init", gpus=2) for name in "ab")

    assert gpus(first, second, a_container(gpus=1)) == 2


def test_a_sidecar_adds_to_the_app_and_to_init_containers_after_it() -> None:
    sidecar = a_container("side", kind="sidecar", gpus=1)
    init = a_container("warm", kind="init", gpus=3)

    assert gpus(sidecar, init, a_container(gpus=1)) == 4
    assert gpus(init, sidecar, a_container(gpus=1)) == 3


def test_a_pod_that_requests_nothing_requests_nothing() -> None:
    assert effective_request((a_container(gpus=0),)) == ()
    assert effective_request(()) == ()


# -- holds ---------------------------------------------------------------------------------------


def test_a_bound_pod_holds_from_its_binding_until_further_notice() -> None:
    hold = only_hold(a_pod(scheduled_ms=T0 + SECOND, containers=(a_container(gpus=2),)))

    assert (hold.start_ms, hold.end_ms) == (T0 + SECOND, OPEN_MS)
    assert (hold.share_num, hold.share_den, hold.units, hold.exclusive) == (2, 1, 2, True)
    assert hold.gpu_model == H100
    assert hold.node_uid == "uid-node-1"


def test_a_pod_that_is_not_bound_holds_nothing() -> None:
    assert holds_of(a_pod(node_name="", scheduled_ms=None), None) == ((), ())


def test_a_pod_without_devices_holds_nothing() -> None:
    assert holds_of(a_pod(containers=(a_container(gpus=0),)), a_node()) == ((), ())


def test_the_hold_ends_when_the_last_container_finished() -> None:
    pod = a_pod(
        phase="Succeeded",
        containers=(
            a_container("a", finished_ms=T0 + 10 * SECOND),
            a_container("b", finished_ms=T0 + 20 * SECOND),
        ),
    )

    assert only_hold(pod).end_ms == T0 + 20 * SECOND
    assert only_hold(pod, gone_ms=T0 + MINUTE).end_ms == T0 + 20 * SECOND


def test_a_finished_init_container_does_not_end_the_hold() -> None:
    init = a_container("warm", kind="init", finished_ms=T0 + SECOND)

    assert only_hold(a_pod(containers=(init, a_container()))).end_ms == OPEN_MS


def test_a_running_sidecar_keeps_the_hold_until_the_phase_ends_it() -> None:
    app = a_container(finished_ms=T0 + SECOND)
    sidecar = a_container("side", kind="sidecar", gpus=0)

    assert only_hold(a_pod(containers=(sidecar, app))).end_ms == OPEN_MS
    assert only_hold(a_pod(phase="Failed", containers=(sidecar, app))).end_ms == T0 + SECOND


def test_a_pod_deleted_while_it_ran_ends_with_its_deletion() -> None:
    hold = only_hold(a_pod(), gone_ms=T0 + MINUTE)

    assert (hold.end_ms, hold.end_unsure_ms) == (T0 + MINUTE, 0)


def test_an_end_before_the_start_makes_a_hold_of_no_length() -> None:
    pod = a_pod(phase="Failed", containers=(a_container(finished_ms=T0 - SECOND),))

    assert only_hold(pod).end_ms == T0


def test_a_pod_that_failed_without_container_states_ended_before_it_was_seen() -> None:
    pod = a_pod(phase="Failed")
    hold = only_hold(pod, seen_ms=T0 + MINUTE)

    assert (hold.end_ms, hold.end_unsure_ms) == (T0 + MINUTE, MINUTE)
    assert kinds_of_notes(pod, seen_ms=T0 + MINUTE) == ["hold_end_unsure"]


def test_a_pod_bound_without_the_scheduler_starts_with_its_creation_at_the_earliest() -> None:
    hold = only_hold(a_pod(scheduled_ms=None, ready_ms=T0 + 10 * SECOND), seen_ms=T0 + MINUTE)

    assert (hold.start_ms, hold.start_unsure_ms) == (T0 - 5 * SECOND, 15 * SECOND)


def test_a_hold_whose_node_is_unknown_is_named() -> None:
    (hold,), notes = holds_of(a_pod(), None)

    assert (hold.node_uid, hold.gpu_model) == ("", UNKNOWN_MODEL)
    assert [note.kind for note in notes] == ["hold_without_node"]


# -- what cannot be priced is named, never priced wrong ------------------------------------------


def request(resource: str, units: int = 1) -> ContainerFacts:
    return ContainerFacts(name="main", kind="app", requests=((resource, units),), finished_ms=None)


@pytest.mark.parametrize(
    "resource",
    ["nvidia.com/mig-9g.99gb", "nvidia.com/gpu.shared", "example.com/gpu", "acme.io/npu"],
)
def test_a_share_that_nothing_tells_is_noted_and_holds_nothing(resource: str) -> None:
    holds, notes = holds_of(a_pod(containers=(request(resource),)), a_node())

    assert holds == ()
    assert [(note.kind, note.quantity) for note in notes] == [("unknown_share", 1)]


@pytest.mark.parametrize(
    "resource",
    [
        "rdma/hca",
        "example.com/license",
        "gpu.intel.com/monitoring",
        "gpu.intel.com/millicores",
        "nvidia.com/gpumem",
        "nvidia.com/gpucores",
    ],
)
def test_other_resources_are_left_alone(resource: str) -> None:
    assert holds_of(a_pod(containers=(request(resource),)), a_node()) == ((), ())
    assert not looks_like_accelerator(resource)


# -- devices of a node ---------------------------------------------------------------------------


def counts(**node: object) -> tuple[PoolCount, ...]:
    return pool_counts_of(a_node(**node))[0]  # type: ignore[arg-type] # forwards a builder's keywords


def test_devices_are_the_capacity_and_what_may_be_held_the_allocatable() -> None:
    assert counts(allocatable=(("nvidia.com/gpu", 7),)) == (
        PoolCount(gpu_model=H100, devices=8, allocatable_num=7),
    )


def test_a_device_that_only_the_label_counts_is_there() -> None:
    labels = ((PRODUCT, H100), (COUNT, "8"))

    assert counts(labels=labels, capacity=(("nvidia.com/gpu", 7),)) == (
        PoolCount(gpu_model=H100, devices=8, allocatable_num=7),
    )
    assert counts(labels=labels, capacity=(("nvidia.com/gpu", 0),)) == (
        PoolCount(gpu_model=H100, devices=8, allocatable_num=0),
    )


def test_a_node_without_labels_has_devices_of_an_unknown_model() -> None:
    assert counts(labels=()) == (PoolCount(gpu_model=UNKNOWN_MODEL, devices=8, allocatable_num=8),)


def test_a_node_without_devices_has_no_pool() -> None:
    assert counts(labels=(), capacity=()) == ()


def test_parts_of_gpus_stand_on_one_at_least_where_no_label_counts_them() -> None:
    found, notes = pool_counts_of(a_node(labels=(), capacity=(("nvidia.com/gpu.shared", 16),)))

    assert found == (PoolCount(gpu_model=UNKNOWN_MODEL, devices=1, allocatable_num=0),)
    assert [(note.kind, note.quantity) for note in notes] == [("unknown_share", 16)]


def test_an_accelerator_that_is_not_known_is_named_and_no_capacity() -> None:
    found, notes = pool_counts_of(a_node(labels=(), capacity=(("example.com/gpu", 8),)))

    assert found == ()
    assert [note.kind for note in notes] == ["unknown_share"]
