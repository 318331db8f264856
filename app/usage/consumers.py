"""Who sent tokens through a gateway, to which model, and how many: exact growth, hour by hour."""

from dataclasses import dataclass
from enum import StrEnum

import numpy as np
import pandas as pd
import pandera.pandas as pa

from app.units.identity import hash64
from app.units.window import Window
from app.usage import frames
from app.usage.appearing import without_false_gaps
from app.usage.growth import by_series, increments
from app.usage.notes import Note, notes_frame
from app.usage.samples import COUNTER_LABELS, SampleSet

# What gateways write where they know nobody; compared without case.
_NOBODY = frozenset({"", "none", "null", "nil", "unknown", "undefined", "<nil>"})

# One series a counter of a gateway: `COUNTER_LABELS`, and what the gateway says of the tokens.
# `gateway` is the catalogue's name; `team`, `key_alias` and `end_user` are '' where it knows none.
# `model` is the name that was asked for, `target_model` the one that it was sent to. The last three
# name the backend, as far as the gateway tells it.
CONSUMER_FIELDS = ("team", "key_alias", "end_user")
ROUTE_FIELDS = ("model", "target_model", "cluster", "backend_namespace", "backend")
GATEWAY_LABELS = (
    *COUNTER_LABELS,
    "gateway",
    *CONSUMER_FIELDS,
    *(name for name in ROUTE_FIELDS if name not in COUNTER_LABELS),
)

_INT = pa.Column("int64")
_COUNT = pa.Column("Int64", nullable=True)

# Tokens by consumer and route (see `GatewayConsumer`, `GatewayRoute`); null where the gateway
# counts nothing of the kind. `cached_prompt_tokens` are part of the prompt tokens, and
# `reasoning_tokens` of the generation tokens. `carried` says that growth crossed a gap.
CONSUMER_USAGE = pa.DataFrameSchema(
    {
        "window_start_ms": _INT,
        "consumer_id": _INT,
        "route_id": _INT,
        "prompt_tokens": _COUNT,
        "cached_prompt_tokens": _COUNT,
        "generation_tokens": _COUNT,
        "reasoning_tokens": _COUNT,
        "requests": _COUNT,
        "carried": pa.Column("bool"),
    },
    strict=True,
    coerce=False,
)


class GatewayQuantity(StrEnum):
    """What a gateway counts; the values are columns of `CONSUMER_USAGE`."""

    PROMPT_TOKENS = "prompt_tokens"
    CACHED_PROMPT_TOKENS = "cached_prompt_tokens"
    GENERATION_TOKENS = "generation_tokens"
    REASONING_TOKENS = "reasoning_tokens"
    REQUESTS = "requests"


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class GatewayConsumer:
    """Who sent tokens, as one gateway reports it; without team and alias nobody knows.

    ``end_user`` is '' unless the settings allow such identities.
    """

    gateway: str
    team: str = ""
    key_alias: str = ""
    end_user: str = ""

    @property
    def consumer_id(self) -> int:
        """The identity, from what the gateway says."""
        return hash64("consumer", self.gateway, self.team, self.key_alias, self.end_user)

    @property
    def identified(self) -> bool:
        """Say whether the gateway knows who it is."""
        return bool(self.team or self.key_alias or self.end_user)

    @property
    def name(self) -> str:
        """What people read: team and key alias, or that there is no identity."""
        parts = [part for part in (self.team, self.key_alias, self.end_user) if part]
        return "/".join(dict.fromkeys(parts)) or NO_IDENTITY


# What a line is called whose tokens have no identity.
NO_IDENTITY = "no identity"


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class GatewayRoute:
    """Where tokens went, as the gateway reports it; '' is what it does not tell.

    ``model`` is the name that was asked for, ``target_model`` what the gateway made of it;
    ``backend`` is the workload or Kubernetes service in ``backend_namespace`` of ``cluster``.
    """

    model: str = ""
    target_model: str = ""
    cluster: str = ""
    backend_namespace: str = ""
    backend: str = ""

    @property
    def route_id(self) -> int:
        """The identity, from what the gateway says."""
        return hash64("route", *(getattr(self, name) for name in ROUTE_FIELDS))


@dataclass(frozen=True, slots=True, kw_only=True)
class ConsumerFacts:
    """Frames of `CONSUMER_USAGE` and `NOTES`, and the consumers and routes named by identity."""

    usage: pd.DataFrame
    consumers: tuple[GatewayConsumer, ...]
    routes: tuple[GatewayRoute, ...]
    notes: pd.DataFrame


def known_identity(text: str) -> str:
    """Return an identity as a gateway publishes it, '' where it stands for nobody.

    The database keeps no NUL.
    """
    stripped = text.replace("\0", "").strip()
    return "" if stripped.lower() in _NOBODY else stripped


