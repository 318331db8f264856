import pandas as pd
import pytest
from sqlalchemy import Connection

from app.store.inventory import InventoryStore
from app.units.window import HOUR_MS, OPEN_MS
from app.usage import frames
from app.usage.identity import MADE_UP_UID, gpu_model_id, node_id
from app.usage.kinds import HoldSource
from app.usage.notes import Note
from tests.store.builders import (
    CLUSTER,
    H100,
    MINUTE_MS,
    NOON_MS,
    a_count,
    a_hold,
    a_node,
    a_workload,
    an_hour,
    ids,
)

A100 = "NVIDIA-A100-SXM4-80GB"


@pytest.fixture
def store(ledger: Connection) -> InventoryStore:
    return InventoryStore(ledger, CLUSTER)


def spans(frame: pd.DataFrame, *columns: str) -> list[tuple[int, ...]]:
    return [tuple(row) for row in frame[[*columns]].itertuples(index=False)]


def test_the_first_counts_of_a_node_speak_from_its_creation(store: InventoryStore) -> None:
    store.put_node(a_node(created_ms=NOON_MS - HOUR_MS), [a_count()], at_ms=NOON_MS)

    counts = store.counts(an_hour(-1))

    frames.POOL_COUNTS.validate(counts)
    assert spans(counts, "start_ms", "end_ms", "allocatable_num") == [
        (NOON_MS - HOUR_MS, OPEN_MS, 8)
    ]


def test_an_unhealthy_device_is_allocatable_again_after_its_time(store: InventoryStore) -> None:
    later = NOON_MS + 10 * MINUTE_MS
    store.put_node(a_node(), [a_count()], at_ms=NOON_MS)
    store.put_node(a_node(), [a_count(allocatable=7)], at_ms=later)
    store.put_node(a_node(), [a_count(allocatable=7)], at_ms=later + MINUTE_MS)
    store.put_node(a_node(), [a_count()], at_ms=later + 5 * MINUTE_MS)

    counts = store.counts(an_hour())
    pools = store.pools(an_hour())

    assert spans(counts, "start_ms", "end_ms", "allocatable_num")[1:] == [
        (later, later + 5 * MINUTE_MS, 7),
        (later + 5 * MINUTE_MS, OPEN_MS, 8),
    ]
    assert spans(pools, "devices", "end_ms") == [(8, OPEN_MS)]


def test_two_counts_at_one_instant_keep_the_later_one(store: InventoryStore) -> None:
    store.put_node(a_node(), [a_count()], at_ms=NOON_MS)
    store.put_node(a_node(), [a_count(allocatable=7)], at_ms=NOON_MS + 1)
    store.put_node(a_node(), [a_count(allocatable=6)], at_ms=NOON_MS + 1)

    counts = store.counts(an_hour())

    assert counts["allocatable_num"].tolist() == [8, 6]


def test_an_older_sighting_of_a_node_changes_nothing(store: InventoryStore) -> None:
    store.put_node(a_node(), [a_count()], at_ms=NOON_MS)
    store.put_node(a_node(), [a_count(allocatable=7)], at_ms=NOON_MS + MINUTE_MS)
    before = store.counts(an_hour())

    store.put_node(a_node(instance_type="old"), [a_count(allocatable=3)], at_ms=NOON_MS)

    pd.testing.assert_frame_equal(store.counts(an_hour()), before)
    assert store.nodes()["instance_type"].tolist() == ["p5.48xlarge"]


def test_a_node_that_loses_its_devices_keeps_its_capacity(store: InventoryStore) -> None:
    gone = NOON_MS + MINUTE_MS
    store.put_node(a_node(), [a_count()], at_ms=NOON_MS)

    store.put_node(a_node(), [], at_ms=gone)

    assert spans(store.pools(an_hour()), "devices", "end_ms") == [(8, OPEN_MS)]
    assert spans(store.counts(an_hour()), "end_ms") == [(gone,)]


def test_a_deleted_node_ends_with_its_deletion(store: InventoryStore) -> None:
    end = NOON_MS + 30 * MINUTE_MS
    store.put_node(a_node(), [a_count()], at_ms=NOON_MS)

    store.end_node("uid-gpu-1", end)

    pools = store.pools(an_hour())
    frames.POOLS.validate(pools)
    assert spans(pools, "end_ms") == [(end,)]
    assert spans(store.counts(an_hour()), "end_ms") == [(end,)]
    assert store.pools(an_hour(1)).empty


