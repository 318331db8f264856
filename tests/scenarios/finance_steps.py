"""The steps of a finance scenario: each does what the command of the same words does."""

import csv
import io
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from sqlalchemy import Engine

from app.chargeback.closing import obstacles_table, read_accept_file
from app.chargeback.tables import csv_bytes
from app.errors import GpuledgerError
from app.store.late_facts import put_facts
from app.store.price_versions import ImportKind
from app.store.windows import WindowStore
from app.units.window import HOUR_MS, Window, from_ms, hour_of
from app.workflows.adjusting import Correction, adjust_period, correct_period
from app.workflows.bill_imports import BillTerms, import_bills
from app.workflows.closing import BillingTerms, CloseOrder, close_period, preview
from app.workflows.commitments import CommitmentFile, import_commitments
from app.workflows.imports import apply_contract, import_prices
from app.workflows.periods import import_periods
from app.workflows.postings import Adjusting
from app.workflows.rating import rate_window
from app.workflows.reopening import reopen_period
from tests.scenarios.finance_facts import Fleet, Told, change_node, ms, put_pod
from tests.sources.focus_files import a_focus_row, write_focus

KINDS = {
    "import prices": ImportKind.PRICES,
    "import rate card": ImportKind.RATE_CARD,
    "import exchange rates": ImportKind.EXCHANGE_RATES,
    "import terms": ImportKind.TERMS,
    "import credits": ImportKind.CREDITS,
    "import owned hardware": ImportKind.OWNED,
}
# Each hour is rated a few times at most: one that waits for the other cluster's capacity.
_RATINGS = 3


