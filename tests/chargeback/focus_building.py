"""Lines of a FOCUS export with round figures, and what their identities are called."""

from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal

import pandas as pd

from app.attribution.charges import ChargeKind, LineStep
from app.chargeback.focus_lines import (
    FOCUS_LINES,
    FocusLabels,
    FocusNode,
    FocusPrice,
    Invoice,
    PricedUnit,
)
from app.chargeback.focus_split import OriginCharge, PodTime
from app.chargeback.focus_statement import FocusNames
from app.units.window import HOUR_MS, to_ms

OCTOBER_MS = to_ms(datetime(2026, 10, 1, tzinfo=UTC))
NOVEMBER_MS = to_ms(datetime(2026, 11, 1, tzinfo=UTC))
DECEMBER_MS = to_ms(datetime(2026, 12, 1, tzinfo=UTC))
DAY_MS = 24 * HOUR_MS

SEARCH, PLATFORM = 11, 12
PER_GPU, PER_NODE, COMMITTED, SPOT, ENERGY = 51, 52, 53, 54, 55
NAMES = FocusNames(
    issuer="Acme GPU Platform",
    service="GPU Kubernetes",
    hosts={"aws": "AWS"},
    currency="USD",
)
LABELS = FocusLabels(
    teams={SEARCH: "search", PLATFORM: "platform"},
    cost_centers={
        (team, OCTOBER_MS + day * DAY_MS): center
        for day in range(61)
        for team, center in ((SEARCH, "CC-1001"), (PLATFORM, "CC-9000"), (0, "CC-9000"))
    },
    clusters={21: "prod-eu"},
    nodes={
        31: FocusNode(
            name="gpu-1",
            provider="aws",
            region="eu-central-1",
            zone="eu-central-1a",
            instance_type="p5.48xlarge",
            capacity_type="on_demand",
        ),
        32: FocusNode(name="gpu-2", capacity_type="spot"),
    },
    namespaces={41: "search-prod"},
    workloads={42: ("Deployment", "ranker")},
    gpu_models={43: "NVIDIA-H100-80GB-HBM3"},
    prices={
        PER_GPU: FocusPrice(unit_price=Decimal("2.50"), list_unit_price=Decimal("3.25")),
        PER_NODE: FocusPrice(unit_price=Decimal("98.32"), unit=PricedUnit.NODE_HOUR),
        COMMITTED: FocusPrice(unit_price=Decimal("1.9"), commitment="h100-2026"),
        ENERGY: FocusPrice(unit_price=Decimal("0.24"), unit=PricedUnit.KILOWATT_HOUR),
        SPOT: FocusPrice(unit_price=Decimal("0.9")),
    },
    invoices={},
    reasons={},
)


def a_line(**given: int) -> dict[str, int]:
    """Two GPU-hours of search at 2.50: 5 USD on November 1st."""
    start = given.get("start_ms", NOVEMBER_MS)
    row = {
        "start_ms": start,
        "end_ms": start + DAY_MS,
        "day_ms": start,
        "period_start_ms": NOVEMBER_MS,
        "period_end_ms": DECEMBER_MS,
        "team_id": SEARCH,
        "cluster_id": 21,
        "node_id": 31,
        "namespace_id": 41,
        "workload_id": 42,
        "gpu_model_id": 43,
        "kind": int(ChargeKind.USED),
        "step": 0,
        "price_id": PER_GPU,
        "consumer_id": 0,
        "run_id": 0,
        "lines": 1,
        "gpu_ms": 2 * HOUR_MS,
        "cost_nanos": 5 * 10**9,
    }
    return row | given


def lines_of(*rows: Mapping[str, int]) -> pd.DataFrame:
    return pd.DataFrame(rows, columns=[*FOCUS_LINES.columns]).astype("int64")


