"""What planning is told by the configuration."""

from dataclasses import dataclass

from app.planning.anomalies import AnomalyPolicy
from app.planning.break_even import HostedPrice
from app.settings import Settings
from app.usage.models import ModelEntry
from app.wiring.clients import anomaly_policy, hosted_prices_of, model_entries


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanningTerms:
    """How far days must be off, what hosted models cost, and the names of one's own."""

    policy: AnomalyPolicy
    hosted: tuple[HostedPrice, ...]
    models: tuple[ModelEntry, ...]


def planning_terms(settings: Settings) -> PlanningTerms:
    """Return what the settings say; refuse a price list that cannot be used."""
    return PlanningTerms(
        policy=anomaly_policy(settings),
        hosted=hosted_prices_of(settings),
        models=model_entries(settings.models),
    )
