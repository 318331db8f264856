"""What is measured, for what share of GPU time and of money: the figures behind every other one.

A share is kept as exact integers, milliseconds and nanos, and becomes a ratio only where somebody
reads it. What is not known never counts as measured, and money that nobody knows is in no share.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from fractions import Fraction

import pandas as pd
import pandera.pandas as pa

from app.attribution.contract import UNOWNED


class Measure(StrEnum):
    """What the ledger wants to know of GPU time, in the order of the reports."""

    GPU_UTILIZATION = "gpu_utilization"
    TOKEN_THROUGHPUT = "token_throughput"  # noqa: S105 - no secret, a count of tokens
    LATENCY = "latency"
    COLD_START = "cold_start"
    OWNERSHIP = "ownership"
    PRICE = "price"


_KINDS = ("used", "idle", "unmeasured", "unallocated", "stranded", "unobserved")
_HELD = ("used", "idle", "unmeasured")

_INT = pa.Column("int64")
_TEXT = pa.Column("str")

# GPU time and the money that was charged for it, by who held it and whose it is. `unpriced_ms` has
# no price; all of a row with `rated` false has neither price nor owner, as its hours are not rated.
TIME_EVIDENCE = pa.DataFrameSchema(
    {
        **dict.fromkeys(("cluster", "namespace", "team"), _TEXT),
        "rated": pa.Column("bool"),
        **dict.fromkeys((f"{kind}_ms" for kind in _KINDS), _INT),
        "unpriced_ms": _INT,
        **dict.fromkeys((f"{kind}_nanos" for kind in _KINDS), _INT),
    },
    strict=True,
    coerce=False,
)

# What each service held, and for how much of it its tokens, latencies and cold starts are known.
# These rows are a part of `TIME_EVIDENCE`. `quiet_*` is the time of hours in which it served no
# request, so that there was no latency; `in_part_ms` that of hours with tokens in one direction.
SERVICE_EVIDENCE = pa.DataFrameSchema(
    {
        **dict.fromkeys(("cluster", "namespace", "service"), _TEXT),
        **dict.fromkeys(
            (
                *(f"{kind}_ms" for kind in _HELD),
                *(f"{kind}_nanos" for kind in _HELD),
                "unpriced_ms",
                "unrated_ms",
                "unowned_ms",
                "unowned_nanos",
                "tokens_ms",
                "tokens_nanos",
                "in_part_ms",
                "latency_ms",
                "latency_nanos",
                "quiet_ms",
                "quiet_nanos",
                "starts_ms",
                "starts_nanos",
            ),
            _INT,
        ),
    },
    strict=True,
    coerce=False,
)


@dataclass(frozen=True, slots=True)
class Share:
    """A part of GPU time and of its money, of which some is measured.

    ``nanos`` is the money that is known; ``complete`` says that it is all of it.
    """

    ms: int = 0
    measured_ms: int = 0
    nanos: int = 0
    measured_nanos: int = 0
    complete: bool = True

    def __post_init__(self) -> None:
        assert 0 <= self.measured_ms <= self.ms, self

    def __add__(self, other: "Share") -> "Share":
        return Share(
            self.ms + other.ms,
            self.measured_ms + other.measured_ms,
            self.nanos + other.nanos,
            self.measured_nanos + other.measured_nanos,
            self.complete and other.complete,
        )

    @property
    def time_ratio(self) -> Fraction | None:
        """The measured share of the time, 0–1; None where there is nothing to measure."""
        return Fraction(self.measured_ms, self.ms) if self.ms else None


@dataclass(frozen=True, slots=True, kw_only=True)
class CoverageRow:
    """What is measured of one service, or of what a namespace held beside its services.

    ``service`` is '' there, and ``namespace`` too for what nobody held. ``ms`` and ``nanos`` are
    all of the row's time and known money; ``unpriced_ms`` is the time whose money is not known.
    """

    cluster: str
    namespace: str
    service: str
    ms: int
    nanos: int
    unpriced_ms: int
    shares: Mapping[Measure, Share]

    def cost_ratio(self, measure: Measure) -> Fraction | None:
        """Return the measured share of the known money; None where it cannot be told.

        What has no price has a cost that nobody knows: then its share of the money is unknown.
        """
        share = self.shares[measure]
        if measure is Measure.PRICE and not share.complete:
            return None
        return Fraction(share.measured_nanos, share.nanos) if share.nanos else None


@dataclass(slots=True)
class _Sums:
    """One group while it is added up: plain figures by name, exact whatever their size."""

    figures: dict[str, int] = field(default_factory=dict)

    def add(self, name: str, amount: int) -> None:
        self.figures[name] = self.figures.get(name, 0) + amount

    def __getitem__(self, name: str) -> int:
        return self.figures.get(name, 0)

    def of(self, kinds: Sequence[str], unit: str) -> int:
        return sum(self[f"{kind}_{unit}"] for kind in kinds)


_Key = tuple[str, str, str]


def coverage_rows(time: pd.DataFrame, services: pd.DataFrame) -> tuple[CoverageRow, ...]:
    """Return what is measured, one row a service and one for the rest of each namespace.

    ``time`` is `TIME_EVIDENCE`, ``services`` `SERVICE_EVIDENCE`. Services are taken out of their
    namespace's sums, so that the rows add up to the whole.
    """
    TIME_EVIDENCE.validate(time)
    SERVICE_EVIDENCE.validate(services)
    groups = _rests(time)
    for record in services.to_dict("records"):
        key = (record["cluster"], record["namespace"], record["service"])
        sums = groups.setdefault(key, _Sums())
        rest = groups.setdefault((key[0], key[1], ""), _Sums())
        for name in SERVICE_EVIDENCE.columns:
            if name not in ("cluster", "namespace", "service"):
                amount = int(record[name])
                sums.add(name, amount)
                if name in _TAKEN:
                    rest.add(name, -amount)
    return tuple(
        _row(key, sums) for key, sums in sorted(groups.items()) if any(sums.figures.values())
    )


_TAKEN = frozenset(
    {
        *(f"{kind}_{unit}" for kind in _HELD for unit in ("ms", "nanos")),
        *("unpriced_ms", "unrated_ms", "unowned_ms", "unowned_nanos"),
    }
)


def _rests(time: pd.DataFrame) -> dict[_Key, _Sums]:
    groups: dict[_Key, _Sums] = {}
    for record in time.to_dict("records"):
        sums = groups.setdefault((record["cluster"], record["namespace"], ""), _Sums())
        for kind in _KINDS:
            ms, nanos = int(record[f"{kind}_ms"]), int(record[f"{kind}_nanos"])
            sums.add(f"{kind}_ms", ms)
            sums.add(f"{kind}_nanos", nanos)
            if not record["rated"]:
                sums.add("unrated_ms", ms)
            # Whose unobserved time is nobody knows, whoever pays for it.
            elif kind == "unobserved" or record["team"] == UNOWNED:
                sums.add("unowned_ms", ms)
                sums.add("unowned_nanos", nanos)
        sums.add("unpriced_ms", int(record["unpriced_ms"]) if record["rated"] else 0)
    return groups


def _row(key: _Key, sums: _Sums) -> CoverageRow:
    ms, nanos = sums.of(_KINDS, "ms"), sums.of(_KINDS, "nanos")
    no_price = sums["unpriced_ms"] + sums["unrated_ms"]
    shares = {
        Measure.GPU_UTILIZATION: Share(
            # Of unobserved time nobody knows what it was used for; it counts as not measured.
            sums.of((*_HELD, "unobserved"), "ms"),
            sums.of(("used", "idle"), "ms"),
            sums.of((*_HELD, "unobserved"), "nanos"),
            sums.of(("used", "idle"), "nanos"),
            complete=not no_price,
        ),
        **_served(sums, is_service=bool(key[2]), complete=not no_price),
        Measure.OWNERSHIP: Share(
            ms,
            ms - sums["unowned_ms"] - sums["unrated_ms"],
            nanos,
            nanos - sums["unowned_nanos"],
            complete=not no_price,
        ),
        Measure.PRICE: Share(ms, ms - no_price, nanos, nanos, complete=not no_price),
    }
    return CoverageRow(
        cluster=key[0],
        namespace=key[1],
        service=key[2],
        ms=ms,
        nanos=nanos,
        unpriced_ms=no_price,
        shares=shares,
    )


def _served(sums: _Sums, *, is_service: bool, complete: bool) -> dict[Measure, Share]:
    """Return the shares of what only services have; empty ones for what is none."""
    if not is_service:
        return {
            measure: Share()
            for measure in (Measure.TOKEN_THROUGHPUT, Measure.LATENCY, Measure.COLD_START)
        }
    ms, nanos = sums.of(_HELD, "ms"), sums.of(_HELD, "nanos")
    return {
        Measure.TOKEN_THROUGHPUT: Share(
            ms, sums["tokens_ms"], nanos, sums["tokens_nanos"], complete
        ),
        Measure.LATENCY: Share(
            ms - sums["quiet_ms"],
            sums["latency_ms"],
            nanos - sums["quiet_nanos"],
            sums["latency_nanos"],
            complete,
        ),
        Measure.COLD_START: Share(ms, sums["starts_ms"], nanos, sums["starts_nanos"], complete),
    }


COVERAGE_GROUPS = ("cluster", "namespace", "service")


def grouped(rows: Iterable[CoverageRow], group_by: Sequence[str]) -> tuple[CoverageRow, ...]:
    """Return the rows added up by some of `COVERAGE_GROUPS`; the other columns become ''."""
    found: dict[_Key, CoverageRow] = {}
    for row in rows:
        cluster, namespace, service = (
            getattr(row, name) if name in group_by else "" for name in COVERAGE_GROUPS
        )
        key = (cluster, namespace, service)
        known = found.get(key)
        found[key] = CoverageRow(
            cluster=cluster,
            namespace=namespace,
            service=service,
            ms=row.ms + (known.ms if known else 0),
            nanos=row.nanos + (known.nanos if known else 0),
            unpriced_ms=row.unpriced_ms + (known.unpriced_ms if known else 0),
            shares={
                measure: row.shares[measure] + (known.shares[measure] if known else Share())
                for measure in Measure
            },
        )
    return tuple(found[key] for key in sorted(found))
