"""What a commitment's hour cost, what of it was used, and who bears the rest, in words."""

from dataclasses import dataclass
from fractions import Fraction

from app.attribution.explanation import (
    Explanation,
    ExplanationStep,
    Figures,
    Versions,
    instant_text,
    money_text,
    rounding_text,
    seconds_text,
    versions_step,
)
from app.pricing.commitments import AllotmentRule, Commitment, CommitmentUnit
from app.pricing.rows import plain_amount
from app.units.identity import id_text
from app.units.money import from_nanos


@dataclass(frozen=True, slots=True, kw_only=True)
class CommittedHour:
    """A commitment's hour over all clusters; see `app.pricing.allotment.COMMITMENT_HOURS`."""

    committed: int
    used: int
    eligible_ms: int
    covered_ms: int
    cost_nanos: int
    used_nanos: int


@dataclass(frozen=True, slots=True, kw_only=True)
class CommittedPrice:
    """The commitment that covers a charge's time, in its hour.

    ``hour`` is None where the hour's allotment is not stored. ``pool_ms`` and ``pool_nanos`` are
    what it covers of the charge's pool, and what that carries of its cost.
    """

    commitment: Commitment
    window_ms: int
    hour: CommittedHour | None
    pool_ms: int
    pool_nanos: int


@dataclass(frozen=True, slots=True, kw_only=True)
class UnusedFacts:
    """A line of what nobody used of a commitment; ``hour`` None: its allotment is not stored."""

    charge_id: int
    commitment: Commitment | None
    price_id: int
    window_ms: int
    start_ms: int
    end_ms: int
    cluster: str
    team: str
    nanos: int
    currency: str
    hour: CommittedHour | None
    versions: Versions


def commitment_step(price: CommittedPrice, currency: str) -> ExplanationStep:
    """Return which commitment covers the time, and what its hour costs and covers."""
    one = price.commitment
    figures = (
        ("promised", _promise(one)),
        *_terms(one),
        *_costs(one, price.window_ms, currency),
    )
    if price.hour is not None:
        figures = (*figures, *_hour(one, price.hour, currency))
    return ExplanationStep(
        "Price",
        f"covered by {_name(one)}: its hour costs the same whoever uses it, and the used part of"
        " that cost is divided over the time it covers",
        figures,
    )


def covered_money_step(
    price: CommittedPrice, gpu_ms: int, charged: tuple[str, str]
) -> ExplanationStep:
    """Return how the commitment's cost came to a line that it covers."""
    figures: Figures = (charged,)
    if price.pool_ms:
        currency = charged[1].rpartition(" ")[2]
        figures = (
            ("covered of the pool", f"{seconds_text(price.pool_ms)} GPU-seconds"),
            ("they cost", money_text(price.pool_nanos, currency)),
            ("of them this line", f"{seconds_text(gpu_ms)} GPU-seconds"),
            charged,
        )
    return ExplanationStep(
        "Money",
        "the pool's part of the commitment's used cost, divided over its covered time; the rest of"
        " the pool's time stands on lines of its own at the on-demand price",
        figures,
    )


def explain_unused(facts: UnusedFacts) -> Explanation:
    """Return why a line of unused commitment is what it is."""
    where = f"in {facts.cluster}" if facts.cluster else "over all clusters of the account"
    one = facts.commitment
    name = _name(one) if one else f"the commitment {id_text(facts.price_id)}"
    steps = [
        ExplanationStep(
            "Charge",
            f"what nobody used of {name} {where} between {instant_text(facts.start_ms)} and"
            f" {instant_text(facts.end_ms)}: {money_text(facts.nanos, facts.currency)}",
            (("charge", id_text(facts.charge_id)), ("kind", "commitment_unused")),
        ),
        _payer(facts),
    ]
    if one is not None:
        figures = (*_terms(one), *_costs(one, facts.window_ms, facts.currency))
        if facts.hour is not None:
            figures = (*figures, *_hour(one, facts.hour, facts.currency))
        steps.append(ExplanationStep("Commitment", _promise(one), figures))
    return Explanation(
        facts.charge_id, (*steps, _unused_money(facts), versions_step(facts.versions))
    )


