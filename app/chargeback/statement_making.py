"""Makes statements: lines summed and rounded once, as canonical JSON and as CSV."""

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal

import pandas as pd

from app.chargeback.rounding import currency_decimals, round_half_even, round_to_sum
from app.chargeback.statements import (
    ADJUSTMENTS,
    LINE_GROUPS,
    LINES,
    PeriodHeader,
    PriceText,
    Statement,
    TeamHeader,
    instant_text,
    minor_amount,
    statement_number,
)
from app.chargeback.tables import Cell, Table, amount, csv_bytes, plain, seconds
from app.units.identity import id_text

FORMAT = "gpuledger-statement/1"
PRICE_COVERS = (
    "A price is that of whole nodes: CPU, memory, disk and network of a node are carried by its"
    " GPUs."
)
_FIGURES = ("gpu_ms", "unpriced_ms", "cost_nanos")
CSV_COLUMNS = (
    "record",
    "number",
    "version",
    "period",
    "team",
    "cost_center",
    "cluster",
    "namespace",
    "workload",
    "gpu_model",
    "kind",
    "price_id",
    "usage_day",
    "reason",
    "author",
    "gpu_seconds",
    "cost",
    "amount",
    "currency",
)


def make_statements(
    header: PeriodHeader,
    lines: pd.DataFrame,
    adjustments: pd.DataFrame,
    *,
    teams: Mapping[str, TeamHeader],
    prices: Mapping[int, PriceText],
    told_before: Collection[str] = (),
) -> tuple[Statement, ...]:
    """Return one statement a team that has lines (`LINES`) or adjustments (`ADJUSTMENTS`).

    Teams that were ``told_before``, by an earlier version, have one in any case: else that version
    would stay their last word.

    The exact totals sum to all money of both frames. The period's total is rounded once, half-even,
    to minor units; the statements' totals are rounded to add up to it, and the amounts of each
    statement's lines and adjustments to add up to that, each by largest remainder. Equal input
    gives equal bytes, in whatever order the rows come.
    """
    LINES.validate(lines)
    ADJUSTMENTS.validate(adjustments)
    by_team = {
        **{str(name): [rows, None] for name, rows in lines.groupby("team", sort=False)},
    }
    for name, rows in adjustments.groupby("team", sort=False):
        by_team.setdefault(str(name), [None, None])[1] = rows
    for name in told_before:
        by_team.setdefault(name, [None, None])
    parts = [
        _Part(
            name,
            _ordered(lines.iloc[:0] if own is None else own, (*LINE_GROUPS, "price_id")),
            _ordered(
                adjustments.iloc[:0] if posted is None else posted,
                ("usage_day", "type", "reason", "author", *LINE_GROUPS, "run_id"),
            ),
        )
        for name, (own, posted) in sorted(by_team.items())
    ]
    step = 10 ** (9 - currency_decimals(header.currency))
    totals = [sum(part.nanos()) for part in parts]
    rounded = round_to_sum(totals, step, round_half_even(sum(totals), step)) if totals else []
    return tuple(
        _statement(header, part, total, teams.get(part.team, TeamHeader()), prices)
        for part, total in zip(parts, rounded, strict=True)
    )


@dataclass(frozen=True, slots=True)
class _Part:
    team: str
    lines: pd.DataFrame
    adjustments: pd.DataFrame

    def nanos(self) -> list[int]:
        return [*self.lines["cost_nanos"].tolist(), *self.adjustments["cost_nanos"].tolist()]


def _ordered(rows: pd.DataFrame, names: Sequence[str]) -> pd.DataFrame:
    keys = list(zip(*(rows[name].tolist() for name in (*names, *_FIGURES)), strict=True))
    return rows.iloc[sorted(range(len(keys)), key=keys.__getitem__)]


def _statement(
    header: PeriodHeader,
    part: _Part,
    total_minor: int,
    team: TeamHeader,
    prices: Mapping[int, PriceText],
) -> Statement:
    decimals = currency_decimals(header.currency)
    step = 10 ** (9 - decimals)
    nanos = part.nanos()
    amounts = [
        f"{Decimal(count).scaleb(-decimals):f}" for count in round_to_sum(nanos, step, total_minor)
    ]
    number = statement_number(header.period, part.team)
    used = sorted({int(one) for one in part.lines["price_id"].unique()} & prices.keys())
    content = {
        **_head_object(header),
        "number": number,
        "team": part.team,
        "cost_center": team.cost_center,
        "department": team.department,
        "prices": {id_text(one): _price_object(prices[one]) for one in used},
        "lines": _line_objects(part.lines, amounts[: len(part.lines)]),
        "adjustments": _adjustment_objects(part.adjustments, amounts[len(part.lines) :]),
        "exact_total": plain(amount(sum(nanos))),
        "rounding": plain(amount(total_minor * step - sum(nanos))),
        "total": f"{minor_amount(total_minor, header.currency):f}",
    }
    return Statement(
        number=number,
        version=header.version,
        period=header.period,
        team=part.team,
        closed_ms=header.closed_ms,
        currency=header.currency,
        total_nanos=sum(nanos),
        total_minor=total_minor,
        body=canonical(content),
        csv=_csv(header, number, part.team, content),
    )


