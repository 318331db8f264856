"""Holes in what the ledger knows, as named rows: what, whose, how much, and what to do."""

from collections.abc import Iterable
from dataclasses import dataclass

import pandas as pd
import pandera.pandas as pa

from app.findings.advice import ADVICE, About, Advice, Weight, advice_of
from app.findings.coverage import CoverageRow, Measure
from app.units.window import HOUR_MS

# Fewer samples than this share of the expected ones are a hole: one in twenty goes missing where a
# target restarts.
_ENOUGH_SAMPLES = 0.95
# Families of what lasts: devices, and kube-state-metrics as a whole. Counters of pods that come and
# go have fewer samples than their series could have had, and lose nothing.
_LASTING = frozenset({"activity", "window_end", "node_created", "pod_requests"})

# What is less than one part in so many of the time is in the shares and no line of its own.
_WORTH_A_LINE = 1000

# Notes of a span by cluster, kind and subject: how much they sum up to, in how many hours, and one
# of their details. `others` subjects of the kind are not listed and in no quantity.
NOTE_EVIDENCE = pa.DataFrameSchema(
    {
        **dict.fromkeys(("cluster", "kind", "subject", "detail"), pa.Column("str")),
        **dict.fromkeys(("quantity", "hours", "others"), pa.Column("int64")),
    },
    strict=True,
    coerce=False,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Hours:
    """The hours of one cluster in a span: how many lack, are partial, or have no charges."""

    cluster: str
    expected: int
    missing: int
    partial: int
    unrated: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Samples:
    """Expected and seen samples of one family of a cluster in a span."""

    cluster: str
    source: str
    family: str
    expected: int
    seen: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Hole:
    """One thing that is not known, or less surely than it should be.

    ``quantity`` counts ``unit``; ``hours`` is in how many hours it was noted, 0 where it is about
    the span as a whole. ``namespace`` is '' for what is not of one.
    """

    cluster: str
    namespace: str
    kind: str
    subject: str
    quantity: int
    hours: int
    detail: str

    @property
    def advice(self) -> Advice:
        """What the kind means, and what to do."""
        return advice_of(self.kind)


def holes_of(
    notes: pd.DataFrame,
    rows: Iterable[CoverageRow],
    hours: Iterable[Hours],
    samples: Iterable[Samples],
    in_part_ms: Iterable[tuple[str, str, str, int]] = (),
) -> tuple[Hole, ...]:
    """Return all holes, the worst kind first, then by cluster, namespace and subject.

    ``notes`` is `NOTE_EVIDENCE`; ``in_part_ms`` is GPU time with tokens in one direction only, by
    cluster, namespace and service.
    """
    NOTE_EVIDENCE.validate(notes)
    found = [
        *_of_notes(notes),
        *(hole for one in hours for hole in _of_hours(one)),
        *(hole for row in rows for hole in _of_row(row)),
        *(_of_samples(one) for one in samples if _is_short(one)),
        *(
            _hole(cluster, namespace, "tokens_in_part", service, ms, _IN_PART)
            for cluster, namespace, service, ms in in_part_ms
            if ms
        ),
    ]
    order = {weight: place for place, weight in enumerate(Weight)}
    return tuple(
        sorted(
            found,
            key=lambda one: (
                order[one.advice.weight],
                one.cluster,
                one.kind,
                one.namespace,
                one.subject,
            ),
        )
    )


_IN_PART = "Tokens of one direction only are known: prompt or generation."


def _of_notes(notes: pd.DataFrame) -> Iterable[Hole]:
    for record in notes.to_dict("records"):
        kind, subject = str(record["kind"]), str(record["subject"])
        if kind in _OWN_KINDS:
            continue
        others = int(record["others"])
        more = f" And {others} more like it." if others else ""
        yield Hole(
            cluster=record["cluster"],
            namespace=_namespace(kind, subject),
            kind=kind,
            subject=subject,
            quantity=int(record["quantity"]),
            hours=int(record["hours"]),
            detail=f"{record['detail']}{more}",
        )


def _namespace(kind: str, subject: str) -> str:
    match advice_of(kind).about:
        case About.NAMESPACE:
            return subject
        case About.POD:
            return subject.partition("/")[0] if "/" in subject else ""
        case About.CLUSTER:
            return ""


# Kinds that are found in figures; a note of the same name would say it twice.
_OWN_KINDS = frozenset(
    {
        *("missing_hours", "partial_hours", "unrated_hours", "unmeasured", "unobserved"),
        *("tokens_unknown", "tokens_in_part", "latency_unknown", "cold_start_unknown"),
        "lost_samples",
    }
)
assert ADVICE.keys() >= _OWN_KINDS


def _of_hours(hours: Hours) -> Iterable[Hole]:
    for kind, count, what in (
        ("missing_hours", hours.missing, "were never collected"),
        ("partial_hours", hours.partial, "were answered in part by a source"),
        ("unrated_hours", hours.unrated, "have no charges"),
    ):
        if count:
            detail = f"{count} of {hours.expected} hours {what}."
            yield _hole(hours.cluster, "", kind, hours.cluster, count, detail)


def _is_short(samples: Samples) -> bool:
    return samples.family in _LASTING and samples.seen < _ENOUGH_SAMPLES * samples.expected


def _of_samples(samples: Samples) -> Hole:
    lost = samples.expected - samples.seen
    detail = f"{samples.seen} of {samples.expected} expected samples came ({samples.source})."
    return _hole(samples.cluster, "", "lost_samples", samples.family, lost, detail)


def _of_row(row: CoverageRow) -> Iterable[Hole]:
    """Return what a row does not know, beside owners and prices: those are notes of the rating."""
    share = row.shares[Measure.GPU_UTILIZATION]
    nobody = not row.namespace and not row.service
    subject = row.service or row.namespace or row.cluster
    for kind, of, what in (
        (
            "unobserved" if nobody else "unmeasured",
            share,
            "that nobody knows who held" if nobody else "held without a sample",
        ),
        *((kind, row.shares[measure], what) for kind, measure, what in _SERVED),
    ):
        unknown = of.ms - of.measured_ms
        if unknown * _WORTH_A_LINE > of.ms:
            detail = f"{unknown / HOUR_MS:,.1f} GPU-hours {what}."
            yield _hole(row.cluster, row.namespace, kind, subject, unknown, detail)


_SERVED = (
    ("tokens_unknown", Measure.TOKEN_THROUGHPUT, "of the service without token counters"),
    ("latency_unknown", Measure.LATENCY, "of the service with requests and no latency"),
    ("cold_start_unknown", Measure.COLD_START, "of the service in pods of unknown start"),
)


def _hole(
    cluster: str, namespace: str, kind: str, subject: str, quantity: int, detail: str
) -> Hole:
    return Hole(
        cluster=cluster,
        namespace=namespace,
        kind=kind,
        subject=subject,
        quantity=quantity,
        hours=0,
        detail=detail,
    )