def all_sorts() -> pd.DataFrame:
    """A row of every kind that a statement can have, in an open period."""
    pool = {"namespace_id": 0, "workload_id": 0, "team_id": PLATFORM}
    nowhere = {**pool, "node_id": 0, "cluster_id": 0, "gpu_model_id": 0, "price_id": 0, "gpu_ms": 0}
    moved = {"node_id": 0, "price_id": 0, "gpu_ms": 0}
    return lines_of(
        a_line(),
        a_line(kind=2, gpu_ms=1_234_567, cost_nanos=857_338_194),
        a_line(kind=3, price_id=PER_NODE, gpu_ms=HOUR_MS, cost_nanos=12_290_000_000),
        a_line(kind=1, price_id=COMMITTED, gpu_ms=HOUR_MS, cost_nanos=1_900_000_000),
        a_line(kind=1, price_id=SPOT, node_id=32, gpu_ms=HOUR_MS // 3, cost_nanos=300_000_000),
        a_line(kind=1, price_id=99, gpu_ms=7_000_000, cost_nanos=3_333_333_333),
        a_line(kind=1, price_id=ENERGY, gpu_ms=0, cost_nanos=168_000_000),
        a_line(kind=4, cost_nanos=5 * 10**9, **pool),
        a_line(kind=5, **{**pool, "team_id": 0}),
        a_line(kind=6, **{**pool, "team_id": 0}, gpu_ms=3, cost_nanos=2_083),
        a_line(kind=8, step=int(LineStep.CONSUMERS), cost_nanos=-5 * 10**9, **moved),
        a_line(kind=8, step=3, team_id=PLATFORM, cost_nanos=5 * 10**9, **moved),
        a_line(kind=7, step=int(LineStep.COMMITMENT), **nowhere),
        a_line(kind=9, step=int(LineStep.TRUE_UP), cost_nanos=-17, **{**pool, "gpu_ms": 0}),
        a_line(kind=10, step=int(LineStep.CREDIT), cost_nanos=-(10**9), **nowhere),
        a_line(
            kind=1,
            run_id=71,
            start_ms=OCTOBER_MS,
            gpu_ms=-HOUR_MS,
            cost_nanos=-2_500_000_000,
        ),
    )


def with_invoices(**invoices: Invoice) -> FocusLabels:
    """The labels with statements of October, by team."""
    ids = {"search": SEARCH, "platform": PLATFORM, "nobody": 0}
    return FocusLabels(
        teams=LABELS.teams,
        cost_centers=LABELS.cost_centers,
        clusters=LABELS.clusters,
        nodes=LABELS.nodes,
        namespaces=LABELS.namespaces,
        workloads=LABELS.workloads,
        gpu_models=LABELS.gpu_models,
        prices=LABELS.prices,
        invoices={(ids[team], NOVEMBER_MS): one for team, one in invoices.items()},
        reasons=LABELS.reasons,
    )


# An hour of a node as a provider writes it, without its money.
_A_NODES_HOUR = {
    "AvailabilityZone": "eu-central-1a",
    "BillingAccountId": "123456789012",
    "BillingAccountName": "acme",
    "BillingAccountType": "Management",
    "BillingCurrency": "USD",
    "BillingPeriodStart": "2026-11-01T00:00:00Z",
    "BillingPeriodEnd": "2026-12-01T00:00:00Z",
    "ChargeCategory": "Usage",
    "ChargeDescription": "p5.48xlarge in Frankfurt, an hour",
    "ChargeFrequency": "Usage-Based",
    "ChargePeriodStart": "2026-11-23T12:00:00Z",
    "ChargePeriodEnd": "2026-11-23T13:00:00Z",
    "ConsumedQuantity": "1.0",
    "ConsumedUnit": "Hours",
    "HostProviderName": "AWS",
    "InvoiceIssuerName": "AWS",
    "PricingCategory": "Standard",
    "PricingCurrency": "USD",
    "PricingQuantity": "1.0",
    "PricingUnit": "Hours",
    "ProviderName": "AWS",
    "PublisherName": "AWS",
    "RegionId": "eu-central-1",
    "RegionName": "Europe (Frankfurt)",
    "ResourceId": "i-0abc12345678def01",
    "ResourceName": "gpu-1",
    "ResourceType": "Instance",
    "ServiceCategory": "Compute",
    "ServiceName": "Amazon Elastic Compute Cloud",
    "ServiceProviderName": "AWS",
    "ServiceSubcategory": "Virtual Machines",
    "SkuId": "P5SKU",
    "SkuMeter": "Compute Instance",
    "SkuPriceDetails": '{"InstanceType":"p5.48xlarge"}',
    "SkuPriceId": "P5SKU.JRTCKXETXF",
    "SubAccountId": "210987654321",
    "SubAccountName": "gpu",
    "SubAccountType": "Member",
    "Tags": '{"team":"platform"}',
}
_COSTS = (
    "BilledCost",
    "ContractedCost",
    "EffectiveCost",
    "ListCost",
    "PricingCurrencyEffectiveCost",
)
_UNIT_PRICES = (
    "ContractedUnitPrice",
    "ListUnitPrice",
    "PricingCurrencyContractedUnitPrice",
    "PricingCurrencyListUnitPrice",
)


def an_origin(
    cost: str,
    *,
    key: str = "bill/1",
    pods: tuple[PodTime, ...] = (),
    free_ms: int = 0,
    spec: str = "1.3",
    **cells: str,
) -> OriginCharge:
    """An hour of a node at ``cost``, as a provider writes it: one Hour at that unit price."""
    given = _A_NODES_HOUR | dict.fromkeys(_COSTS, cost)
    # A unit price is not below zero: what is given back has none.
    given |= dict.fromkeys(() if cost.startswith("-") else _UNIT_PRICES, cost) | cells
    later = ("HostProviderName", "ServiceProviderName", "ServiceSubcategory", "PricingCurrency")
    gone = later if spec == "1.0" else ()
    return OriginCharge(
        key=key,
        cells={name: text for name, text in given.items() if text and name not in gone},
        pods=pods,
        free_ms=free_ms,
    )
