"""What the watch and kube-state-metrics say of an hour, put together."""

from dataclasses import replace

import pandas as pd

from app.sources.kube_state import Inventory
from app.sources.kube_state_nodes import NodeSpan
from app.units.intervals import Spans
from app.units.window import OPEN_MS
from app.usage import frames
from app.usage.holds import holds_of
from app.usage.identity import gpu_model_id, node_id
from app.usage.inventory import PodHold
from app.usage.kinds import HoldSource
from app.usage.notes import CLAIMS_NOT_VISIBLE, Note, notes_frame
from app.usage.states import device_states
from app.workflows.inventories import (
    Known,
    holds_frame,
    kube_state_only,
    with_kube_state,
    without_claims,
)
from tests.usage.builders import (
    HOUR,
    MINUTE,
    SECOND,
    T0,
    WINDOW,
    a_count,
    a_node,
    a_pod,
    a_pool,
    counts_of,
    pools_of,
    spans,
)
from tests.usage.stating import state, totals

CLUSTER = "prod-eu"
NODE = a_node(capacity=(("nvidia.com/gpu", 2),))
NODE_ID = node_id(CLUSTER, NODE.uid)
MODEL_ID = gpu_model_id("NVIDIA-H100-80GB-HBM3")
ALL_HOUR = spans((T0, T0 + HOUR))
GAP = spans((T0, T0 + 20 * MINUTE), (T0 + 30 * MINUTE, T0 + HOUR))
DIED = spans((T0, T0 + 20 * MINUTE))
NOBODY = spans()


def a_held_gpu() -> PodHold:
    (hold,), _ = holds_of(a_pod(scheduled_ms=T0 - HOUR), NODE)
    return hold


def known(watched: Spans, *holds: PodHold, watched_until_ms: int | None = None) -> Known:
    """A node of 2 GPUs, as the watch left it."""
    until_ms = int(watched.end.max(initial=0)) if watched_until_ms is None else watched_until_ms
    return Known(
        pools=pools_of(a_pool(NODE_ID, gpu_model_id=MODEL_ID)),
        counts=counts_of(a_count(NODE_ID, gpu_model_id=MODEL_ID)),
        holds=holds_frame(CLUSTER, holds),
        observed=watched,
        watched=watched,
        watched_until_ms=until_ms,
        nodes=pd.DataFrame(
            {"node_id": [NODE_ID], "node_name": pd.Series([NODE.name], dtype="str")}
        ),
        readiness=pd.DataFrame(
            columns=["hold_id", "workload_id", "scheduled_ms", "ready_ms"], dtype="int64"
        ),
        node_uids={(NODE.name, NODE.created_ms): NODE.uid},
        notes=frames.empty(frames.NOTES),
        partial=False,
    )


def seen(
    *holds: PodHold, node_end_ms: int | None = OPEN_MS, observed: Spans = ALL_HOUR
) -> Inventory:
    """What kube-state-metrics shows; no node at all if its end is None."""
    nodes = (NodeSpan(node=NODE, start_ms=NODE.created_ms, end_ms=node_end_ms or 0),)
    return Inventory(
        nodes=nodes if node_end_ms is not None else (),
        holds=tuple(replace(hold, source=HoldSource.KUBE_STATE_METRICS) for hold in holds),
        observed=observed,
        evidence=frames.empty(frames.EVIDENCE),
        notes=frames.empty(frames.NOTES),
        partial=False,
    )


def states_of(known_now: Known) -> dict[str, int]:
    return totals(
        device_states(
            WINDOW, known_now.pools, known_now.counts, known_now.holds, known_now.observed
        )
    )


def test_devices_are_free_again_behind_a_gap_as_they_were_before_it() -> None:
    both = with_kube_state(known(GAP), seen(), CLUSTER, WINDOW)

    assert states_of(both) == state(unallocated=2 * HOUR)


def test_inside_a_gap_the_metrics_say_how_many_devices_may_be_held() -> None:
    ill = replace(NODE, allocatable=(("nvidia.com/gpu", 1),))
    given = replace(seen(), nodes=(NodeSpan(node=ill, start_ms=NODE.created_ms, end_ms=OPEN_MS),))

    both = with_kube_state(known(GAP), given, CLUSTER, WINDOW)

    assert states_of(both) == state(unallocated=110 * MINUTE, stranded=10 * MINUTE)