@dataclass
class World:
    """A ledger, and the scenario that is told to it."""

    engine: Engine
    folder: Path
    fleet: Fleet
    zone: ZoneInfo
    currency: str
    today_ms: int
    bills: int = 0
    done: list[str] = field(default_factory=list)

    @property
    def adjusting(self) -> Adjusting:
        return Adjusting(engine=self.engine, billing_zone=self.zone, at_ms=self.today_ms)

    @property
    def billing_terms(self) -> BillingTerms:
        return BillingTerms(zone=self.zone, currency=self.currency, settings={})

    @property
    def window(self) -> Window:
        return Window(*(from_ms(at) for at in self.fleet.span))

    def do(self, step: Told) -> None:
        """Do a step; where it says ``refused``, it has to fail with these words."""
        word = step["do"]
        self.today_ms = ms(step["today"]) if "today" in step else self.today_ms
        action = self._actions()[word]
        if "refused" in step:
            with pytest.raises(GpuledgerError) as failure:
                action(step)
            assert step["refused"] in str(failure.value)
        else:
            action(step)
        self.done.append(word)

    def _actions(self) -> Mapping[str, Callable[[Told], None]]:
        return {
            **dict.fromkeys(KINDS, self._import),
            "import commitments": self._commitments,
            "apply contract": self._contract,
            "import periods": self._periods,
            "collect": self._collect,
            "deliver late": self._collect,
            "rate": self._rate,
            "import bill": self._bill,
            "close": self._close,
            "adjust": self._adjust,
            "correct": self._correct,
            "reopen": self._reopen,
        }

    def _import(self, step: Told) -> None:
        import_prices(
            step["file"],
            file_name=step["do"],
            currency=self.currency,
            engine=self.engine,
            billing_zone=self.zone,
            at_ms=self.today_ms,
            dry_run=False,
            kind=KINDS[step["do"]],
            reason=step.get("reason", ""),
            author=step.get("by", ""),
        )

    def _commitments(self, step: Told) -> None:
        file = CommitmentFile(
            text=step["file"],
            file_name="commitments.csv",
            currency=self.currency,
            at_ms=self.today_ms,
            reason=step.get("reason", ""),
            author=step.get("by", ""),
        )
        import_commitments(file, engine=self.engine, billing_zone=self.zone, dry_run=False)

    def _contract(self, step: Told) -> None:
        apply_contract(
            step["file"],
            file_name="teams.yaml",
            engine=self.engine,
            billing_zone=self.zone,
            at_ms=self.today_ms,
            dry_run=False,
        )

    def _periods(self, step: Told) -> None:
        import_periods(
            step["file"],
            file_name="periods.csv",
            author=step["by"],
            engine=self.engine,
            zone=self.zone,
            at_ms=self.today_ms,
        )

    def _collect(self, step: Told) -> None:
        """Deliver the facts of all hours, or of those that the step names, as they are."""
        for node in step.get("nodes", []):
            change_node(self.fleet, node)
        for pod in step.get("pods", []):
            put_pod(self.fleet, pod)
        with self.engine.begin() as connection:
            self.fleet.put_inventory(connection)
        span = tuple(ms(text) for text in step["hours"]) if "hours" in step else None
        for hour in self.fleet.hours(span):
            for cluster in self.fleet.clusters:
                with self.engine.begin() as connection:
                    found = put_facts(connection, cluster, hour, self.fleet.facts(cluster, hour))
                assert not found.rejected
                assert found.late == (step["do"] == "deliver late")

    def _rate(self, _step: Told) -> None:
        """Rate until nothing waits any more, as the worker does."""
        for _ in range(_RATINGS):
            for cluster in self.fleet.clusters:
                rate_window(cluster, self.window, engine=self.engine, billing_zone=self.zone)
            if not self._pending():
                return
        pytest.fail(f"{self._pending()} hours still wait for a rating")

    def _pending(self) -> int:
        with self.engine.connect() as connection:
            return sum(len(WindowStore(connection, name).pending()) for name in self.fleet.clusters)

    def _bill(self, step: Told) -> None:
        start, end = step["billing_period"]
        rows = [
            _focus_row({"BillingPeriodStart": start, "BillingPeriodEnd": end}, told)
            for told in csv.DictReader(io.StringIO(step["file"].strip()), skipinitialspace=True)
        ]
        self.bills += 1
        path = write_focus(self.folder / f"bill-{self.bills}.csv", rows)
        terms = BillTerms(
            engine=self.engine,
            currency=self.currency,
            billing_zone=self.zone,
            at_ms=self.today_ms,
        )
        import_bills([path], terms)

    def _close(self, step: Told) -> None:
        """Close a period; ``accept`` names the kinds of obstacles that may stay, with a reason."""
        order = CloseOrder(period=step["period"], author=step["by"], at_ms=self.today_ms)
        reasons = step.get("accept", {})
        found = preview(order, self.billing_terms, engine=self.engine).obstacles
        accepted = [one for one in found if one.kind.value in reasons]
        assert {one.kind.value for one in accepted} == {*reasons}
        if accepted:
            header, *lines = csv_bytes(obstacles_table(accepted)).decode().splitlines()
            words = [f"{line}{reasons[line.split(',')[0]]}" for line in lines]
            text = "\n".join([header, *words])
            lines_read = read_accept_file(text, file_name="accept.csv")
            order = CloseOrder(
                period=order.period, author=order.author, at_ms=order.at_ms, accept=lines_read
            )
        close_period(order, self.billing_terms, engine=self.engine)

    def _adjust(self, step: Told) -> None:
        done = adjust_period(step["period"], self.adjusting)
        assert done.posted == step.get("posted", True)

    def _correct(self, step: Told) -> None:
        order = Correction(period=step["period"], reason=step["reason"], author=step["by"])
        correct_period(order, self.adjusting)

    def _reopen(self, step: Told) -> None:
        reopen_period(
            step["period"], reason=step["reason"], author=step["by"], given=self.adjusting
        )


def rounded_hours(start_ms: int, end_ms: int) -> Window:
    """The whole hours that a span touches."""
    return Window(hour_of(from_ms(start_ms)).start, hour_of(from_ms(end_ms + HOUR_MS - 1)).start)


def _focus_row(common: Told, told: Mapping[str, Any]) -> Told:
    """A row of a provider's bill: a few short names, and columns of FOCUS by theirs."""
    given = {key.strip(): value.strip() for key, value in told.items() if value and value.strip()}
    names = {
        "from": "ChargePeriodStart",
        "until": "ChargePeriodEnd",
        "category": "ChargeCategory",
        "service": "ServiceName",
        "service_category": "ServiceCategory",
    }
    resource, cost = given.pop("resource", ""), given.pop("cost")
    named = {names.get(key, key): value for key, value in given.items()}
    for column in ("ChargePeriodStart", "ChargePeriodEnd"):
        if column in named:
            at = datetime.fromisoformat(named[column]).astimezone(UTC)
            named[column] = at.isoformat().replace("+00:00", "Z")
    return a_focus_row(resource, cost, **{**common, **named})
