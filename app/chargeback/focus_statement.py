"""The statement view of FOCUS: what the platform charges its teams, one row a summed line.

BilledCost and EffectiveCost are the ledger's charge on every row. How each column is made stands in
`statement_columns`; a column that is not there is null.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from app.attribution.charges import ChargeKind, LineStep
from app.chargeback.focus_cells import (
    Columns,
    InstantColumn,
    TextColumn,
    constant,
    json_text,
    scaled,
)
from app.chargeback.focus_grouping import GroupedLines
from app.chargeback.focus_lines import FOCUS_LINES, LINE_KEY, FocusLabels
from app.chargeback.focus_pricing import Priced, PricedLines, is_usage, or_billed, priced_lines
from app.chargeback.focus_skus import Skus, derived_prices, slug
from app.chargeback.regions import region_name
from app.units.identity import id_text, mix64

UNALLOCATED = "__unallocated__"
UNASSIGNED = "__unassigned__"


@dataclass(frozen=True, slots=True, kw_only=True)
class FocusNames:
    """How the platform calls itself in a file; ``hosts`` is what providers are called."""

    issuer: str
    service: str
    hosts: Mapping[str, str]
    currency: str

    @property
    def account_prefix(self) -> str:
        """The issuer as the first part of identities."""
        return slug(self.issuer)


def statement_columns(lines: pd.DataFrame, labels: FocusLabels, names: FocusNames) -> Columns:
    """Return the columns of `app.chargeback.focus_lines.FOCUS_LINES`, in the lines' order."""
    FOCUS_LINES.validate(lines)
    rows = _Rows(lines, labels, names)
    return {**rows.amounts(), **rows.times(), **rows.accounts(), **rows.things(), **rows.own()}


@dataclass(frozen=True, slots=True)
class _Resource:
    """What a row is about."""

    id: str
    name: str
    type: str


