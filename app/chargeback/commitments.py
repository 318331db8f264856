"""Tables of commitments: what was bought, and what of it was used."""

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal

from app.chargeback.tables import Cell, Table, amount, plain, seconds
from app.pricing.commitment_use import CommitmentUse
from app.pricing.commitments import Commitment, CommitmentUnit
from app.units.money import from_nanos
from app.units.window import HOUR_MS, from_ms

COMMITMENT_COLUMNS = (
    "commitment",
    "name",
    "type",
    "billing_account",
    "clusters",
    "provider",
    "region",
    "instance_type",
    "gpu_model",
    "capacity_type",
    "unit",
    "quantity",
    "upfront",
    "recurring_per_hour",
    "discount_percent",
    "currency",
    "term_start",
    "term_end",
    "payer",
    "allotment",
    "source",
)
COVERAGE_COLUMNS = (
    "commitment",
    "name",
    "type",
    "billing_account",
    "unit",
    "hours",
    "committed",
    "used",
    "utilization_ratio",
    "eligible_gpu_seconds",
    "covered_gpu_seconds",
    "coverage_ratio",
    "eligible_cost",
    "covered_cost",
    "cost_coverage_ratio",
    "commitment_cost",
    "used_cost",
    "unused_cost",
    "currency",
)
_RATIO_DECIMALS = 6


@dataclass(frozen=True, slots=True, kw_only=True)
class CommitmentReport:
    """A commitment and what its hours sum to in a window."""

    commitment: Commitment
    use: CommitmentUse


def commitments_table(commitments: Sequence[Commitment]) -> Table:
    """Return the commitments as a file has them: importing the table again changes nothing."""
    return Table(COMMITMENT_COLUMNS, tuple(_terms(one) for one in commitments))


def coverage_table(reports: Sequence[CommitmentReport], currency: str) -> Table:
    """Return what was covered and used.

    ``committed`` and ``used`` are GPU-hours, node-hours or money by the unit. Eligible is what
    fitted and no earlier commitment had covered; its cost is at on-demand prices. A ratio of
    nothing is empty.
    """
    return Table(COVERAGE_COLUMNS, tuple(_use(one, currency) for one in reports))


def _terms(one: Commitment) -> tuple[Cell, ...]:
    return (
        one.commitment,
        one.name,
        one.kind.value,
        one.billing_account,
        ";".join(one.clusters),
        one.provider,
        one.region,
        one.instance_type,
        one.gpu_model,
        one.capacity_type,
        one.unit.value,
        plain(one.quantity),
        plain(one.upfront),
        plain(one.recurring_per_hour),
        plain((one.discount_ratio * 100).normalize()),
        one.currency,
        _instant(one.term_start_ms),
        _instant(one.term_end_ms),
        one.payer,
        one.allotment.value,
        one.source,
    )


def _use(one: CommitmentReport, currency: str) -> tuple[Cell, ...]:
    commitment, use = one.commitment, one.use
    return (
        commitment.commitment,
        commitment.name,
        commitment.kind.value,
        use.account,
        commitment.unit.value,
        use.hours,
        _units(use.committed, commitment.unit),
        _units(use.used, commitment.unit),
        _ratio(use.used, use.committed),
        seconds(use.eligible_ms),
        seconds(use.covered_ms),
        _ratio(use.covered_ms, use.eligible_ms),
        amount(use.eligible_nanos),
        amount(use.covered_nanos),
        _ratio(use.covered_nanos, use.eligible_nanos),
        amount(use.cost_nanos),
        amount(use.used_nanos),
        amount(use.unused_nanos),
        currency,
    )


def _units(count: int, unit: CommitmentUnit) -> Decimal:
    """Return milliseconds of GPUs or nodes in hours, nanos in money."""
    if unit is CommitmentUnit.SPEND_HOUR:
        return from_nanos(count)
    return round(Decimal(count) / HOUR_MS, _RATIO_DECIMALS)


def _ratio(part: int, whole: int) -> Decimal | None:
    return round(Decimal(part) / whole, _RATIO_DECIMALS) if whole else None


def _instant(ms: int) -> str:
    return from_ms(ms).isoformat().replace("+00:00", "Z")
