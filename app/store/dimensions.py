"""What costs and tokens are grouped and filtered by: identities in the tables, names outside."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta

import numpy as np
import numpy.typing as npt
import pandas as pd
from sqlalchemy import Connection, Table, select

from app.attribution.charges import ChargeKind
from app.errors import InputError
from app.store.consumers import ConsumerStore
from app.store.naming import NameStore
from app.store.tables import METADATA
from app.store.tables.inventory import HOLDS, NODES, WORKLOADS
from app.units.identity import id_of_text, id_text
from app.units.window import Window, from_ms

Int64s = npt.NDArray[np.int64]
# Allowed values by column; a column that is not named allows everything.
Filters = tuple[tuple[str, tuple[str, ...]], ...]

_EPOCH_DAY = date(1970, 1, 1)


class GroupError(InputError):
    """A column that these sums cannot be grouped or filtered by."""


@dataclass(frozen=True, slots=True)
class Dimension:
    """A column people group by, and the identity it is made from."""

    name: str
    identity: str


# Identities are columns of the charges, beside `day` and `hour`, which are parts of time.
_DIMENSIONS = {
    dimension.name: dimension
    for dimension in (
        Dimension("cluster", "cluster_id"),
        Dimension("node", "node_id"),
        Dimension("gpu_model", "gpu_model_id"),
        Dimension("namespace", "namespace_id"),
        Dimension("workload", "workload_id"),
        Dimension("pod", "hold_id"),
        Dimension("service", "workload_id"),
        Dimension("model", "workload_id"),
        Dimension("team", "team_id"),
        # Of a team on a day (`app.store.ownership`); these are not among the names of `Labels`.
        Dimension("department", "team_id"),
        Dimension("cost_center", "team_id"),
        Dimension("consumer", "consumer_id"),
        Dimension("charge", "charge_id"),
        Dimension("kind", "kind"),
        Dimension("hour", "hour"),
        Dimension("day", "day"),
        Dimension("week", "day"),
        Dimension("month", "day"),
    )
}
TIMES = frozenset({"hour", "day"})


@dataclass(frozen=True, slots=True)
class Coded:
    """A column of few distinct texts: ``texts`` ascending, ``codes`` a row's place in it."""

    codes: Int64s
    texts: tuple[str, ...]

    def values(self) -> pd.Series:
        """Return the column itself."""
        texts = np.array([*self.texts, ""], dtype=object)
        return pd.Series(texts[self.codes], dtype="str")


def dimension_of(name: str, allowed: Sequence[str]) -> Dimension:
    """Return the dimension of a column; refuse one that is not among the allowed."""
    if name not in allowed or name not in _DIMENSIONS:
        message = f"There is no column {name!r} to group or filter by here."
        raise GroupError(message, hint=f"Use {', '.join(allowed)}.")
    return _DIMENSIONS[name]


def identities(dimensions: Sequence[Dimension]) -> tuple[str, ...]:
    """Return the identities that the dimensions are made from, each once."""
    return tuple(dict.fromkeys(dimension.identity for dimension in dimensions))