class _Rows:
    """Lines as columns: a text is made once for each distinct value of what it is made from."""

    def __init__(self, lines: pd.DataFrame, labels: FocusLabels, names: FocusNames) -> None:
        self._labels = labels
        self._names = names
        self._priced = priced_lines(lines, labels.prices)
        derived, self._derived = derived_prices(self._priced)
        usage = is_usage(lines, labels.prices).astype(np.int64)
        self._lines = GroupedLines(lines, {"usage": usage, "derived": derived})
        self._by = self._lines.by

    def amounts(self) -> Columns:
        """Money, prices and quantities."""
        cost = self._lines.of("cost_nanos")
        billed = scaled(cost, 9)
        priced = self._priced
        contracted, listed = priced.column("unit_price"), priced.column("list_unit_price")
        return {
            "BilledCost": billed,
            "EffectiveCost": billed,
            "PricingCurrencyEffectiveCost": billed,
            "ConsumedQuantity": priced.column("consumed"),
            "ConsumedUnit": _of_priced(priced, lambda one: one.consumed_unit.value),
            "PricingQuantity": priced.column("quantity"),
            "PricingUnit": _of_priced(priced, lambda one: one.unit.value),
            "ContractedUnitPrice": contracted,
            "PricingCurrencyContractedUnitPrice": contracted,
            "ListUnitPrice": listed,
            "PricingCurrencyListUnitPrice": listed,
            "ContractedCost": or_billed(priced.column("cost"), cost),
            "ListCost": or_billed(priced.column("list_cost"), cost),
            **Skus(self._lines, self._labels, self._derived).columns(),
        }

    def times(self) -> Columns:
        """When it happened and in which period it is booked."""
        return {
            "ChargePeriodStart": InstantColumn(self._lines.of("start_ms")),
            "ChargePeriodEnd": InstantColumn(self._lines.of("end_ms")),
            "BillingPeriodStart": InstantColumn(self._lines.of("period_start_ms")),
            "BillingPeriodEnd": InstantColumn(self._lines.of("period_end_ms")),
        }

    def accounts(self) -> Columns:
        """Who is charged by whom, and on which statement."""
        names, count = self._names, len(self._lines)
        issuer = constant(names.issuer, count)
        currency = constant(names.currency, count)

        def account(team: int, day_ms: int) -> str:
            return f"{names.account_prefix}/{self._center(team, day_ms) or UNASSIGNED}"

        def account_name(team: int, day_ms: int) -> str:
            center = self._center(team, day_ms)
            return f"Cost center {center}" if center else "No cost center"

        def invoice(team: int, period_ms: int) -> str | None:
            found = self._labels.invoices.get((team, period_ms))
            return None if found is None else found.number

        team = self._by("team_id", make=lambda one: self._team(one) or UNALLOCATED)
        return {
            "BillingAccountId": self._by("team_id", "day_ms", make=account),
            "BillingAccountName": self._by("team_id", "day_ms", make=account_name),
            "BillingAccountType": constant("Cost Center", count),
            "BillingCurrency": currency,
            "PricingCurrency": currency,
            "SubAccountId": team,
            "SubAccountName": team,
            "SubAccountType": constant("Team", count),
            "InvoiceId": self._by("team_id", "period_start_ms", make=invoice),
            "InvoiceIssuerName": issuer,
            "ProviderName": issuer,
            "PublisherName": issuer,
            "ServiceProviderName": issuer,
            "HostProviderName": self._of_node("provider", self._host),
        }

    def things(self) -> Columns:
        """What was charged for."""
        count = len(self._lines)
        resource = ("cluster_id", "node_id", "workload_id", "namespace_id")
        return {
            "ChargeCategory": self._by("usage", "step", make=_category),
            "ChargeClass": self._by("run_id", make=lambda run: "Correction" if run else None),
            "ChargeFrequency": self._by(
                "usage", make=lambda usage: "Usage-Based" if usage else "One-Time"
            ),
            "ChargeDescription": self._by(
                "kind", "step", "run_id", "team_id", "gpu_model_id", make=self._description
            ),
            "ServiceCategory": constant("Compute", count),
            "ServiceSubcategory": constant("Containers", count),
            "ServiceName": constant(self._names.service, count),
            "AvailabilityZone": self._of_node("zone", str),
            "RegionId": self._of_node("region", str),
            "RegionName": self._of_node("region", region_name),
            "ResourceId": self._by(*resource, make=lambda *key: self._resource(*key).id),
            "ResourceName": self._by(*resource, make=lambda *key: self._resource(*key).name),
            "ResourceType": self._by(*resource, make=lambda *key: self._resource(*key).type),
            "Tags": self._by("team_id", "day_ms", "cluster_id", "namespace_id", make=self._tags),
        }

    def own(self) -> Columns:
        """Columns of ours."""
        identity = mix64(*(self._lines.of(name) for name in LINE_KEY))
        keys = tuple(id_text(int(one)) for one in identity)
        labels = self._labels

        def provisional(team: int, period_ms: int) -> str:
            return "false" if (team, period_ms) in labels.invoices else "true"

        def version(team: int, period_ms: int) -> str | None:
            found = labels.invoices.get((team, period_ms))
            return None if found is None else str(found.version)

        return {
            "x_AttributionKey": TextColumn(np.arange(len(keys), dtype=np.int64), keys),
            "x_ChargeKind": self._by(
                "kind", "run_id", make=lambda kind, _run: ChargeKind(kind).name.lower()
            ),
            "x_ChargeStep": self._by("step", make=lambda step: LineStep(step).name.lower()),
            "x_Cluster": self._by("cluster_id", make=lambda one: labels.clusters.get(one) or None),
            "x_GpuModel": self._by("gpu_model_id", make=lambda one: self._model(one) or None),
            "x_InstanceType": self._of_node("instance_type", str),
            "x_Namespace": self._by(
                "namespace_id", make=lambda one: labels.namespaces.get(one) or None
            ),
            "x_Node": self._of_node("name", str),
            "x_Provisional": self._by("team_id", "period_start_ms", make=provisional),
            "x_Reason": self._by("run_id", make=lambda run: labels.reasons.get(run) or None),
            "x_StatementVersion": self._by("team_id", "period_start_ms", make=version),
            "x_Workload": self._by(
                "workload_id", make=lambda one: labels.workloads.get(one, ("", ""))[1] or None
            ),
        }

    def _of_node(self, field: str, shown: Callable[[str], str | None]) -> TextColumn:
        def text(node: int) -> str | None:
            at = self._labels.nodes.get(node)
            value = "" if at is None else str(getattr(at, field))
            return shown(value) if value else None

        return self._by("node_id", make=text)

    def _center(self, team: int, day_ms: int) -> str:
        return self._labels.cost_centers.get((team, day_ms), "")

    def _team(self, team: int) -> str:
        return self._labels.teams.get(team, "")

    def _model(self, model: int) -> str:
        return self._labels.gpu_models.get(model, "")

    def _host(self, provider: str) -> str:
        return self._names.hosts.get(provider, provider)

    def _description(self, kind: int, step: int, run: int, team: int, model: int) -> str:
        words = _KIND_WORDS[ChargeKind(kind)]
        device = f" of {self._model(model)}" if self._model(model) else ""
        payer = f"team {self._team(team)}" if self._team(team) else "nobody's team"
        made = _STEP_WORDS.get(LineStep(step), "")
        late = ", changed after its period was closed" if run else ""
        return f"{words}{device}{made}, {payer}{late}"

    def _workload(self, workload: int) -> tuple[str, str]:
        return self._labels.workloads.get(workload, ("", ""))

    def _resource(self, cluster: int, node: int, workload: int, namespace: int) -> _Resource:
        """Return what a row is about; what is of no cluster is of the statement itself."""
        place = f"k8s://{self._labels.clusters.get(cluster, '')}"
        kind, name = self._labels.workloads.get(workload, ("", ""))
        if name:
            within = f"{place}/namespace/{self._labels.namespaces.get(namespace, '')}"
            kind = kind or "Workload"
            return _Resource(f"{within}/{kind.casefold()}/{name}", name, kind)
        at = self._labels.nodes.get(node)
        if at is not None and at.name:
            return _Resource(f"{place}/node/{at.name}", at.name, "Node")
        if within := self._labels.namespaces.get(namespace, ""):
            return _Resource(f"{place}/namespace/{within}", within, "Namespace")
        if cluster in self._labels.clusters:
            return _Resource(place, self._labels.clusters[cluster], "Cluster")
        prefix = self._names.account_prefix
        return _Resource(f"{prefix}/statement", f"{self._names.issuer} statement", "Statement")

    def _tags(self, team: int, day_ms: int, cluster: int, namespace: int) -> str | None:
        said: dict[str, object] = {
            "cluster": self._labels.clusters.get(cluster, ""),
            "cost_center": self._center(team, day_ms),
            "namespace": self._labels.namespaces.get(namespace, ""),
            "team": self._team(team),
        }
        filled = {name: text for name, text in said.items() if text}
        return json_text(filled) if filled else None