def _payer(facts: UnusedFacts) -> ExplanationStep:
    bought = facts.commitment is not None and facts.commitment.payer == facts.team != ""
    because = (
        "the commitment names it as its payer"
        if bought
        else "the platform team pays for what nobody used"
    )
    return ExplanationStep("Team", f"{facts.team or 'nobody'}, since {because}")


def _unused_money(facts: UnusedFacts) -> ExplanationStep:
    charged = ("charged", money_text(facts.nanos, facts.currency))
    if facts.hour is None:
        return ExplanationStep(
            "Money", "the hour's cost less what was used of it, when it was allotted", (charged,)
        )
    unused = facts.hour.cost_nanos - facts.hour.used_nanos
    text = "the hour's cost less what was used of it"
    figures: Figures = (("unused in the hour", money_text(unused, facts.currency)),)
    if unused != facts.nanos and facts.commitment:
        active_ms = facts.commitment.active_ms(facts.window_ms)
        exact = Fraction(unused * (facts.end_ms - facts.start_ms), max(active_ms, 1))
        text += "; two billing days share the hour, and divide it by their time in it"
        figures = (*figures, ("rounding", rounding_text(facts.nanos, exact)))
    return ExplanationStep("Money", text, (*figures, charged))


def _name(one: Commitment) -> str:
    named = f" ({one.name})" if one.name else ""
    return f"the {one.kind.value.replace('_', ' ')} {one.commitment}{named}"


def _promise(one: Commitment) -> str:
    if one.unit is CommitmentUnit.SPEND_HOUR:
        return f"{plain_amount(one.quantity)} {one.currency} an hour are promised to be spent"
    unit = "GPU" if one.unit is CommitmentUnit.GPU_HOUR else "node"
    bought = f"{unit} is" if one.quantity == 1 else f"{unit}s are"
    return f"{plain_amount(one.quantity)} {bought} bought for the whole term, used or not"


def _terms(one: Commitment) -> Figures:
    scope = ", ".join(one.clusters) if one.clusters else "all clusters of the account"
    return (
        ("price id", id_text(one.price_id)),
        ("term", f"{instant_text(one.term_start_ms)} to {instant_text(one.term_end_ms)}"),
        ("upfront", f"{plain_amount(one.upfront)} {one.currency}"),
        ("recurring", f"{plain_amount(one.recurring_per_hour)} {one.currency} an hour"),
        ("counts for", scope),
        ("source", one.source or "not said"),
    )


def _costs(one: Commitment, window_ms: int, currency: str) -> Figures:
    upfront, cost = one.upfront_nanos(window_ms), one.cost_nanos(window_ms)
    return (
        ("upfront share of the hour", money_text(upfront, currency)),
        ("recurring in the hour", money_text(cost - upfront, currency)),
        ("cost of the hour", money_text(cost, currency)),
    )


def _hour(one: Commitment, hour: CommittedHour, currency: str) -> Figures:
    spread = (
        "the same fraction of every pool that fits"
        if one.allotment is AllotmentRule.BLENDED
        else "cluster after cluster"
    )
    fraction = "none, as nothing fitted"
    if hour.eligible_ms:
        fraction = f"{hour.covered_ms / hour.eligible_ms:.4%}, {spread}"
    if one.unit is CommitmentUnit.SPEND_HOUR:
        used, committed = (f"{plain_amount(from_nanos(n))}" for n in (hour.used, hour.committed))
        unit = one.currency
    else:
        used, committed = seconds_text(hour.used), seconds_text(hour.committed)
        unit = "GPU-seconds" if one.unit is CommitmentUnit.GPU_HOUR else "node-seconds"
    return (
        ("used of the promise", f"{used} of {committed} {unit}"),
        ("eligible", f"{seconds_text(hour.eligible_ms)} GPU-seconds"),
        ("covered", f"{seconds_text(hour.covered_ms)} GPU-seconds"),
        ("fraction covered", fraction),
        ("used cost", money_text(hour.used_nanos, currency)),
        ("unused cost", money_text(hour.cost_nanos - hour.used_nanos, currency)),
    )
