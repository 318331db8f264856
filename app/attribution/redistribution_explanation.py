"""Why a line of steps 1 and 2 is what it is: from the line to the policy and what was weighed."""

from dataclasses import dataclass
from fractions import Fraction

from app.attribution.charges import ChargeKind
from app.attribution.contract import Policies
from app.attribution.explanation import Explanation, ExplanationStep, charges_text
from app.attribution.redistribution import BillingDay, RedistributionStep, WeightBasis
from app.units.identity import id_text
from app.units.money import from_nanos
from app.units.window import from_ms

_MILLIONTHS = 10**6
_WEIGHED = {
    WeightBasis.PROPORTIONAL: "first-hand cost of used, idle and unmeasured time with the same GPU"
    " model",
    WeightBasis.EVEN: "one for each team with a first-hand cost",
    WeightBasis.FIXED: "the percents of the contract",
    WeightBasis.GPU_SECONDS_HELD: "GPU-seconds held",
    WeightBasis.GPU_SECONDS_ACTIVE: "GPU-seconds used",
    WeightBasis.PODS: "pods that held GPUs",
    WeightBasis.REQUESTS: "requests that its services served",
    WeightBasis.PROMPT_TOKENS: "prompt tokens that its services read",
    WeightBasis.GENERATION_TOKENS: "tokens that its services generated",
    WeightBasis.TOKENS: "weighted tokens",
}
_SECONDS = (WeightBasis.GPU_SECONDS_HELD, WeightBasis.GPU_SECONDS_ACTIVE)


@dataclass(frozen=True, slots=True, kw_only=True)
class WeighedFacts:
    """A line of steps 1 or 2 and all it rests on.

    A debit is its own ``debit_id``. ``debit_nanos`` is what was taken, above zero, from
    ``debit_team``: ``first_hand`` charges, of which ``largest`` are some with their nanos.
    ``cluster`` '' is no single one, ``gpu_model`` '' none in particular.
    """

    charge_id: int
    debit_id: int
    day: BillingDay
    step: RedistributionStep
    kind: ChargeKind | None
    cluster: str
    namespace: str
    gpu_model: str
    team: str
    nanos: int
    debit_nanos: int
    debit_team: str
    currency: str
    basis: WeightBasis
    weight: int
    weight_sum: int
    policies: Policies
    first_hand: int
    largest: tuple[tuple[int, int], ...]
    contract_version: int

    @property
    def is_debit(self) -> bool:
        """Whether the line takes, and not gives."""
        return self.charge_id == self.debit_id


def explain_weighed(facts: WeighedFacts) -> Explanation:
    """Return why a debit or credit of step 1 or 2 is what it is."""
    return Explanation(
        facts.charge_id,
        (
            _charge(facts),
            _policy(facts),
            _share(facts),
            _money(facts),
            _first_hand(facts),
            ExplanationStep(
                "Versions",
                "what the day was redistributed from",
                (("contract", str(facts.contract_version)),),
            ),
        ),
    )


def _charge(facts: WeighedFacts) -> ExplanationStep:
    what = _subject(facts)
    where = f"in {facts.cluster}" if facts.cluster else "over all clusters"
    how = (
        f"is taken from {facts.team or 'nobody'}, who paid for it"
        if facts.is_debit
        else f"is given to {facts.team or 'nobody'}"
    )
    return ExplanationStep(
        "Charge",
        f"a part of {what} {where} on {_day(facts)} {how}: {_amount(facts.nanos, facts)}",
        (
            ("charge", id_text(facts.charge_id)),
            ("kind", f"redistributed, step {int(facts.step)}"),
            ("GPU model", facts.gpu_model or "any"),
        ),
    )


def _subject(facts: WeighedFacts) -> str:
    if facts.kind is None:
        return f"what the platform held in its namespace {facts.namespace}"
    if facts.kind is ChargeKind.COMMITMENT_UNUSED:
        return "commitments that nobody used"
    return f"{facts.kind.name.lower()} GPU time"


def _policy(facts: WeighedFacts) -> ExplanationStep:
    if facts.step is RedistributionStep.NOBODY:
        named = f"unallocated: {facts.policies.unallocated.value}"
    else:
        named = f"shared: {facts.policies.shared.value}"
    teams = facts.policies.teams
    part = ", ".join(teams) if teams else "all teams but the platform's; unowned money has none"
    return ExplanationStep(
        "Policy",
        f"{named}, as the contract says at the day's beginning",
        (("who takes part", part),),
    )


def _share(facts: WeighedFacts) -> ExplanationStep:
    weighed = (("weighed", _WEIGHED[facts.basis]),)
    if facts.is_debit:
        whole = _weight(facts, facts.weight_sum)
        return ExplanationStep(
            "Share", f"all of it, divided by weights that sum to {whole}", weighed
        )
    part = Fraction(facts.weight, facts.weight_sum)
    return ExplanationStep(
        "Share",
        f"{_weight(facts, facts.weight)} of {_weight(facts, facts.weight_sum)}, {float(part):.4%}",
        weighed,
    )


def _weight(facts: WeighedFacts, weight: int) -> str:
    match facts.basis:
        case WeightBasis.PROPORTIONAL:
            return _amount(weight, facts)
        case WeightBasis.FIXED:
            return f"{float(Fraction(weight, _MILLIONTHS)):g} %"
        case basis if basis in _SECONDS:
            return f"{float(Fraction(weight, 1000)):,.3f} s"
        case _:
            return f"{weight:,}"


def _money(facts: WeighedFacts) -> ExplanationStep:
    if facts.is_debit:
        return ExplanationStep(
            "Money",
            "all that was charged first-hand, below zero",
            (("charged", _amount(facts.nanos, facts)),),
        )
    exact = Fraction(facts.debit_nanos * facts.weight, facts.weight_sum)
    return ExplanationStep(
        "Money",
        "first-hand cost × share; the shares of one debit are split so that they sum to it",
        (
            ("debit", id_text(facts.debit_id)),
            ("taken from", facts.debit_team or "nobody"),
            ("first-hand cost", _amount(facts.debit_nanos, facts)),
            ("charged", _amount(facts.nanos, facts)),
            ("rounding", f"{float(facts.nanos - exact):+.3f} nanos"),
        ),
    )


def _first_hand(facts: WeighedFacts) -> ExplanationStep:
    figures = tuple((id_text(one), _amount(nanos, facts)) for one, nanos in facts.largest)
    largest = "" if facts.first_hand <= len(figures) else f"; the {len(figures)} largest"
    return ExplanationStep(
        "First-hand",
        f"what was charged on the day: {charges_text(facts.first_hand)}{largest}",
        figures,
    )


def _day(facts: WeighedFacts) -> str:
    start, end = (from_ms(at_ms) for at_ms in (facts.day.start_ms, facts.day.end_ms))
    return f"the billing day from {start:%Y-%m-%dT%H:%MZ} to {end:%Y-%m-%dT%H:%MZ}"


def _amount(nanos: int, facts: WeighedFacts) -> str:
    return f"{from_nanos(nanos):f} {facts.currency}"