def _category(usage: int, step: int) -> str:
    if usage:
        return "Usage"
    return "Credit" if step == LineStep.CREDIT else "Adjustment"


def _of_priced(priced: PricedLines, shown: Callable[[Priced], str]) -> TextColumn:
    texts = tuple(None if one is None else shown(one) for one in priced.priced)
    return TextColumn(priced.codes, texts)


_KIND_WORDS = {
    ChargeKind.USED: "Time that a GPU worked",
    ChargeKind.IDLE: "Time that a GPU was held and idle",
    ChargeKind.UNMEASURED: "Time that a GPU was held, unmeasured",
    ChargeKind.UNALLOCATED: "Time that nobody held a GPU",
    ChargeKind.STRANDED: "Time that nobody could hold a GPU",
    ChargeKind.UNOBSERVED: "Time that no source says who held a GPU",
    ChargeKind.COMMITMENT_UNUSED: "Commitment that nothing used",
    ChargeKind.REDISTRIBUTED: "Cost moved between teams",
    ChargeKind.TRUE_UP: "Difference to the provider's bill",
    ChargeKind.ADJUSTMENT: "Adjustment",
    ChargeKind.ROUNDING: "Rounding of the statement",
}
_STEP_WORDS = {
    LineStep.NOBODY: " that nobody held",
    LineStep.PLATFORM: " of the platform's own namespaces",
    LineStep.CONSUMERS: " to those who sent the tokens",
    LineStep.CREDIT: ", a credit",
    LineStep.CARD_VARIANCE: ", rate card less actual cost",
}
