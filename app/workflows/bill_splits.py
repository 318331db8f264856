"""A provider's rows with those who held the node: what the split view of FOCUS is made of."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import groupby
from operator import attrgetter

from sqlalchemy import Connection

from app.attribution.node_matching import NodeIndex
from app.attribution.provider_bills import BillRow, NodeLife
from app.chargeback.focus_split import OriginCharge, PodTime
from app.store.node_time import HeldBy, NodeTime, NodeTimeStore
from app.store.provider_bills import ProviderBillStore
from app.units.identity import id_text
from app.units.window import HOUR_MS, Window, from_ms

# Rows whose columns are asked for at a time.
_ROWS_AT_ONCE = 5_000


@dataclass(frozen=True, slots=True)
class BillOrigins:
    """Rows of bills, read as they are asked for; ``own`` are the providers' own columns."""

    rows: int
    own: tuple[str, ...]
    charges: Iterator[OriginCharge]


def bill_origins(connection: Connection, window: Window) -> BillOrigins:
    """Return the rows of the bills in force whose charge period begins in the window.

    A row of a node with GPUs carries who held it in that period. Rows are in the order of bills and
    of the rows in them.
    """
    store = ProviderBillStore(connection)
    index = NodeIndex(store.node_lives())
    current = store.current()
    bills = [one.bill.bill_id for one in current]
    rows = [
        row
        for row in store.rows(bills, (window.start_ms, window.end_ms))
        if window.start_ms <= row.start_ms < window.end_ms
    ]
    lives = {(row.bill_id, row.number): _lives(index, row) for row in rows}
    nodes = {(life.cluster_id, life.node_id) for found in lives.values() for life in found}
    until_ms = max([window.end_ms, *(row.end_ms for row in rows)])
    hours = Window(window.start, from_ms(-(-until_ms // HOUR_MS) * HOUR_MS))
    times = NodeTimeStore(connection).within(nodes, hours)
    holders = NodeTimeStore(connection).holders(times.holds)
    used = {row.bill_id for row in rows}
    names = {name for one in current if one.bill.bill_id in used for name in one.columns}
    return BillOrigins(
        rows=len(rows),
        own=tuple(sorted(name for name in names if name.startswith("x_"))),
        charges=(
            _origin(row, cells, lives[row.bill_id, row.number], times, holders)
            for row, cells in _with_cells(store, rows)
        ),
    )


def _lives(index: NodeIndex, row: BillRow) -> tuple[NodeLife, ...]:
    """Return the lives of the row's machine that meet its charge period."""
    return tuple(
        life
        for life in index.find(row).lives
        if life.created_ms < row.end_ms and row.start_ms < life.deleted_ms
    )


def _with_cells(
    store: ProviderBillStore, rows: list[BillRow]
) -> Iterator[tuple[BillRow, dict[str, str]]]:
    for bill_id, of_bill in groupby(rows, key=attrgetter("bill_id")):
        some = list(of_bill)
        for at in range(0, len(some), _ROWS_AT_ONCE):
            part = some[at : at + _ROWS_AT_ONCE]
            cells = store.origin(bill_id, [row.number for row in part])
            yield from ((row, cells[row.number]) for row in part)


def _origin(
    row: BillRow,
    cells: dict[str, str],
    lives: tuple[NodeLife, ...],
    times: NodeTime,
    holders: Mapping[int, HeldBy],
) -> OriginCharge:
    nodes = [(life.cluster_id, life.node_id) for life in lives]
    held = times.between(nodes, row.start_ms, row.end_ms)
    by_pod: dict[str, PodTime] = {}
    for hold in sorted(held.keys() & holders.keys()):
        pod = _pod(holders[hold], held[hold])
        # A pod whose share changed, or that has several resources, has several holds.
        before = by_pod.get(pod.resource_id)
        more = before.gpu_ms if before else 0
        by_pod[pod.resource_id] = replace(before or pod, gpu_ms=pod.gpu_ms + more)
    pods = tuple(by_pod[key] for key in sorted(by_pod))
    return OriginCharge(
        key=f"{id_text(row.bill_id)}/{row.number}",
        cells=cells,
        pods=pods,
        # What nobody held, and the time of a hold that the inventory has forgotten.
        free_ms=sum(held.values()) - sum(pod.gpu_ms for pod in pods),
    )


def _pod(pod: HeldBy, gpu_ms: int) -> PodTime:
    place = f"k8s://{pod.cluster}/namespace/{pod.namespace}/pod/{pod.pod}"
    return PodTime(
        resource_id=f"{place}/{pod.pod_uid}",
        name=f"{pod.namespace}/{pod.pod}",
        labels=(*pod.labels, ("namespace", pod.namespace)),
        gpu_ms=gpu_ms,
    )