class Labels:
    """Names of identities, and identities of names, for the rows of one answer."""

    def __init__(self, connection: Connection, window: Window) -> None:
        self._connection = connection
        self._names = NameStore(connection)
        self._window = window

    def of(self, dimension: Dimension, identity: Int64s) -> Coded:
        """Return the names of a column of identities; '' for 0 and for what has no name."""
        distinct, place = np.unique(identity, return_inverse=True)
        texts = self._texts(dimension, distinct)
        ordered = sorted(set(texts))
        rank = {text: number for number, text in enumerate(ordered)}
        codes = np.array([rank[text] for text in texts], dtype=np.int64)
        return Coded(codes[place] if len(codes) else place.astype(np.int64), tuple(ordered))

    def identities(self, dimension: Dimension, values: Sequence[str]) -> tuple[int, ...]:
        """Return the identities whose name is among ``values``; '' is for those without a name."""
        wanted = frozenset(values)
        known: Mapping[int, str]
        match dimension.name:
            case "kind":
                known = {int(kind): kind.name.lower() for kind in ChargeKind}
            case "charge":
                known = {id_of_text(value): value for value in wanted}
            case "node":
                known = self._by_name(NODES, "node_id", "name", wanted)
            case "workload" | "service":
                known = self._by_name(WORKLOADS, "workload_id", "name", wanted)
            case "model":
                known = self.models()
            case "pod":
                known = self._by_name(HOLDS, "hold_id", "pod", wanted)
            case _:
                known = self._small(dimension)
        if dimension.name in {"service", "model"} and "" in wanted:
            message = f"Costs cannot be filtered by having no {dimension.name}."
            raise GroupError(message, hint="Leave the empty value out.")
        if dimension.name == "service":
            serving = self.services()
            known = {key: name for key, name in known.items() if key in serving}
        found = {key for key, name in known.items() if name in wanted}
        return tuple(sorted(found | ({0} if "" in wanted else set())))

    def services(self) -> frozenset[int]:
        """Return the workloads that published tokens in the window."""
        table = METADATA.tables["token_usage"]
        return frozenset(
            self._connection.scalars(
                select(table.c.workload_id)
                .where(table.c.window_start >= self._window.start_ms)
                .where(table.c.window_start < self._window.end_ms)
                .distinct()
            )
        )

    def models(self) -> dict[int, str]:
        """Return what each serving workload served in the window; several names are joined by +."""
        table = METADATA.tables["token_usage"]
        rows = self._connection.execute(
            select(table.c.workload_id, table.c.model_id)
            .where(table.c.window_start >= self._window.start_ms)
            .where(table.c.window_start < self._window.end_ms)
            .distinct()
        )
        names = self._names.models()
        served: dict[int, set[str]] = {}
        for row in rows:
            served.setdefault(row.workload_id, set()).add(names.get(row.model_id, ""))
        return {key: "+".join(sorted(texts)) for key, texts in served.items()}

    def _texts(self, dimension: Dimension, distinct: Int64s) -> list[str]:
        keys = [int(key) for key in distinct]
        known: Mapping[int, str]
        match dimension.name:
            case "hour":
                return [from_ms(key).isoformat().replace("+00:00", "Z") for key in keys]
            case "day" | "week" | "month":
                return [_of_day(dimension.name, key) for key in keys]
            case "kind":
                return [ChargeKind(key).name.lower() for key in keys]
            case "charge":
                return [id_text(key) for key in keys]
            case "node":
                known = self._by_key(NODES, "node_id", "name", keys)
            case "workload":
                known = self._by_key(WORKLOADS, "workload_id", "name", keys)
            case "service":
                serving = self.services()
                known = self._by_key(
                    WORKLOADS, "workload_id", "name", [key for key in keys if key in serving]
                )
            case "model":
                known = self.models()
            case "pod":
                known = self._by_key(HOLDS, "hold_id", "pod", keys)
            case _:
                known = self._small(dimension)
        return [known.get(key, "") for key in keys]

    def _small(self, dimension: Dimension) -> Mapping[int, str]:
        """Return all names of a dimension that has few."""
        match dimension.name:
            case "cluster":
                return self._names.clusters()
            case "gpu_model":
                return self._names.gpu_models()
            case "namespace":
                return self._names.namespaces()
            case "team":
                return self._names.teams()
            case "consumer":
                return self._consumers()
            case _:
                message = f"{dimension.name} has no names."
                raise AssertionError(message)

    def _consumers(self) -> dict[int, str]:
        """Return what every consumer is called; gateways may call different ones alike."""
        known = ConsumerStore(self._connection).consumers()
        return {key: consumer.name for key, consumer in known.items()}

    def _by_key(self, table: Table, key: str, name: str, keys: Sequence[int]) -> dict[int, str]:
        # The primary keys begin with the cluster.
        rows = self._connection.execute(
            select(table.c[key], table.c[name]).where(
                table.c.cluster_id.in_(sorted(self._names.clusters())), table.c[key].in_(keys)
            )
        )
        return {row[0]: row[1] for row in rows}

    def _by_name(self, table: Table, key: str, name: str, wanted: frozenset[str]) -> dict[int, str]:
        rows = self._connection.execute(
            select(table.c[key], table.c[name]).where(table.c[name].in_(sorted(wanted)))
        )
        return {row[0]: row[1] for row in rows}


def _of_day(name: str, epoch_day: int) -> str:
    day = _EPOCH_DAY + timedelta(days=epoch_day)
    match name:
        case "week":
            year, week, _ = day.isocalendar()
            return f"{year:04d}-W{week:02d}"
        case "month":
            return f"{day.year:04d}-{day.month:02d}"
        case _:
            return day.isoformat()