def test_only_a_later_sighting_undoes_the_end_of_a_node(store: InventoryStore) -> None:
    store.put_node(a_node(), [a_count()], at_ms=NOON_MS)
    store.end_node(a_node().uid, NOON_MS)

    store.put_node_facts([a_node()], at_ms=NOON_MS)
    ends = [store.pools(an_hour(-1))["end_ms"].tolist()]
    store.put_node_facts([a_node()], at_ms=NOON_MS + MINUTE_MS)
    ends += [store.pools(an_hour(-1))["end_ms"].tolist()]

    assert ends == [[NOON_MS], [OPEN_MS]]


def test_models_of_a_node_that_replace_each_other_follow_in_time(store: InventoryStore) -> None:
    changed = NOON_MS + 20 * MINUTE_MS
    node = a_node(created_ms=NOON_MS)
    store.put_node(node, [a_count(4, 4, A100)], at_ms=NOON_MS)

    store.put_node(node, [a_count(8, 8)], at_ms=changed)

    pools = store.pools(an_hour()).set_index("gpu_model_id")
    assert pools.loc[gpu_model_id(A100), ["start_ms", "end_ms"]].tolist() == [NOON_MS, changed]
    assert pools.loc[gpu_model_id(H100), ["start_ms", "end_ms"]].tolist() == [changed, OPEN_MS]


def test_devices_named_otherwise_are_one_pool_under_the_last_name(store: InventoryStore) -> None:
    node = a_node(created_ms=NOON_MS)
    store.put_node(node, [a_count(8, 8, "A100-SXM4-40GB")], at_ms=NOON_MS)

    store.put_node(node, [a_count(8, 8, A100)], at_ms=NOON_MS + 20 * MINUTE_MS)

    pools = store.pools(an_hour())
    assert spans(pools, "start_ms", "end_ms", "devices") == [(NOON_MS, OPEN_MS, 8)]
    assert pools["gpu_model_id"].tolist() == [gpu_model_id(A100)]


@pytest.mark.parametrize(("shown", "named", "devices"), [(56, 8, 8), (8, 8, 8), (8, 7, 8)])
def test_units_of_devices_that_nothing_named_yet_are_those_that_were_named_later(
    store: InventoryStore, shown: int, named: int, devices: int
) -> None:
    """56 units of what turned out to be 8 devices are their slots; of 8 devices one may be lost."""
    node = a_node(created_ms=NOON_MS)
    store.put_node(node, [a_count(shown, shown, "unknown")], at_ms=NOON_MS)

    store.put_node(node, [a_count(named, named)], at_ms=NOON_MS + MINUTE_MS)

    pools = store.pools(an_hour())
    assert spans(pools, "start_ms", "end_ms", "devices") == [(NOON_MS, OPEN_MS, devices)]
    assert pools["gpu_model_id"].tolist() == [gpu_model_id(H100)]


def test_two_models_of_a_node_are_two_pools_for_its_whole_life(store: InventoryStore) -> None:
    node = a_node(created_ms=NOON_MS - HOUR_MS)

    store.put_node(node, [a_count(4, 4), a_count(4, 4, A100)], at_ms=NOON_MS)

    expected = [(NOON_MS - HOUR_MS, OPEN_MS, 4)] * 2
    assert spans(store.pools(an_hour()), "start_ms", "end_ms", "devices") == expected


def test_watched_spans_unite_and_stay_inside_the_window(store: InventoryStore) -> None:
    first = store.begin_watch(NOON_MS - MINUTE_MS)
    store.extend_watch(first, NOON_MS + MINUTE_MS)
    store.extend_watch(first, NOON_MS)
    second = store.begin_watch(NOON_MS + 10 * MINUTE_MS)
    store.extend_watch(second, NOON_MS + 2 * HOUR_MS)

    watched = store.watched(an_hour())

    assert watched.start.tolist() == [NOON_MS, NOON_MS + 10 * MINUTE_MS]
    assert watched.end.tolist() == [NOON_MS + MINUTE_MS, NOON_MS + HOUR_MS]


