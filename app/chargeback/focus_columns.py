"""The columns of FOCUS's CostAndUsage by version: level, null rule, type; a version is data."""

from dataclasses import dataclass
from enum import StrEnum

from app.errors import InputError


class Level(StrEnum):
    """Whether a column has to be there, as the specification says."""

    MANDATORY = "M"
    CONDITIONAL = "C"
    RECOMMENDED = "R"


class FocusType(StrEnum):
    """What a column holds."""

    STRING = "String"
    DECIMAL = "Decimal"
    INSTANT = "Date/Time"
    JSON = "JSON"


class Nulls(StrEnum):
    """Whether a cell of a column may be null."""

    ALLOWED = "allowed"
    REFUSED = "refused"


class View(StrEnum):
    """What a file shows; the two never share one.

    ``statement``: what the platform charges its teams. ``split``: the provider's charges, divided
    among the pods of the node that they are for.
    """

    STATEMENT = "statement"
    SPLIT = "split"


class SpecError(InputError):
    """A version of FOCUS that is not written here."""


@dataclass(frozen=True, slots=True)
class FocusColumn:
    """One column: from which version on it is there, and before which it is not."""

    name: str
    level: Level
    nulls: Nulls
    type: FocusType
    since: tuple[int, int] = (1, 0)
    until: tuple[int, int] | None = None


@dataclass(frozen=True, slots=True)
class Profile:
    """A version: its FOCUS columns in order, and those of ours that stand after them."""

    spec: str
    columns: tuple[FocusColumn, ...]
    own: tuple[FocusColumn, ...]

    @property
    def all(self) -> tuple[FocusColumn, ...]:
        """Every column of the file, in order."""
        return (*self.columns, *self.own)

    @property
    def names(self) -> tuple[str, ...]:
        """The header of the file."""
        return tuple(column.name for column in self.all)


SPECS = ("1.2", "1.3")
NEWEST_SPEC = "1.3"

_M, _C, _R = Level.MANDATORY, Level.CONDITIONAL, Level.RECOMMENDED
_N, _X = Nulls.ALLOWED, Nulls.REFUSED
_S, _D, _T, _J = FocusType.STRING, FocusType.DECIMAL, FocusType.INSTANT, FocusType.JSON

# The specification's tables, in the order of names. A row is the newest level of the column among
# `SPECS`; a column of a later version is one more row, and the version one more entry of `SPECS`.
COLUMNS = (
    FocusColumn("AllocatedMethodDetails", _R, _N, _J, since=(1, 3)),
    FocusColumn("AllocatedMethodId", _C, _N, _S, since=(1, 3)),
    FocusColumn("AllocatedResourceId", _C, _N, _S, since=(1, 3)),
    FocusColumn("AllocatedResourceName", _C, _N, _S, since=(1, 3)),
    FocusColumn("AllocatedTags", _C, _N, _J, since=(1, 3)),
    FocusColumn("AvailabilityZone", _R, _N, _S),
    FocusColumn("BilledCost", _M, _X, _D),
    FocusColumn("BillingAccountId", _M, _X, _S),
    FocusColumn("BillingAccountName", _M, _N, _S),
    FocusColumn("BillingAccountType", _C, _X, _S, since=(1, 2)),
    FocusColumn("BillingCurrency", _M, _X, _S),
    FocusColumn("BillingPeriodEnd", _M, _X, _T),
    FocusColumn("BillingPeriodStart", _M, _X, _T),
    FocusColumn("CapacityReservationId", _C, _N, _S, since=(1, 1)),
    FocusColumn("CapacityReservationStatus", _C, _N, _S, since=(1, 1)),
    FocusColumn("ChargeCategory", _M, _X, _S),
    FocusColumn("ChargeClass", _M, _N, _S),
    FocusColumn("ChargeDescription", _M, _N, _S),
    FocusColumn("ChargeFrequency", _R, _X, _S),
    FocusColumn("ChargePeriodEnd", _M, _X, _T),
    FocusColumn("ChargePeriodStart", _M, _X, _T),
    FocusColumn("CommitmentDiscountCategory", _C, _N, _S),
    FocusColumn("CommitmentDiscountId", _C, _N, _S),
    FocusColumn("CommitmentDiscountName", _C, _N, _S),
    FocusColumn("CommitmentDiscountQuantity", _C, _N, _D, since=(1, 1)),
    FocusColumn("CommitmentDiscountStatus", _C, _N, _S),
    FocusColumn("CommitmentDiscountType", _C, _N, _S),
    FocusColumn("CommitmentDiscountUnit", _C, _N, _S, since=(1, 1)),
    FocusColumn("ConsumedQuantity", _C, _N, _D),
    FocusColumn("ConsumedUnit", _C, _N, _S),
    FocusColumn("ContractApplied", _C, _N, _J, since=(1, 3)),
    FocusColumn("ContractedCost", _M, _X, _D),
    FocusColumn("ContractedUnitPrice", _C, _N, _D),
    FocusColumn("EffectiveCost", _M, _X, _D),
    FocusColumn("HostProviderName", _M, _N, _S, since=(1, 3)),
    FocusColumn("InvoiceId", _R, _N, _S, since=(1, 2)),
    FocusColumn("InvoiceIssuerName", _M, _X, _S),
    FocusColumn("ListCost", _M, _X, _D),
    FocusColumn("ListUnitPrice", _C, _N, _D),
    FocusColumn("PricingCategory", _C, _N, _S),
    FocusColumn("PricingCurrency", _C, _X, _S, since=(1, 2)),
    FocusColumn("PricingCurrencyContractedUnitPrice", _C, _N, _D, since=(1, 2)),
    FocusColumn("PricingCurrencyEffectiveCost", _C, _X, _D, since=(1, 2)),
    FocusColumn("PricingCurrencyListUnitPrice", _C, _N, _D, since=(1, 2)),
    FocusColumn("PricingQuantity", _M, _N, _D),
    FocusColumn("PricingUnit", _M, _N, _S),
    FocusColumn("ProviderName", _M, _X, _S, until=(1, 4)),
    FocusColumn("PublisherName", _M, _X, _S, until=(1, 4)),
    FocusColumn("RegionId", _C, _N, _S),
    FocusColumn("RegionName", _C, _N, _S),
    FocusColumn("ResourceId", _C, _N, _S),
    FocusColumn("ResourceName", _C, _N, _S),
    FocusColumn("ResourceType", _C, _N, _S),
    FocusColumn("ServiceCategory", _M, _X, _S),
    FocusColumn("ServiceName", _M, _X, _S),
    FocusColumn("ServiceProviderName", _M, _X, _S, since=(1, 3)),
    FocusColumn("ServiceSubcategory", _R, _X, _S, since=(1, 1)),
    FocusColumn("SkuId", _C, _N, _S),
    FocusColumn("SkuMeter", _C, _N, _S, since=(1, 1)),
    FocusColumn("SkuPriceDetails", _C, _N, _J, since=(1, 1)),
    FocusColumn("SkuPriceId", _C, _N, _S),
    FocusColumn("SubAccountId", _C, _N, _S),
    FocusColumn("SubAccountName", _C, _N, _S),
    FocusColumn("SubAccountType", _C, _N, _S, since=(1, 2)),
    FocusColumn("Tags", _C, _N, _J),
)

