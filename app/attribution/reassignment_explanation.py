"""Why a redistributed line is what it is: from the line to the tokens and the charges it moves."""

from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction

from app.attribution.consumer_matching import MatchScope
from app.attribution.contract import UNOWNED, TokenWeights
from app.attribution.explanation import Explanation, ExplanationStep, charges_text
from app.attribution.redistribution import BillingDay
from app.units.identity import id_text
from app.units.money import from_nanos
from app.units.window import from_ms
from app.usage.consumers import GatewayConsumer


@dataclass(frozen=True, slots=True, kw_only=True)
class ReassignedFacts:
    """A redistributed line and all it rests on.

    ``consumer`` is None for a debit, whose tokens are those of the whole service. ``weights`` are
    the policy by served model. ``first_hand`` charges cost ``debit_nanos`` together; ``largest``
    are some of them with their nanos. ``coverage`` is seen and expected samples by family.
    """

    charge_id: int
    debit_id: int
    day: BillingDay
    cluster: str
    service: str
    gpu_model: str
    team: str
    consumer: GatewayConsumer | None
    nanos: int
    debit_nanos: int
    debit_team: str
    currency: str
    scope: MatchScope
    prompt_tokens: int
    cached_prompt_tokens: int
    generation_tokens: int
    weighted_tokens: Decimal
    all_weighted_tokens: Decimal
    gateway_tokens: int
    engine_tokens: int | None
    weights: tuple[tuple[str, TokenWeights], ...]
    first_hand: int
    largest: tuple[tuple[int, int], ...]
    coverage: tuple[tuple[str, int, int], ...]
    contract_version: int


def ratio_text(gateway_tokens: int, engine_tokens: int | None) -> str:
    """Return gateway ÷ engine tokens with three decimals; '' where the engine does not count."""
    if not engine_tokens:
        return ""
    return f"{Decimal(round(Fraction(gateway_tokens * 1000, engine_tokens))).scaleb(-3):f}"


def explain_reassigned(facts: ReassignedFacts) -> Explanation:
    """Return why a debit or credit of step 3 is what it is."""
    return Explanation(
        facts.charge_id,
        (
            _charge(facts),
            _payer(facts),
            _tokens(facts),
            _weights(facts),
            _ratio(facts),
            _money(facts),
            _first_hand(facts),
            _coverage(facts),
            ExplanationStep(
                "Versions",
                "what the day was redistributed from",
                (("contract", str(facts.contract_version)),),
            ),
        ),
    )


def _charge(facts: ReassignedFacts) -> ExplanationStep:
    what = (
        "is taken from who paid for it, to be given to its consumers"
        if facts.consumer is None
        else f"is given to {facts.consumer.name}, who sent tokens to it"
    )
    return ExplanationStep(
        "Charge",
        f"a part of the cost of {facts.service} in {facts.cluster} on {_day(facts)} {what}:"
        f" {_amount(facts.nanos, facts)}",
        (
            ("charge", id_text(facts.charge_id)),
            ("kind", "redistributed, step 3"),
            ("GPU model", facts.gpu_model or "unknown"),
        ),
    )


def _payer(facts: ReassignedFacts) -> ExplanationStep:
    who = facts.consumer
    if who is None:
        because = "it was charged for the service's GPU time first-hand"
    elif not who.identified:
        because = f"{who.gateway} knows no identity, so it stays with who paid first-hand"
    elif facts.team == UNOWNED:
        because = f"the contract's map of {who.gateway} has none of its names"
    else:
        because = f"the contract's map of {who.gateway} gives it this consumer"
    told = () if who is None else (("team", who.team), ("key alias", who.key_alias))
    figures = tuple((f"{name} in the gateway", text) for name, text in told if text)
    return ExplanationStep("Team", f"{facts.team or 'nobody'}, since {because}", figures)


def _tokens(facts: ReassignedFacts) -> ExplanationStep:
    how = (
        "the gateway names this service"
        if facts.scope is MatchScope.SERVICE
        else "the gateway does not say which service of the model had them, so that they count for"
        " every service of it, in all clusters"
    )
    return ExplanationStep(
        "Tokens",
        f"what was sent on the day; {how}",
        (
            ("prompt", f"{facts.prompt_tokens:,}"),
            ("of them cached", f"{facts.cached_prompt_tokens:,}"),
            ("generated", f"{facts.generation_tokens:,}"),
        ),
    )


def _weights(facts: ReassignedFacts) -> ExplanationStep:
    figures = tuple(
        (
            f"weights of {model or 'the service'}",
            f"prompt {one.prompt}, cached {one.cached}, generation {one.generation}",
        )
        for model, one in facts.weights
    )
    share = Fraction(facts.weighted_tokens) / Fraction(facts.all_weighted_tokens)
    return ExplanationStep(
        "Share",
        f"{facts.weighted_tokens.normalize():f} of {facts.all_weighted_tokens.normalize():f}"
        f" weighted tokens, {float(share):.4%}",
        figures,
    )


def _ratio(facts: ReassignedFacts) -> ExplanationStep:
    ratio = ratio_text(facts.gateway_tokens, facts.engine_tokens)
    text = (
        f"gateways counted {ratio} times what the engines did"
        if ratio
        else "the engine does not count, so that nobody can compare"
    )
    engine = "not counted" if facts.engine_tokens is None else f"{facts.engine_tokens:,}"
    return ExplanationStep(
        "Ratio",
        f"{text}; the tokens only weigh, they are never scaled",
        (("gateway tokens", f"{facts.gateway_tokens:,}"), ("engine tokens", engine)),
    )


def _money(facts: ReassignedFacts) -> ExplanationStep:
    if facts.consumer is None:
        return ExplanationStep(
            "Money",
            "all that the team was charged first-hand, below zero",
            (("charged", _amount(facts.nanos, facts)),),
        )
    exact = Fraction(facts.debit_nanos) * Fraction(facts.weighted_tokens)
    exact /= Fraction(facts.all_weighted_tokens)
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


def _first_hand(facts: ReassignedFacts) -> ExplanationStep:
    figures = tuple((id_text(one), _amount(nanos, facts)) for one, nanos in facts.largest)
    largest = "" if facts.first_hand <= len(figures) else f"; the {len(figures)} largest"
    return ExplanationStep(
        "First-hand",
        f"used, idle and unmeasured time of the service's pods on the day: "
        f"{charges_text(facts.first_hand)}{largest}",
        figures,
    )


def _coverage(facts: ReassignedFacts) -> ExplanationStep:
    figures = tuple(
        (family, f"{seen} of {expected} samples") for family, seen, expected in facts.coverage
    )
    return ExplanationStep("Coverage", "what the gateways' counters answered on the day", figures)


def _day(facts: ReassignedFacts) -> str:
    start, end = (from_ms(at_ms) for at_ms in (facts.day.start_ms, facts.day.end_ms))
    return f"the billing day from {start:%Y-%m-%dT%H:%MZ} to {end:%Y-%m-%dT%H:%MZ}"


def _amount(nanos: int, facts: ReassignedFacts) -> str:
    return f"{from_nanos(nanos):f} {facts.currency}"
