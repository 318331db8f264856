"""Departments and cost centers of teams by date: those of the contract that counts for the day."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta, tzinfo
from typing import Any

import numpy as np
import pandas as pd
from sqlalchemy import Connection, Row, and_, func, insert, select

from app.attribution.affiliations import affiliations
from app.attribution.contract import Affiliation, Contract
from app.attribution.days import day_starts
from app.store.copying import Parameter
from app.store.dimensions import Coded
from app.store.tables.ledger import BILLING_PERIODS, CONTRACTS
from app.store.tables.ownership import TEAM_AFFILIATIONS
from app.store.tables.periods import PERIOD_VERSIONS
from app.units.window import HOUR_MS, from_ms
from app.usage.identity import team_id

# Affiliations by team; whoever is not there belongs nowhere.
Owners = Mapping[int, Affiliation]

# Columns of costs that a team's affiliation gives.
OWNED = ("cost_center", "department")
_EPOCH_DAY = date(1970, 1, 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Stretch:
    """Billing days ``[first, until)``, counted from 1970-01-01, in which no team moves."""

    first: int
    until: int
    owners: Owners


@dataclass(frozen=True, slots=True)
class _Pinned:
    start_ms: int
    end_ms: int
    version: int


class OwnershipStore:
    """The affiliations by every contract version; days are those of the billing zone.

    A day of a closed period has those of the contract that its closing pinned, every other day
    those of the contract in force.
    """

    def __init__(self, connection: Connection, billing_zone: tzinfo) -> None:
        self._connection = connection
        self._zone = billing_zone

    def put(self, version: int, contract: Contract) -> None:
        """Store the affiliations of a contract, for all time; they are never changed."""
        rows = [
            {
                "contract_version": version,
                "team_id": team_id(one.team),
                "valid_from": one.from_ms,
                "valid_to": one.to_ms,
                "department": one.where.department,
                "cost_center": one.where.cost_center,
            }
            for one in affiliations(contract)
        ]
        if rows:
            self._connection.execute(insert(TEAM_AFFILIATIONS), rows)

    def owners(self, at_ms: int, contract_version: int | None = None) -> Owners:
        """Return where every team stands at an instant, by a version or by the one that counts."""
        version = contract_version
        if version is None:
            version = self._version_at(at_ms, self._pinned(at_ms, at_ms + 1), self._latest())
        return _at(self._rows({version}), version, at_ms)

    def stretches(self, start_ms: int, end_ms: int) -> tuple[Stretch, ...]:
        """Return the billing days that meet ``[start_ms, end_ms)``, cut where any team moves.

        What counts at a day's beginning counts for the day.
        """
        first, last = self._day_of(start_ms), self._day_of(max(end_ms - 1, start_ms))
        pinned, latest = self._pinned(start_ms, end_ms), self._latest()
        rows = self._rows({latest, *(one.version for one in pinned)})
        instants = {at for one in pinned for at in (one.start_ms, one.end_ms)}
        for row in rows:
            instants |= {row.valid_from, row.valid_to}
        days = {self._first_from(at) for at in instants if start_ms <= at < end_ms}
        borders = sorted({first, *(day for day in days if first < day <= last)})
        found: list[Stretch] = []
        for day, until in zip(borders, [*borders[1:], last + 1], strict=True):
            at_ms = self._start_of(day)
            owners = _at(rows, self._version_at(at_ms, pinned, latest), at_ms)
            begins = day
            if found and found[-1].owners == owners:
                begins = found.pop().first
            found.append(Stretch(first=begins, until=until, owners=owners))
        return tuple(found)

    def _latest(self) -> int:
        return self._connection.scalar(select(func.max(CONTRACTS.c.version))) or 0

    def _pinned(self, start_ms: int, end_ms: int) -> list[_Pinned]:
        """Return the closed periods that meet a span, with the contracts that they pinned."""
        period, closing = BILLING_PERIODS.c, PERIOD_VERSIONS.c
        same = and_(closing.period == period.name, closing.version == period.version)
        rows = self._connection.execute(
            select(period.started_at, period.until, closing.contract_version)
            .join_from(BILLING_PERIODS, PERIOD_VERSIONS, same)
            .where(period.closed_at.is_not(None))
            .where(period.started_at < end_ms, period.until > start_ms)
        )
        return [_Pinned(*row) for row in rows]

    def _version_at(self, at_ms: int, pinned: Sequence[_Pinned], latest: int) -> int:
        return next((one.version for one in pinned if one.start_ms <= at_ms < one.end_ms), latest)

    def _rows(self, versions: set[int]) -> Sequence[Row[Any]]:
        table = TEAM_AFFILIATIONS
        return self._connection.execute(
            select(table)
            .where(table.c.contract_version.in_(sorted(versions)))
            .order_by(table.c.contract_version, table.c.team_id, table.c.valid_from)
        ).all()

    def _day_of(self, at_ms: int) -> int:
        return (from_ms(at_ms).astimezone(self._zone).date() - _EPOCH_DAY).days

    def _first_from(self, at_ms: int) -> int:
        """Return the first day that does not begin before an instant."""
        day = self._day_of(at_ms)
        return day if self._start_of(day) >= at_ms else day + 1

    def _start_of(self, day: int) -> int:
        noon_ms = day * 24 * HOUR_MS
        name = _EPOCH_DAY + timedelta(days=day)
        # Zones are less than a day away from UTC, so the day begins in this span.
        return next(
            start
            for start in day_starts(self._zone, noon_ms - 26 * HOUR_MS, noon_ms + 26 * HOUR_MS)
            if from_ms(start).astimezone(self._zone).date() >= name
        )


class OwnedColumns:
    """Departments and cost centers as columns and filters of sums over charges."""

    def __init__(self, stretches: Sequence[Stretch]) -> None:
        self._stretches = stretches

    @property
    def identities(self) -> tuple[str, ...]:
        """What such a column is made from: the day matters only where a team moves."""
        return ("team_id", "day") if len(self._stretches) > 1 else ("team_id",)

    def of(self, name: str, rows: pd.DataFrame) -> Coded:
        """Return the column of that name for rows with the identities it is made from."""
        team = rows["team_id"].to_numpy()
        place = np.zeros(len(team), dtype=np.int64)
        if len(self._stretches) > 1:
            firsts = np.array([one.first for one in self._stretches], dtype=np.int64)
            place = np.maximum(np.searchsorted(firsts, rows["day"], side="right") - 1, 0)
        teams, index = np.unique(team, return_inverse=True)
        texts = [
            [_text(one.owners, int(identity), name) for identity in teams]
            for one in self._stretches
        ]
        ordered = sorted({text for row in texts for text in row})
        rank = {text: number for number, text in enumerate(ordered)}
        codes = np.array([[rank[text] for text in row] for row in texts], dtype=np.int64)
        found = codes[place, index] if len(teams) else place
        return Coded(found.astype(np.int64), tuple(ordered))

    def condition(
        self, name: str, values: Sequence[str], prefix: str
    ) -> tuple[str, dict[str, Parameter]]:
        """Return a condition on ``team_id`` and ``{day}``, and its parameters.

        '' is for teams that belong nowhere and for lines without a team.
        """
        parts: list[str] = []
        parameters: dict[str, Parameter] = {}
        for number, one in enumerate(self._stretches):
            key = f"{prefix}_{number}"
            texts = {team: _text(one.owners, team, name) for team in one.owners}
            parameters[key] = sorted(team for team, text in texts.items() if text in values)
            part = f"team_id = ANY(%({key})s::bigint[])"
            if "" in values:
                parameters[f"{key}_named"] = sorted(team for team, text in texts.items() if text)
                part = f"({part} OR NOT team_id = ANY(%({key}_named)s::bigint[]))"
            if len(self._stretches) > 1:
                parameters |= {f"{key}_first": _iso(one.first), f"{key}_until": _iso(one.until)}
                part = (
                    f"({part} AND {{day}} >= %({key}_first)s::date"
                    f" AND {{day}} < %({key}_until)s::date)"
                )
            parts.append(part)
        return f"({' OR '.join(parts)})", parameters


def _text(owners: Owners, team: int, name: str) -> str:
    where = owners.get(team)
    text: str = getattr(where, name) if where else ""
    return text


def _iso(day: int) -> str:
    return (_EPOCH_DAY + timedelta(days=day)).isoformat()


def _at(rows: Sequence[Row[Any]], version: int, at_ms: int) -> dict[int, Affiliation]:
    return {
        row.team_id: Affiliation(department=row.department, cost_center=row.cost_center)
        for row in rows
        if row.contract_version == version and row.valid_from <= at_ms < row.valid_to
    }
