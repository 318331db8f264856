"""What the allotted hours of a commitment sum to."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class CommitmentUse:
    """What a commitment's hours sum to; see `app.pricing.allotment.COMMITMENT_HOURS`."""

    price_id: int
    account: str
    hours: int
    committed: int
    used: int
    eligible_ms: int
    covered_ms: int
    eligible_nanos: int
    covered_nanos: int
    cost_nanos: int
    used_nanos: int

    @property
    def unused_nanos(self) -> int:
        """What was paid and covers nothing."""
        return self.cost_nanos - self.used_nanos
