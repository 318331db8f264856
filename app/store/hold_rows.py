"""Holds as rows of their table: written, merged with what is stored, read back as values."""

from dataclasses import replace
from fractions import Fraction
from typing import Any

from sqlalchemy import ColumnElement, Row, case, func
from sqlalchemy.dialects.postgresql import Insert, insert

from app.store.tables.inventory import HOLDS
from app.units.window import OPEN_MS
from app.usage.identity import cluster_id, gpu_model_id, hold_id, node_id, workload_id
from app.usage.inventory import PodHold, Workload
from app.usage.kinds import HoldSource, Sharing


def row_of(cluster: str, hold: PodHold, seen_ms: int | None) -> dict[str, object]:
    """Return a hold as a row of the table."""
    return {
        "cluster_id": cluster_id(cluster),
        "hold_id": hold_id(cluster, hold.pod_uid, hold.resource, hold.part_ms),
        "pod_uid": hold.pod_uid,
        "namespace": hold.namespace,
        "pod": hold.pod,
        "node_id": node_id(cluster, hold.node_uid) if hold.node_uid else 0,
        "node_uid": hold.node_uid,
        "node_name": hold.node_name,
        "gpu_model_id": gpu_model_id(hold.gpu_model),
        "resource": hold.resource,
        "units": hold.units,
        "share_num": hold.share_num,
        "share_den": hold.share_den,
        "compute_num": hold.compute_share[0],
        "compute_den": hold.compute_share[1],
        "sharing": int(hold.sharing),
        "devices": ",".join(hold.devices),
        "part_ms": hold.part_ms,
        "exclusive": hold.exclusive,
        "workload_id": workload_id(cluster, hold.workload),
        "labels": dict(hold.labels),
        "started_at": hold.start_ms,
        "ended_at": None if hold.end_ms >= OPEN_MS else hold.end_ms,
        "start_unsure_ms": hold.start_unsure_ms,
        "end_unsure_ms": hold.end_unsure_ms,
        "end_lost": hold.end_lost,
        "scheduled_at": hold.scheduled_ms,
        "ready_at": hold.ready_ms,
        "source": int(hold.source),
        "seen_at": seen_ms,
    }


def upsert() -> Insert:
    """Return the statement of `HoldStore.put`."""
    statement = insert(HOLDS)
    fresh, stored = statement.excluded, HOLDS.c
    from_watch = fresh.source == int(HoldSource.WATCH)
    same_source = fresh.source == stored.source
    surer_start = same_source & (stored.start_unsure_ms < fresh.start_unsure_ms)
    surer_end = (
        same_source
        & stored.ended_at.is_not(None)
        & fresh.ended_at.is_not(None)
        & ~stored.end_lost
        & (stored.end_unsure_ms < fresh.end_unsure_ms)
    )
    values: dict[str, ColumnElement[Any]] = {
        column.name: fresh[column.name] for column in HOLDS.columns if not column.primary_key
    }
    for name in ("started_at", "start_unsure_ms"):
        values[name] = case((surer_start, stored[name]), else_=fresh[name])
    for name in ("ended_at", "end_unsure_ms", "end_lost"):
        values[name] = case((surer_end, stored[name]), else_=fresh[name])
    values["seen_at"] = case(
        (same_source, func.greatest(stored.seen_at, fresh.seen_at)), else_=fresh.seen_at
    )
    # A pod may outlive its node, and does not hold another one's devices then.
    for name in ("node_id", "node_uid", "gpu_model_id"):
        values[name] = case((fresh.node_id == 0, stored[name]), else_=fresh[name])
    # A pod that was ready once stays known as such: its cold start happened.
    for name in ("scheduled_at", "ready_at"):
        values[name] = func.coalesce(stored[name], fresh[name])
    further = (stored.source == int(HoldSource.KUBE_STATE_METRICS)) & (
        func.coalesce(stored.seen_at <= fresh.seen_at, True)
    )
    return statement.on_conflict_do_update(
        index_elements=["cluster_id", "hold_id"], set_=values, where=from_watch | further
    )


def changed(last: Row[Any], hold: PodHold, at_ms: int) -> bool:
    """Say whether a stored part that lasts has another share than the hold has from an instant on.

    A share that was stored before the node was known is corrected instead.
    """
    lasts = last.started_at < at_ms and (last.ended_at is None or last.ended_at > at_ms)
    placed = bool(last.node_uid) and last.node_uid == hold.node_uid
    stored = (
        Fraction(last.share_num, last.share_den),
        Fraction(last.compute_num, last.compute_den),
    )
    told = (Fraction(hold.share_num, hold.share_den), Fraction(*hold.compute_share))
    return lasts and placed and at_ms < hold.end_ms and stored != told


def settled(last: Row[Any], hold: PodHold, at_ms: int) -> bool:
    """Say whether a hold was over before an instant whose shares are therefore not its own."""
    placed = bool(last.node_uid) and last.node_uid == hold.node_uid
    return placed and last.started_at < at_ms and hold.end_ms <= at_ms


def with_share_of(last: Row[Any], hold: PodHold) -> PodHold:
    """Return a hold with the share that its stored part has."""
    return replace(
        hold,
        units=last.units,
        share_num=last.share_num,
        share_den=last.share_den,
        compute_num=last.compute_num,
        compute_den=last.compute_den,
        sharing=Sharing(last.sharing),
        exclusive=last.exclusive,
    )


def part_of(hold: PodHold, start_ms: int) -> PodHold:
    """Return the part of a hold that began with a change; the cold start was the first part's."""
    return replace(
        hold,
        part_ms=start_ms,
        start_ms=start_ms,
        start_unsure_ms=0,
        end_ms=max(hold.end_ms, start_ms),
        end_unsure_ms=min(hold.end_unsure_ms, max(hold.end_ms - start_ms, 0)),
        scheduled_ms=None,
        ready_ms=None,
    )


def value_of(row: Row[Any]) -> PodHold:
    """Return a row of the table, joined with its workload and model, as a value."""
    share = (row.holds_share_num, row.holds_share_den)
    compute = (row.holds_compute_num, row.holds_compute_den)
    return PodHold(
        pod_uid=row.holds_pod_uid,
        namespace=row.holds_namespace,
        pod=row.holds_pod,
        node_uid=row.holds_node_uid,
        node_name=row.holds_node_name,
        gpu_model=row.gpu_model,
        resource=row.holds_resource,
        units=row.holds_units,
        share_num=row.holds_share_num,
        share_den=row.holds_share_den,
        exclusive=row.holds_exclusive,
        workload=Workload(
            namespace=row.workloads_namespace,
            kind=row.workloads_kind,
            name=row.workloads_name,
            uid=row.workloads_uid,
        ),
        labels=tuple(sorted(row.holds_labels.items())),
        start_ms=row.holds_started_at,
        end_ms=OPEN_MS if row.holds_ended_at is None else row.holds_ended_at,
        start_unsure_ms=row.holds_start_unsure_ms,
        end_unsure_ms=row.holds_end_unsure_ms,
        end_lost=row.holds_end_lost,
        scheduled_ms=row.holds_scheduled_at,
        ready_ms=row.holds_ready_at,
        source=HoldSource(row.holds_source),
        sharing=Sharing(row.holds_sharing),
        compute_num=0 if compute == share else compute[0],
        compute_den=0 if compute == share else compute[1],
        devices=tuple(filter(None, row.holds_devices.split(","))),
        part_ms=row.holds_part_ms,
    )
