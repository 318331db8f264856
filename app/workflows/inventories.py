"""Who had which devices in an hour: from the watch, from kube-state-metrics, or from both."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from sqlalchemy import Connection

from app.sources.kube_state import Inventory
from app.sources.kube_state_nodes import NodeSpan
from app.store.inventory import InventoryStore
from app.units.intervals import Spans
from app.units.window import OPEN_MS, Window, from_ms
from app.usage import frames
from app.usage.claims import CLAIM_PREFIX
from app.usage.holds import pool_counts_of
from app.usage.identity import gpu_model_id, hold_id, node_id, workload_id
from app.usage.inventory import PodHold
from app.usage.kinds import HoldSource
from app.usage.notes import CLAIMS_NOT_VISIBLE, Note, notes_frame
from app.usage.reconcile import reconcile
from app.usage.serving_pods import ServingPod, serving_pods


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """An hour's inventory: frames of `POOLS`, `POOL_COUNTS`, `HOLDS` and `NOTES`.

    ``observed`` is when somebody looked, ``watched`` when the watch did, ``watched_until_ms`` the
    last instant of any watch, also after the hour (0 if nobody ever watched). ``nodes`` has node_id
    and node_name, ``readiness`` hold_id, workload_id, scheduled_ms and ready_ms of pods that became
    ready, ``pods`` what pods say they serve, ``node_uids`` the UIDs of nodes by name and creation.
    ``partial`` says that who should have looked at the hour has not, and may still do.
    ``by_claims`` are holds of pods by claims, which only a watch can tell.
    """

    pools: pd.DataFrame
    counts: pd.DataFrame
    holds: pd.DataFrame
    observed: Spans
    watched: Spans
    watched_until_ms: int
    nodes: pd.DataFrame
    readiness: pd.DataFrame
    node_uids: Mapping[tuple[str, int], str]
    notes: pd.DataFrame
    partial: bool
    pods: tuple[ServingPod, ...] = ()
    by_claims: tuple[PodHold, ...] = ()

    def is_behind(self, window: Window) -> bool:
        """Say whether the watch has not yet come to the end of the hour, or died before it."""
        return 0 < self.watched_until_ms < window.end_ms


def watched_inventory(connection: Connection, cluster: str, window: Window) -> Known:
    """Return what the watch stored about the hour."""
    store = InventoryStore(connection, cluster)
    watched = store.watched(window)
    holds = store.holds.frame(window)
    values = store.holds.within(window, source=HoldSource.WATCH)
    return Known(
        pools=store.pools(window),
        counts=store.counts(window),
        holds=holds.loc[holds["source"] == int(HoldSource.WATCH)].reset_index(drop=True),
        observed=watched,
        watched=watched,
        watched_until_ms=store.watched_until_ms(),
        nodes=store.nodes()[["node_id", "node_name"]],
        readiness=_readiness(cluster, values, window),
        node_uids=store.known_nodes(),
        notes=store.notes(window),
        partial=False,
        pods=serving_pods(cluster, values),
        by_claims=tuple(hold for hold in values if hold.resource.startswith(CLAIM_PREFIX)),
    )


def without_claims(known: Known, seen: Inventory, cluster: str) -> Inventory:
    """Return what kube-state-metrics said without what the watch knows better of claims.

    A pod whose extended resource is served by a claim shows the request there, and a pod with
    claims shows no devices; its holds by claims last through the gaps of the watch.
    """
    uids = {hold.pod_uid for hold in known.by_claims}
    if not uids:
        return seen
    watched = {*known.holds["hold_id"]}
    pods = {f"{hold.namespace}/{hold.pod}" for hold in known.by_claims}
    hidden = (seen.notes["kind"] == CLAIMS_NOT_VISIBLE) & seen.notes["subject"].isin(pods)
    holds = tuple(
        hold
        for hold in seen.holds
        if hold.pod_uid not in uids or hold_id(cluster, hold.pod_uid, hold.resource) in watched
    )
    return replace(seen, holds=holds, notes=seen.notes.loc[~hidden].reset_index(drop=True))


def with_kube_state(known: Known, seen: Inventory, cluster: str, window: Window) -> Known:
    """Return the watch's inventory with its gaps filled by what kube-state-metrics saw.

    Where the watch is behind, what it left open is only known until it was last there.
    """
    gaps = known.watched.gaps(window.start_ms, window.end_ms)
    state = kube_state_only(known, seen, cluster, window)
    watch_holds = _open_until(known.holds, known.watched_until_ms, behind=known.is_behind(window))
    holds, observed = reconcile(watch_holds, known.watched, state.holds, seen.observed)
    notes = [
        Note("watch_gap", cluster, end - start, _gap_words(start))
        for start, end in zip(gaps.start.tolist(), gaps.end.tolist(), strict=True)
    ]
    # Of two counts for one instant the one that began later speaks: kube-state-metrics inside a
    # gap, and behind it the watch again.
    counts = [known.counts, _inside(state.counts, gaps), _inside(known.counts, known.watched)]
    return Known(
        pools=_pools_of_both(known, state, window),
        counts=pd.concat(counts, ignore_index=True),
        holds=holds,
        observed=observed,
        watched=known.watched,
        watched_until_ms=known.watched_until_ms,
        nodes=state.nodes,
        readiness=pd.concat([known.readiness, state.readiness])
        .drop_duplicates("hold_id")
        .reset_index(drop=True),
        node_uids=known.node_uids,
        notes=pd.concat([known.notes, state.notes, notes_frame(notes)], ignore_index=True),
        partial=known.is_behind(window),
        # Of two words on one name the watch's, which comes last, counts.
        pods=(*state.pods, *known.pods),
    )


def kube_state_only(known: Known, seen: Inventory, cluster: str, window: Window) -> Known:
    """Return the inventory that kube-state-metrics alone gives.

    ``known`` adds what the ledger already knows of the same nodes: the largest device count. Where
    no scrape speaks for any of the hour, all nodes that are known are there, held by nobody knows
    whom: what is not told is not gone.
    """
    counts, notes = _counts_of(seen.nodes, cluster)
    silent = not seen.observed.length()
    pools = _pools_of(seen.nodes, counts, known.pools, cluster)
    if silent:
        notes.append(Note("no_inventory", cluster, window.length_ms, _SILENT))
        added = pools.loc[~pools["node_id"].isin(known.pools["node_id"])]
        pools = pd.concat([known.pools, added], ignore_index=True)
    return Known(
        pools=pools,
        counts=counts.drop(columns="devices"),
        holds=holds_frame(cluster, seen.holds),
        observed=seen.observed,
        watched=known.watched,
        watched_until_ms=known.watched_until_ms,
        nodes=_nodes_of(seen.nodes, known.nodes, cluster),
        readiness=_readiness(cluster, seen.holds, window),
        node_uids=known.node_uids,
        notes=notes_frame(notes),
        partial=silent,
        pods=serving_pods(cluster, seen.holds),
    )


def holds_frame(cluster: str, holds: Sequence[PodHold]) -> pd.DataFrame:
    """Return holds as `frames.HOLDS`."""
    columns: dict[str, list[int] | list[str] | list[bool]] = {
        "hold_id": [hold_id(cluster, one.pod_uid, one.resource, one.part_ms) for one in holds],
        "node_id": [node_id(cluster, one.node_uid) if one.node_uid else 0 for one in holds],
        "gpu_model_id": [gpu_model_id(one.gpu_model) for one in holds],
        "workload_id": [workload_id(cluster, one.workload) for one in holds],
        "namespace": [one.namespace for one in holds],
        "pod": [one.pod for one in holds],
        "share_num": [one.share_num for one in holds],
        "share_den": [one.share_den for one in holds],
        "compute_num": [one.compute_share[0] for one in holds],
        "compute_den": [one.compute_share[1] for one in holds],
        "units": [one.units for one in holds],
        "sharing": [int(one.sharing) for one in holds],
        "devices": [",".join(one.devices) for one in holds],
        "exclusive": [one.exclusive for one in holds],
        "start_ms": [one.start_ms for one in holds],
        "end_ms": [one.end_ms for one in holds],
        "start_unsure_ms": [one.start_unsure_ms for one in holds],
        "end_unsure_ms": [one.end_unsure_ms for one in holds],
        "end_lost": [one.end_lost for one in holds],
        "source": [int(one.source) for one in holds],
    }
    frame = frames.empty(frames.HOLDS)
    if holds:
        frame = pd.DataFrame(columns).astype(dict.fromkeys(("namespace", "pod", "devices"), "str"))
    validated: pd.DataFrame = frames.HOLDS.validate(frame)
    return validated


def _readiness(cluster: str, holds: Iterable[PodHold], window: Window) -> pd.DataFrame:
    rows = [
        (
            hold_id(cluster, hold.pod_uid, hold.resource, hold.part_ms),
            workload_id(cluster, hold.workload),
            hold.scheduled_ms,
            hold.ready_ms,
        )
        for hold in holds
        if hold.scheduled_ms is not None
        and hold.ready_ms is not None
        and window.start_ms <= hold.ready_ms < window.end_ms
    ]
    columns = ["hold_id", "workload_id", "scheduled_ms", "ready_ms"]
    return pd.DataFrame(rows, columns=columns).astype("int64")


def _counts_of(spans: Sequence[NodeSpan], cluster: str) -> tuple[pd.DataFrame, list[Note]]:
    """Return `POOL_COUNTS` with a column ``devices``, and what was odd about the nodes."""
    rows: list[tuple[int, ...]] = []
    notes: list[Note] = []
    for span in spans:
        counts, odd = pool_counts_of(span.node)
        notes += odd
        rows += [
            (
                node_id(cluster, span.node.uid),
                gpu_model_id(count.gpu_model),
                span.start_ms,
                span.end_ms,
                *count.allocatable.as_integer_ratio(),
                *count.compute_allocatable.as_integer_ratio(),
                count.devices,
            )
            for count in counts
        ]
    columns = [*frames.POOL_COUNTS.columns, "devices"]
    return pd.DataFrame(rows, columns=columns).astype("int64"), notes


def _pools_of(
    spans: Sequence[NodeSpan], counts: pd.DataFrame, stored: pd.DataFrame, cluster: str
) -> pd.DataFrame:
    """Return `POOLS`: a pool lives as long as its node, with the most devices ever counted."""
    lives = pd.DataFrame(
        [(node_id(cluster, span.node.uid), span.start_ms, span.end_ms) for span in spans],
        columns=["node_id", "start_ms", "end_ms"],
    ).astype("int64")
    lives = lives.groupby("node_id", as_index=False).agg({"start_ms": "min", "end_ms": "max"})
    key = ["node_id", "gpu_model_id"]
    both = pd.concat([counts[[*key, "devices"]], stored[[*key, "devices"]]])
    both = both.loc[both["node_id"].isin(lives["node_id"])]
    largest = both.groupby(key, as_index=False)["devices"].max()
    pools = largest.merge(lives, on="node_id", how="inner")
    pools = pools.loc[pools["devices"] > 0, list(frames.POOLS.columns)]
    whole: pd.DataFrame = pools.astype("int64").reset_index(drop=True)
    return whole


def _open_until(holds: pd.DataFrame, last_ms: int, *, behind: bool) -> pd.DataFrame:
    """Let holds that are open since the watch died end as lost where it was last there."""
    if not behind:
        return holds
    is_open = (holds["end_ms"] == OPEN_MS).to_numpy()
    last = np.maximum(holds["start_ms"].to_numpy(), last_ms)
    return holds.assign(
        end_ms=np.where(is_open, last, holds["end_ms"].to_numpy()),
        end_lost=holds["end_lost"].to_numpy(dtype=bool) | is_open,
    )


def _pools_of_both(known: Known, state: Known, window: Window) -> pd.DataFrame:
    """Add nodes that only kube-state-metrics saw; let those that vanished unseen live on.

    A node that the watch lost at the start of a gap lived to the last evidence of it, which is that
    of kube-state-metrics if it is later, and at most until the watch looked again. Where the watch
    is behind, a node that it left open is gone when kube-state-metrics does not show it.
    """
    pools = known.pools
    added = state.pools.loc[~state.pools["node_id"].isin(pools["node_id"])]
    seen_end = state.pools.groupby("node_id")["end_ms"].max()
    at = seen_end.index.get_indexer(pd.Index(pools["node_id"]))
    end = pools["end_ms"].to_numpy()
    later = np.append(seen_end.to_numpy(dtype=np.int64), 0)[at]
    starts = np.append(known.watched.start, np.iinfo(np.int64).max)
    looked_again = starts[np.searchsorted(known.watched.start, end, side="left")]
    lost = ~known.watched.covers(end)
    extended = np.where(lost & (at >= 0) & (later > end), np.minimum(later, looked_again), end)
    if known.is_behind(window) and state.observed.length():
        last = np.where(at >= 0, np.maximum(later, known.watched_until_ms), known.watched_until_ms)
        last = np.maximum(last, pools["start_ms"].to_numpy())
        extended = np.where(end == OPEN_MS, last, extended)
    return pd.concat([pools.assign(end_ms=extended), added], ignore_index=True)


def _inside(counts: pd.DataFrame, gaps: Spans) -> pd.DataFrame:
    """Clip each row to every gap it touches."""
    pairs = counts.merge(pd.DataFrame({"gap_start": gaps.start, "gap_end": gaps.end}), how="cross")
    pairs["start_ms"] = pairs[["start_ms", "gap_start"]].max(axis="columns")
    pairs["end_ms"] = pairs[["end_ms", "gap_end"]].min(axis="columns")
    kept = pairs.loc[pairs["start_ms"] < pairs["end_ms"], list(frames.POOL_COUNTS.columns)]
    return kept.astype("int64")


def _nodes_of(spans: Sequence[NodeSpan], stored: pd.DataFrame, cluster: str) -> pd.DataFrame:
    rows = [(node_id(cluster, span.node.uid), span.node.name) for span in spans]
    seen = pd.DataFrame(rows, columns=["node_id", "node_name"]).astype(
        {"node_id": "int64", "node_name": "str"}
    )
    return pd.concat([stored, seen]).drop_duplicates("node_id").reset_index(drop=True)


_SILENT = "kube-state-metrics does not say who held what in this hour; all known nodes are there."


def _gap_words(start_ms: int) -> str:
    instant = from_ms(start_ms).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return f"Nobody watched for these milliseconds from {instant}; holds come from scrapes there."
