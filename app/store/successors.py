"""Which charges took the place of those that a rating took away."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from sqlalchemy import Connection, select

from app.store.copying import Column, Kind, Parameter, copy_out
from app.store.naming import NameStore
from app.store.tables.adjustments import REPLACED_CHARGES
from app.store.tables.ledger import CHARGES

Int64s = npt.NDArray[np.int64]

# What a charge is about. Its team and price are what a rating changes.
_SUBJECT = (
    "cluster_id",
    "window_start",
    "node_id",
    "gpu_model_id",
    "hold_id",
    "workload_id",
    "kind",
    "step",
    "consumer_id",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Successor:
    """A charge that stands where another one stood."""

    charge_id: int
    team: str
    gpu_ms: int
    cost_nanos: int | None


def remember_replaced(
    connection: Connection,
    condition: str,
    parameters: Mapping[str, Parameter],
    charge_ids: Int64s,
) -> int:
    """Remember the charges of a condition that are not among ``charge_ids``; return how many.

    Call it before they are deleted. ``condition`` is SQL of ours over charges; where nothing is
    stored yet, and where all identities come again, nothing is written.
    """
    stored = copy_out(
        connection,
        f"SELECT charge_id FROM charges WHERE {condition}",  # noqa: S608 names of ours only
        [Column("charge_id", Kind.INT8)],
        parameters,
    )["charge_id"].to_numpy()
    gone = np.setdiff1d(stored, charge_ids)
    if not len(gone):
        return 0
    columns = ", ".join(("charge_id", *_SUBJECT))
    result = connection.exec_driver_sql(
        f"INSERT INTO replaced_charges ({columns}) SELECT {columns} FROM charges"  # noqa: S608 names of ours only
        f" WHERE {condition} AND charge_id = ANY(%(gone)s::bigint[]) ON CONFLICT DO NOTHING",
        {**parameters, "gone": gone.tolist()},
    )
    return result.rowcount


def successors_of(connection: Connection, charge_id: int) -> tuple[Successor, ...] | None:
    """Return what stands where a charge stood, by identity; None if nobody knows of the charge.

    () says that the charge was replaced and that nothing is about the same any more.
    """
    old = connection.execute(
        select(REPLACED_CHARGES).where(REPLACED_CHARGES.c.charge_id == charge_id)
    ).one_or_none()
    if old is None:
        return None
    teams = NameStore(connection).teams()
    rows = connection.execute(
        select(CHARGES.c.charge_id, CHARGES.c.team_id, CHARGES.c.gpu_ms, CHARGES.c.cost_nanos)
        .where(*(CHARGES.c[name] == getattr(old, name) for name in _SUBJECT))
        .order_by(CHARGES.c.started_at, CHARGES.c.charge_id)
    )
    return tuple(
        Successor(
            charge_id=row.charge_id,
            team=teams.get(row.team_id, ""),
            gpu_ms=row.gpu_ms,
            cost_nanos=row.cost_nanos,
        )
        for row in rows
    )