# Columns of ours in the statement view.
STATEMENT_OWN = (
    FocusColumn("x_AttributionKey", _R, _X, _S),
    FocusColumn("x_ChargeKind", _R, _X, _S),
    FocusColumn("x_ChargeStep", _R, _X, _S),
    FocusColumn("x_Cluster", _R, _N, _S),
    FocusColumn("x_Commitment", _R, _N, _S),
    FocusColumn("x_GpuModel", _R, _N, _S),
    FocusColumn("x_InstanceType", _R, _N, _S),
    FocusColumn("x_Namespace", _R, _N, _S),
    FocusColumn("x_Node", _R, _N, _S),
    FocusColumn("x_Provisional", _R, _X, _S),
    FocusColumn("x_Reason", _R, _N, _S),
    FocusColumn("x_StatementVersion", _R, _N, _S),
    FocusColumn("x_Workload", _R, _N, _S),
)

# In the versions before 1.3 the columns of the split are ours.
_ALLOCATED = tuple(column for column in COLUMNS if column.name.startswith("Allocated"))


def profile(spec: str, view: View) -> Profile:
    """Return the columns of a version of FOCUS; refuse one that is not of `SPECS`."""
    if spec not in SPECS:
        message = f"There is no export of FOCUS {spec[:20]!r}."
        raise SpecError(message, hint=f"Use {' or '.join(SPECS)}.")
    major, minor = (int(part) for part in spec.split("."))
    return _profile(spec, (major, minor), view)


def _profile(spec: str, version: tuple[int, int], view: View) -> Profile:
    columns = tuple(
        column
        for column in COLUMNS
        if column.since <= version and (column.until is None or version < column.until)
    )
    if view is View.STATEMENT:
        return Profile(spec, columns, STATEMENT_OWN)
    own = tuple(
        FocusColumn(f"x_{column.name}", _R, column.nulls, column.type)
        for column in _ALLOCATED
        if column.since > version
    )
    return Profile(spec, columns, (*own, FocusColumn("x_OriginKey", _R, _X, _S)))


def with_own(base: Profile, names: tuple[str, ...]) -> Profile:
    """Return the profile with further columns of the origin's own, as text, after all others."""
    known = set(base.names)
    more = tuple(FocusColumn(name, _R, _N, _S) for name in names if name not in known)
    return Profile(base.spec, base.columns, (*base.own, *more))
