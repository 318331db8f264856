"""All that was found out about one cluster's window, as one value."""

from dataclasses import dataclass, field

import pandas as pd

from app.usage import frames
from app.usage.consumers import CONSUMER_USAGE


@dataclass(frozen=True, slots=True, kw_only=True)
class UsageFacts:
    """The frames of one window, and whether any source answered only partly."""

    pool_usage: pd.DataFrame
    hold_usage: pd.DataFrame
    token_usage: pd.DataFrame
    latency_usage: pd.DataFrame
    service_minutes: pd.DataFrame
    cold_starts: pd.DataFrame
    evidence: pd.DataFrame
    notes: pd.DataFrame
    partial: bool
    consumer_usage: pd.DataFrame = field(default_factory=lambda: frames.empty(CONSUMER_USAGE))
    pool_energy: pd.DataFrame = field(default_factory=lambda: frames.empty(frames.POOL_ENERGY))

    def __post_init__(self) -> None:
        frames.POOL_USAGE.validate(self.pool_usage)
        frames.HOLD_USAGE.validate(self.hold_usage)
        frames.TOKEN_USAGE.validate(self.token_usage)
        frames.LATENCY_USAGE.validate(self.latency_usage)
        frames.SERVICE_MINUTES.validate(self.service_minutes)
        frames.COLD_STARTS.validate(self.cold_starts)
        CONSUMER_USAGE.validate(self.consumer_usage)
        frames.POOL_ENERGY.validate(self.pool_energy)
        frames.EVIDENCE.validate(self.evidence)
        frames.NOTES.validate(self.notes)