def consume(
    window: Window, counters: SampleSet, births: SampleSet, *, scrape_ms: int, lookback_ms: int
) -> ConsumerFacts:
    """Return what each consumer sent in ``window``: the growth of the gateways' counters.

    ``counters`` have `GATEWAY_LABELS`, the quantity is a `GatewayQuantity`; see
    `growth.increments` for births. A consumer and route that nothing grew for has no row.
    """
    found = increments(window, counters, births, scrape_ms, lookback_ms)
    found = without_false_gaps(found, [counters], scrape_ms)
    count = len(found.labels)
    series = found.labels.assign(
        grown=by_series(found.grown, found.series, count),
        uncounted=by_series(found.uncounted, found.series, count),
        carried=by_series(found.carried.astype(np.int64), found.series, count) > 0,
    )
    consumers, consumer_ids = _consumers(series)
    routes, route_ids = _routes(series)
    series = series.assign(consumer_id=consumer_ids, route_id=route_ids)
    usage = _pivoted(window, series)
    sent, taken = set(usage["consumer_id"].tolist()), set(usage["route_id"].tolist())
    return ConsumerFacts(
        usage=CONSUMER_USAGE.validate(usage),
        consumers=tuple(one for one, number in consumers.items() if number in sent),
        routes=tuple(one for one, number in routes.items() if number in taken),
        notes=notes_frame(_notes(series)),
    )


def no_consumers() -> ConsumerFacts:
    """Return the facts of a window in which no gateway said anything."""
    return ConsumerFacts(
        usage=frames.empty(CONSUMER_USAGE),
        consumers=(),
        routes=(),
        notes=frames.empty(frames.NOTES),
    )


def _consumers(series: pd.DataFrame) -> tuple[dict[GatewayConsumer, int], list[int]]:
    """Return the consumers in order, with their identities, and the identity of each row."""
    columns = [series[name].tolist() for name in ("gateway", *CONSUMER_FIELDS)]
    rows = [
        GatewayConsumer(gateway=gateway, team=team, key_alias=alias, end_user=user)
        for gateway, team, alias, user in zip(*columns, strict=True)
    ]
    ids = {row: row.consumer_id for row in sorted(set(rows))}
    return ids, [ids[row] for row in rows]


def _routes(series: pd.DataFrame) -> tuple[dict[GatewayRoute, int], list[int]]:
    """Return the routes in order, with their identities, and the identity of each row."""
    columns = [series[name].tolist() for name in ROUTE_FIELDS]
    rows = [
        GatewayRoute(
            model=model, target_model=target, cluster=cluster, backend_namespace=space, backend=end
        )
        for model, target, cluster, space, end in zip(*columns, strict=True)
    ]
    ids = {row: row.route_id for row in sorted(set(rows))}
    return ids, [ids[row] for row in rows]


def _pivoted(window: Window, series: pd.DataFrame) -> pd.DataFrame:
    """Sum growth by consumer and route, one column a quantity; rows without any growth go."""
    key = ["consumer_id", "route_id"]
    summed = series.groupby([*key, "quantity"])["grown"].sum()
    rows = series.groupby(key, sort=True).agg({"carried": "any", "grown": "sum"}).reset_index()
    rows = rows.loc[rows["grown"] > 0].reset_index(drop=True)
    columns: dict[str, object] = {
        "window_start_ms": np.full(len(rows), window.start_ms, dtype=np.int64),
        "consumer_id": rows["consumer_id"].astype("int64"),
        "route_id": rows["route_id"].astype("int64"),
    }
    for quantity in GatewayQuantity:
        cell = rows[key].assign(quantity=quantity.value)
        at = summed.index.get_indexer(pd.MultiIndex.from_frame(cell))
        amount = np.append(summed.to_numpy(dtype=np.int64), 0)[at]
        columns[quantity.value] = pd.arrays.IntegerArray(np.where(at < 0, 0, amount), at < 0)
    columns["carried"] = rows["carried"].astype(bool)
    return pd.DataFrame(columns)


def _notes(series: pd.DataFrame) -> list[Note]:
    """Return notes on first values that are no growth, and on growth that crossed a gap."""
    notes = []
    for kind, column, marked, detail in (
        (
            "gateway_first_value",
            "uncounted",
            series["uncounted"] > 0,
            "Counters' first values may be older than the window; they are not counted.",
        ),
        (
            "gateway_carried",
            "grown",
            series["carried"],
            "Counters grew while they were not scraped for more than 2 scrapes.",
        ),
    ):
        rows = series.loc[marked]
        subject = rows["gateway"] + " " + rows["quantity"]
        amounts = rows[column].groupby(subject).sum()
        notes += [Note(kind, str(who), int(much), detail) for who, much in amounts.items()]
    return notes