def _head_object(header: PeriodHeader) -> dict[str, object]:
    """Return what all statements of a closing have in common."""
    pinned = header.pinned
    return {
        "format": FORMAT,
        "version": header.version,
        "period": {
            "name": header.period,
            "start": instant_text(header.start_ms),
            "end": instant_text(header.end_ms),
            "zone": header.zone,
        },
        "closed_at": instant_text(header.closed_ms),
        "closed_by": header.author,
        "currency": header.currency,
        "basis": "posted",
        "price_covers": PRICE_COVERS,
        "pinned": {
            "price_version": pinned.prices,
            "contract_version": pinned.contract,
            "rating_version": pinned.rating,
            "windows": pinned.windows,
            "windows_sha256": pinned.windows_sha256,
            "settings": dict(pinned.settings),
        },
        "accepted": [one.texts() for one in header.accepted],
    }


def canonical(content: Mapping[str, object]) -> bytes:
    """Return the canonical bytes: JSON of UTF-8 with sorted keys and nothing between its parts.

    Money and seconds are text in plain decimals, counts integers; there is no float.
    """
    return json.dumps(
        content, sort_keys=True, ensure_ascii=False, separators=(",", ":"), allow_nan=False
    ).encode()


def _line_objects(lines: pd.DataFrame, amounts: Sequence[str]) -> list[dict[str, str | None]]:
    names = (*LINE_GROUPS[1:], "price_id", "gpu_ms", "unpriced_ms", "cost_nanos")
    return [
        {
            "cost_center": center,
            "cluster": cluster,
            "namespace": namespace,
            "workload": workload,
            "gpu_model": model,
            "kind": kind,
            "price_id": id_text(price) if price else "",
            **_figures(gpu_ms, unpriced_ms, nanos, shown),
        }
        for (
            center,
            cluster,
            namespace,
            workload,
            model,
            kind,
            price,
            gpu_ms,
            unpriced_ms,
            nanos,
        ), shown in zip(
            zip(*(lines[name].tolist() for name in names), strict=True), amounts, strict=True
        )
    ]


def _adjustment_objects(
    adjustments: pd.DataFrame, amounts: Sequence[str]
) -> list[dict[str, str | None]]:
    texts = (*LINE_GROUPS[1:], "usage_day", "type", "reason", "author")
    figures = ("run_id", "gpu_ms", "unpriced_ms", "cost_nanos")
    return [
        {
            **dict(zip(texts, words, strict=True)),
            "run_id": id_text(run),
            **_figures(gpu_ms, unpriced_ms, nanos, shown),
        }
        for words, (run, gpu_ms, unpriced_ms, nanos), shown in zip(
            zip(*(adjustments[name].tolist() for name in texts), strict=True),
            zip(*(adjustments[name].tolist() for name in figures), strict=True),
            amounts,
            strict=True,
        )
    ]


def _figures(gpu_ms: int, unpriced_ms: int, nanos: int, shown: str) -> dict[str, str | None]:
    unpriced = bool(unpriced_ms) and unpriced_ms == gpu_ms and not nanos
    return {
        "gpu_seconds": plain(seconds(gpu_ms)),
        "gpu_seconds_unpriced": plain(seconds(unpriced_ms)),
        "cost": None if unpriced else plain(amount(nanos)),
        "amount": None if unpriced else shown,
    }


def _price_object(price: PriceText) -> dict[str, str]:
    return {
        "unit": price.unit,
        "price": _short(price.price),
        "currency": price.currency,
        "effective_price": _short(price.effective),
        "source": price.source,
    }


def _short(price: Decimal) -> str:
    return plain(price.normalize()) if price else "0"


def _csv(header: PeriodHeader, number: str, team: str, content: Mapping[str, object]) -> bytes:
    """Return the statement as CSV: lines, adjustments, the rounding, and the total."""
    common: dict[str, Cell] = {
        "number": number,
        "version": header.version,
        "period": header.period,
        "team": team,
        "currency": header.currency,
    }
    rows: list[dict[str, Cell]] = []
    for record, name in (("charge", "lines"), ("adjustment", "adjustments")):
        parts = content[name]
        assert isinstance(parts, list)
        rows += [{"record": record, **common, **_numbers(one)} for one in parts]
    rounding, exact, total = (
        Decimal(str(content[name])) for name in ("rounding", "exact_total", "total")
    )
    rows.append({"record": "rounding", **common, "cost": rounding})
    rows.append({"record": "total", **common, "cost": exact + rounding, "amount": total})
    return csv_bytes(
        Table(CSV_COLUMNS, tuple(tuple(row.get(name) for name in CSV_COLUMNS) for row in rows))
    )


def _numbers(line: Mapping[str, str | None]) -> dict[str, Cell]:
    # Decimals, so that a negative amount is not taken for a formula.
    return {
        name: Decimal(value)
        if value is not None and name in {"gpu_seconds", "cost", "amount"}
        else value
        for name, value in line.items()
    }