def test_a_hold_that_ended_after_the_watch_died_ends_where_the_metrics_saw_it() -> None:
    hold = a_held_gpu()
    ended = replace(hold, end_ms=T0 + 40 * MINUTE, end_unsure_ms=30 * SECOND)

    both = with_kube_state(known(DIED, hold), seen(ended), CLUSTER, WINDOW)

    assert states_of(both) == state(held=40 * MINUTE, unallocated=80 * MINUTE)
    assert both.holds["end_unsure_ms"].tolist() == [30 * SECOND]


def test_a_hold_that_lasts_by_the_metrics_lasts_although_the_watch_died() -> None:
    both = with_kube_state(known(DIED, a_held_gpu()), seen(a_held_gpu()), CLUSTER, WINDOW)

    assert states_of(both) == state(held=HOUR, unallocated=HOUR)
    assert not both.holds["end_lost"].any()


def test_what_nobody_saw_after_the_watch_died_is_unobserved() -> None:
    both = with_kube_state(known(DIED, a_held_gpu()), seen(observed=NOBODY), CLUSTER, WINDOW)

    assert states_of(both) == state(
        held=20 * MINUTE, unallocated=20 * MINUTE, unobserved=80 * MINUTE
    )
    assert both.holds["end_lost"].all()


def test_a_hold_that_the_watch_saw_again_later_is_continuous() -> None:
    given = known(DIED, a_held_gpu(), watched_until_ms=T0 + 2 * HOUR)

    both = with_kube_state(given, seen(observed=NOBODY), CLUSTER, WINDOW)

    assert states_of(both) == state(held=HOUR, unallocated=20 * MINUTE, unobserved=40 * MINUTE)


def test_a_node_that_went_after_the_watch_died_ends_where_the_metrics_saw_it() -> None:
    both = with_kube_state(known(DIED), seen(node_end_ms=T0 + 45 * MINUTE), CLUSTER, WINDOW)

    assert states_of(both) == state(unallocated=90 * MINUTE)


def test_a_node_that_the_metrics_do_not_show_is_gone_since_the_watch_died() -> None:
    both = with_kube_state(known(DIED), seen(node_end_ms=None), CLUSTER, WINDOW)

    assert states_of(both) == state(unallocated=40 * MINUTE)


def test_a_node_stays_while_nobody_looks() -> None:
    both = with_kube_state(known(DIED), seen(observed=NOBODY), CLUSTER, WINDOW)

    assert states_of(both) == state(unallocated=40 * MINUTE, unobserved=80 * MINUTE)


def test_known_nodes_stay_unobserved_where_the_metrics_were_silent() -> None:
    silent = seen(node_end_ms=None, observed=NOBODY)

    alone = kube_state_only(known(NOBODY), silent, CLUSTER, WINDOW)

    assert states_of(alone) == state(unobserved=2 * HOUR)
    assert alone.partial
    assert alone.notes["kind"].tolist() == ["no_inventory"]


def test_a_node_that_the_metrics_do_not_show_is_gone() -> None:
    alone = kube_state_only(known(NOBODY), seen(node_end_ms=None), CLUSTER, WINDOW)

    assert states_of(alone) == state()
    assert not alone.partial


def test_an_hour_is_partial_while_the_watch_may_still_come_to_it() -> None:
    died, ended = T0 + 20 * MINUTE, T0 + 2 * HOUR

    def is_partial(watched: Spans, until_ms: int) -> bool:
        given = known(watched, watched_until_ms=until_ms)
        return with_kube_state(given, seen(), CLUSTER, WINDOW).partial

    assert is_partial(DIED, died)
    assert not is_partial(GAP, ended)
    assert not is_partial(NOBODY, 0)


def test_a_request_behind_which_a_watched_claim_stands_is_not_counted_in_a_gap() -> None:
    requested = a_held_gpu()
    by_claim = replace(requested, resource="resource.k8s.io/ranker-0-gpu/gpu", part_ms=T0 - HOUR)
    watched = replace(known(GAP, by_claim), by_claims=(by_claim,))
    said = [
        Note(CLAIMS_NOT_VISIBLE, "search/ranker-0", 1, "known to the watch"),
        Note(CLAIMS_NOT_VISIBLE, "search/other-0", 1, "known to nobody"),
    ]
    told = replace(seen(requested), notes=notes_frame(said))

    left = without_claims(watched, told, CLUSTER)

    assert states_of(with_kube_state(watched, left, CLUSTER, WINDOW)) == state(
        held=HOUR, unallocated=HOUR
    )
    assert left.notes["subject"].tolist() == ["search/other-0"]
    assert without_claims(known(GAP), told, CLUSTER) is told