def test_beginning_a_watch_twice_is_one_span(store: InventoryStore) -> None:
    store.extend_watch(store.begin_watch(NOON_MS), NOON_MS + MINUTE_MS)
    store.begin_watch(NOON_MS)

    assert store.watched(an_hour()).length() == MINUTE_MS


def test_what_vanished_unwatched_ends_where_the_watch_ended(store: InventoryStore) -> None:
    watched_until = NOON_MS + 5 * MINUTE_MS
    back = NOON_MS + 20 * MINUTE_MS
    store.extend_watch(store.begin_watch(NOON_MS), watched_until)
    for name in ("gpu-1", "gpu-2"):
        store.put_node(a_node(name), [a_count()], at_ms=NOON_MS)
    store.put_hold(a_hold("gone"))
    store.put_hold(a_hold("stays"))
    store.put_hold(a_hold("late", start_ms=watched_until + MINUTE_MS))
    store.begin_watch(back)

    store.end_missing(back, node_uids={"uid-gpu-1"}, pod_uids={"uid-stays"})

    holds = {hold.pod: hold for hold in store.holds.within(an_hour())}
    assert (holds["gone"].end_ms, holds["gone"].end_lost) == (watched_until, True)
    assert (holds["stays"].end_ms, holds["stays"].end_lost) == (OPEN_MS, False)
    assert holds["late"].end_ms == watched_until + MINUTE_MS
    ends = store.pools(an_hour()).set_index("node_id")["end_ms"]
    assert ends[node_id(CLUSTER, "uid-gpu-1")] == OPEN_MS
    assert ends[node_id(CLUSTER, "uid-gpu-2")] == watched_until


def test_a_hold_comes_back_as_it_was_put(store: InventoryStore) -> None:
    hold = a_hold(start_unsure_ms=1_000, ready_ms=NOON_MS + 5_000, workload=a_workload("other"))

    store.put_hold(hold)
    store.put_hold(hold)

    assert store.holds.within(an_hour()) == (hold,)


def test_a_hold_frame_has_the_identities_of_the_facts(store: InventoryStore) -> None:
    store.put_hold(a_hold(end_ms=NOON_MS + MINUTE_MS))

    frame = store.holds.frame(an_hour())

    frames.HOLDS.validate(frame)
    row = frame.iloc[0]
    assert {name: row[name] for name in ids()} == ids()
    assert (row["start_ms"], row["end_ms"]) == (NOON_MS, NOON_MS + MINUTE_MS)


def test_holds_of_an_empty_window_are_an_empty_frame(store: InventoryStore) -> None:
    frames.HOLDS.validate(store.holds.frame(an_hour()))
    frames.POOLS.validate(store.pools(an_hour()))
    frames.POOL_COUNTS.validate(store.counts(an_hour()))

    assert store.holds.owners([]).empty


@pytest.mark.parametrize(
    ("start", "end", "touches"),
    [
        (NOON_MS - MINUTE_MS, NOON_MS - 1, False),
        (NOON_MS - MINUTE_MS, NOON_MS + 1, True),
        (NOON_MS + HOUR_MS - 1, OPEN_MS, True),
        (NOON_MS + HOUR_MS, OPEN_MS, False),
    ],
)
def test_a_window_has_the_holds_that_touch_it(
    store: InventoryStore, start: int, end: int, *, touches: bool
) -> None:
    store.put_hold(a_hold(start_ms=start, end_ms=end))

    assert bool(store.holds.within(an_hour())) is touches


def test_the_watch_replaces_what_kube_state_metrics_said_and_not_the_reverse(
    store: InventoryStore,
) -> None:
    ksm = a_hold(end_ms=NOON_MS + MINUTE_MS, source=HoldSource.KUBE_STATE_METRICS)
    watched = a_hold(end_ms=NOON_MS + 20_000)
    store.holds.put([ksm], seen_ms=NOON_MS + HOUR_MS)
    store.put_hold(watched)

    store.holds.put([ksm], seen_ms=NOON_MS + 2 * HOUR_MS)

    assert store.holds.within(an_hour()) == (watched,)


