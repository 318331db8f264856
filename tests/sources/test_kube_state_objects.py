"""Single objects as kube-state-metrics shows them."""

from collections.abc import Iterator, Mapping

from app.units.window import OPEN_MS
from tests.sources.told_by_hand import TEN, TEN_MS, Shown, a_node, a_pod, inventory_of

SECOND = 1000
MINUTE = 60_000


def test_a_request_of_init_containers_alone_holds_its_devices() -> None:
    def show(_: int) -> Iterator[Shown]:
        yield from a_node()
        yield from a_pod("fetch", kind="init_container", gpus=2)

    (hold,) = inventory_of(show).holds

    assert (hold.pod, hold.share_num, hold.end_ms) == ("fetch", 2, OPEN_MS)


def test_a_pod_that_outlives_its_node_is_not_on_the_next_one_of_that_name() -> None:
    # The node goes at 10:20:00 and another takes its name; the pod is collected at 10:21:40.
    def show(at: int) -> Iterator[Shown]:
        if at < TEN + 1200:
            yield from a_node()
        if at < TEN + 1300:
            yield from a_pod("orphan", gpus=8)
        if at >= TEN + 1240:
            yield from a_node(created=TEN + 1235)

    inventory = inventory_of(show)

    first, second = (span.node.uid for span in inventory.nodes)
    assert first != second
    (hold,) = inventory.holds
    assert hold.node_uid == first


def test_a_waiting_pod_is_on_no_node_whatever_label_its_scraper_adds() -> None:
    # The scraper's own labels win: those of the object come as exported ones, and an empty one
    # not at all, so that a waiting pod seems to be where kube-state-metrics runs.
    scraper = {"namespace": "monitoring", "pod": "ksm-0", "node": "node-1"}

    def seen(labels: Mapping[str, str]) -> dict[str, str]:
        renamed = {f"exported_{name}" if name in scraper else name: labels[name] for name in labels}
        return {**scraper, **{name: text for name, text in renamed.items() if text}}

    def show(_: int) -> Iterator[Shown]:
        for family, labels, value in (*a_node(), *a_pod("runs"), *a_pod("waits", bound=None)):
            yield family, seen(labels), value

    (hold,) = inventory_of(show).holds

    assert (hold.namespace, hold.pod, hold.start_ms) == ("ml", "runs", TEN_MS - 1800 * SECOND)


# kube-state-metrics is not scraped from 10:20:00 to 10:40:00; the scrapes are 7 s after it.
BEFORE_MS = TEN_MS + 19 * MINUTE + 37 * SECOND
SILENCE = range(TEN + 1200, TEN + 2400)


def test_what_vanished_in_a_silence_ends_with_its_last_sighting_as_lost() -> None:
    def show(at: int) -> Iterator[Shown]:
        if at in SILENCE:
            return
        yield from a_node()
        if at < TEN + 1200:
            yield from (*a_node("node-2"), *a_pod("gone"))

    inventory = inventory_of(show)

    (hold,) = inventory.holds
    assert (hold.end_ms, hold.end_unsure_ms, hold.end_lost) == (BEFORE_MS, 0, True)
    assert [span.end_ms for span in inventory.nodes] == [OPEN_MS, BEFORE_MS]


def test_a_pod_that_failed_in_a_silence_ends_with_its_last_sighting_as_lost() -> None:
    def show(at: int) -> Iterator[Shown]:
        if at in SILENCE:
            return
        yield from (*a_node(), *a_pod("evicted"))
        yield "kube_pod_status_phase", phase_of("evicted"), float(at >= TEN + 1200)
        if at >= TEN + 1200:
            yield from a_pod("refused", bound=TEN + 1210)
            yield "kube_pod_status_phase", phase_of("refused"), 1.0

    holds = {hold.pod: hold for hold in inventory_of(show).holds}

    assert (holds["evicted"].end_ms, holds["evicted"].end_lost) == (BEFORE_MS, True)
    # Nobody ever saw it hold anything.
    assert holds["refused"].end_ms == holds["refused"].start_ms == TEN_MS + 1210 * SECOND


def test_one_missed_scrape_is_no_silence() -> None:
    def show(at: int) -> Iterator[Shown]:
        if at in range(TEN + 1200, TEN + 1230):
            return
        yield from a_node()
        if at < TEN + 1200:
            yield from a_pod("gone")

    (hold,) = inventory_of(show).holds

    assert (hold.end_ms, hold.end_unsure_ms) == (BEFORE_MS + MINUTE, MINUTE)
    assert not hold.end_lost


def phase_of(pod: str) -> dict[str, str]:
    return {"namespace": "ml", "pod": pod, "uid": f"uid-{pod}", "phase": "Failed"}
