"""Shares of devices from kube-state-metrics alone."""

from collections.abc import Iterator
from fractions import Fraction

from app.units.window import OPEN_MS
from app.usage.kinds import Sharing
from tests.sources.told_by_hand import TEN, TEN_MS, Shown, a_node, a_pod, inventory_of

HALF_PAST = TEN + 1807


def labelled(**labels: str) -> Iterator[Shown]:
    named = {f"label_{name}": text for name, text in labels.items()}
    yield "kube_node_labels", {"node": "node-1", **named}, 1.0


def sliced_node(units: int) -> Iterator[Shown]:
    yield from a_node(gpus=units)
    yield from labelled(
        nvidia_com_gpu_product="Tesla-T4-SHARED",
        nvidia_com_gpu_count="2",
        nvidia_com_gpu_replicas=str(units // 2),
    )


def test_slots_whose_number_changes_are_parts_of_a_hold() -> None:
    def show(second: int) -> Iterator[Shown]:
        yield from sliced_node(8 if second < HALF_PAST else 16)
        yield from a_pod("slot")

    holds = inventory_of(show).holds
    found = [(one.start_ms, one.end_ms, Fraction(one.share_num, one.share_den)) for one in holds]

    change_ms = found[0][1]
    assert 0 <= change_ms - HALF_PAST * 1000 <= 30_000
    assert found == [
        ((TEN - 1800) * 1000, change_ms, Fraction(1, 4)),
        (change_ms, OPEN_MS, Fraction(1, 8)),
    ]
    assert [one.part_ms for one in holds] == [0, change_ms]
    assert {one.sharing for one in holds} == {Sharing.TIME_SLICING}


def test_a_plugin_that_is_down_changes_no_share() -> None:
    def show(second: int) -> Iterator[Shown]:
        yield from sliced_node(0 if TEN + 600 < second < TEN + 1200 else 8)
        yield from a_pod("slot")

    (hold,) = inventory_of(show).holds

    assert (hold.share_num, hold.share_den, hold.end_ms) == (1, 4, OPEN_MS)


def test_profiles_are_read_from_mangled_names() -> None:
    def show(_second: int) -> Iterator[Shown]:
        yield from a_node(gpus=0)
        yield from labelled(
            nvidia_com_gpu_product="NVIDIA-A100-SXM4-40GB", nvidia_com_gpu_count="1"
        )
        for resource in ("nvidia_com_mig_1g_5gb_me", "nvidia_com_mig_3g_20gb"):
            for what in ("capacity", "allocatable"):
                labels = {"node": "node-1", "resource": resource, "unit": "integer"}
                yield f"kube_node_status_{what}", labels, 1.0
        for family, labels, value in a_pod("instance"):
            if "resource" in labels:
                labels = {**labels, "resource": "nvidia_com_mig_1g_5gb_me"}  # noqa: PLW2901 # altered copy
            yield family, labels, value

    inventory = inventory_of(show)
    (hold,) = inventory.holds

    assert (hold.resource, hold.share_num, hold.share_den) == ("nvidia.com/mig-1g.5gb.me", 1, 7)
    assert hold.sharing is Sharing.MIG


def declaring(name: str, text: str) -> Iterator[Shown]:
    own = {"namespace": "ml", "pod": name, "uid": f"uid-{name}"}
    yield "kube_pod_created", own, float(TEN - 1900)
    yield "kube_pod_info", {**own, "node": "node-1"}, 1.0
    yield "kube_pod_status_scheduled_time", own, float(TEN - 1800)
    yield "kube_pod_annotations", {**own, "annotation_gpu_fraction": text}, 1.0


def reserving() -> Iterator[Shown]:
    for family, labels, value in a_pod("reserved"):
        yield family, {**labels, "namespace": "kai-resource-reservation"}, value


def test_pods_that_declare_parts_hold_them_and_the_reservation_holds_nothing() -> None:
    def show(_second: int) -> Iterator[Shown]:
        yield from a_node(gpus=2)
        yield from reserving()
        yield from declaring("half", "0.5")
        yield from declaring("quarter", "0.25")

    inventory = inventory_of(show)
    shares = {one.pod: Fraction(one.share_num, one.share_den) for one in inventory.holds}

    assert shares == {"half": Fraction(1, 2), "quarter": Fraction(1, 4)}
    assert {one.start_ms for one in inventory.holds} == {TEN_MS - 1_800_000}
    assert "fractions_not_visible" not in inventory.notes["kind"].tolist()


def test_a_reservation_for_pods_that_nobody_shows_is_named() -> None:
    def show(_second: int) -> Iterator[Shown]:
        yield from a_node(gpus=2)
        yield from reserving()

    inventory = inventory_of(show)

    assert inventory.holds == ()
    assert "fractions_not_visible" in inventory.notes["kind"].tolist()


def test_quotas_of_hami_are_read_with_what_the_node_registers() -> None:
    register = '[{"id":"GPU-a","count":10,"devmem":16000,"devcore":100,"type":"T4","health":true}]'

    def show(_second: int) -> Iterator[Shown]:
        yield from a_node(gpus=10)
        annotation = {"annotation_hami_io_node_nvidia_register": register}
        yield "kube_node_annotations", {"node": "node-1", **annotation}, 1.0
        for family, labels, value in a_pod("quota"):
            yield family, labels, value
            if "resource" in labels:
                yield family, {**labels, "resource": "nvidia_com_gpumem"}, 4000.0

    (hold,) = inventory_of(show).holds

    assert (hold.share_num, hold.share_den, hold.sharing) == (1, 4, Sharing.FRACTION)