def test_an_older_reading_of_kube_state_metrics_does_not_open_an_ended_hold(
    store: InventoryStore,
) -> None:
    lasting = a_hold(source=HoldSource.KUBE_STATE_METRICS)
    ended = a_hold(end_ms=NOON_MS + 90 * MINUTE_MS, source=HoldSource.KUBE_STATE_METRICS)
    store.holds.put([lasting], seen_ms=NOON_MS + HOUR_MS)
    store.holds.put([ended], seen_ms=NOON_MS + 2 * HOUR_MS)

    store.holds.put([lasting], seen_ms=NOON_MS + HOUR_MS)

    assert store.holds.within(an_hour()) == (ended,)


def test_a_surer_edge_is_kept(store: InventoryStore) -> None:
    exact = a_hold(end_ms=NOON_MS + MINUTE_MS)
    store.put_hold(exact)

    store.put_hold(
        a_hold(
            start_ms=NOON_MS - 5_000,
            start_unsure_ms=5_000,
            end_ms=NOON_MS + 2 * MINUTE_MS,
            end_unsure_ms=MINUTE_MS,
        )
    )

    assert store.holds.within(an_hour()) == (exact,)


def test_owners_are_found_by_labels_as_a_mapping(store: InventoryStore) -> None:
    store.put_hold(a_hold())

    row = store.holds.owners([ids()["hold_id"]]).iloc[0]

    assert row["namespace"] == "search-prod"
    assert row["labels"] == {"app": "ranker-0", "team": "search"}


@pytest.mark.parametrize(
    ("names", "labels"),
    [
        (("team", "tier"), {"team": "search"}),
        (("tier",), {}),
        ((), {}),
    ],
)
def test_owners_are_read_with_the_labels_that_matter(
    store: InventoryStore, names: tuple[str, ...], labels: dict[str, str]
) -> None:
    store.put_hold(a_hold())

    row = store.holds.owners([ids()["hold_id"]], names).iloc[0]

    assert (row["namespace"], row["labels"]) == ("search-prod", labels)


def test_a_node_that_was_made_again_under_its_name_is_another(store: InventoryStore) -> None:
    store.put_node(a_node(uid="first", created_ms=NOON_MS - HOUR_MS), [a_count()], at_ms=NOON_MS)
    store.put_node(a_node(uid="second", created_ms=NOON_MS), [a_count()], at_ms=NOON_MS)

    assert store.known_nodes() == {
        ("gpu-1", NOON_MS - HOUR_MS): "first",
        ("gpu-1", NOON_MS): "second",
    }


def test_a_node_goes_by_its_own_uid_once_it_is_known(store: InventoryStore) -> None:
    made_up, own = f"{MADE_UP_UID}gpu-1@{NOON_MS}", "0-own"
    store.put_node(a_node(uid=made_up, created_ms=NOON_MS), [a_count()], at_ms=NOON_MS)
    store.put_node(a_node(uid=own, created_ms=NOON_MS), [a_count()], at_ms=NOON_MS + MINUTE_MS)
    # A row that is written again lies behind the others.
    store.end_node(made_up, NOON_MS + MINUTE_MS)

    assert store.known_nodes() == {("gpu-1", NOON_MS): own}
    assert store.pools(an_hour())["node_id"].tolist() == [node_id(CLUSTER, own)]


def test_the_watch_reaches_as_far_as_its_last_span(store: InventoryStore) -> None:
    assert store.watched_until_ms() == 0

    store.extend_watch(store.begin_watch(NOON_MS), NOON_MS + 5 * MINUTE_MS)
    store.begin_watch(NOON_MS + MINUTE_MS)

    assert store.watched_until_ms() == NOON_MS + 5 * MINUTE_MS


def test_clusters_keep_apart(ledger: Connection, store: InventoryStore) -> None:
    store.put_node(a_node(), [a_count()], at_ms=NOON_MS)
    store.put_hold(a_hold())

    other = InventoryStore(ledger, "prod-us")

    assert other.pools(an_hour()).empty
    assert other.holds.within(an_hour()) == ()


def test_notes_are_kept_with_their_first_and_last_sighting(store: InventoryStore) -> None:
    note = Note("unknown_share", "search-prod/ranker-0", 2, "It is shared.")
    store.put_notes([note, note], at_ms=NOON_MS)
    store.put_notes([note], at_ms=NOON_MS + 90 * MINUTE_MS)

    assert store.notes(an_hour(-1)).empty
    assert store.notes(an_hour())["subject"].tolist() == ["search-prod/ranker-0"]
    assert len(store.notes(an_hour(1))) == 1
    assert store.notes(an_hour(2)).empty
