"""Why lines of money only are what they are: credits, and differences to a provider's bill."""

from dataclasses import dataclass
from fractions import Fraction

from app.attribution.explanation import (
    Explanation,
    ExplanationStep,
    Figures,
    Versions,
    exact_text,
    instant_text,
    money_text,
    rounding_text,
    span_figures,
    versions_step,
)
from app.attribution.price_parts import term_parts
from app.attribution.redistribution import BillingDay
from app.attribution.true_up import DayState
from app.pricing.credits import Credit
from app.pricing.rows import plain_amount
from app.units.identity import id_text


@dataclass(frozen=True, slots=True, kw_only=True)
class CreditFacts:
    """A day's line of a credit; ``credit`` is None where no version has it."""

    charge_id: int
    credit: Credit | None
    day: BillingDay
    team: str
    nanos: int
    currency: str
    versions: Versions


@dataclass(frozen=True, slots=True, kw_only=True)
class BilledRow:
    """A part of a provider's row that is of one node's day."""

    bill: str
    number: int
    resource: str
    service: str
    start_ms: int
    end_ms: int
    nanos: int


@dataclass(frozen=True, slots=True, kw_only=True)
class TrueUpFacts:
    """A line of the true-up of a node's day.

    ``difference`` is what all lines of the node's day come to. ``weight`` of ``weight_sum`` are
    first-hand nanos by which it is spread, 0 of 0 where one team pays it. ``rows`` are the largest
    of ``row_count``. ``agrees`` is false where the bills or lines of today give another line.
    """

    charge_id: int
    day: BillingDay
    cluster: str
    node: str
    namespace: str
    gpu_model: str
    team: str
    nanos: int
    currency: str
    policy: str
    provider_nanos: int
    pool_nanos: int
    state: DayState
    weight: int
    weight_sum: int
    rows: tuple[BilledRow, ...]
    row_count: int
    agrees: bool
    versions: Versions

    @property
    def difference(self) -> int:
        """What the provider charged beyond the pool's cost."""
        return self.provider_nanos - self.pool_nanos


def explain_credit(facts: CreditFacts) -> Explanation:
    """Return why a credit gives back on a day what it does."""
    one = facts.credit
    name = f"the credit {one.name}" if one else "a credit that no version has"
    steps = [
        ExplanationStep(
            "Charge",
            f"what {name} gives back on {day_text(facts.day)}:"
            f" {money_text(facts.nanos, facts.currency)}",
            (("charge", id_text(facts.charge_id)), ("kind", "adjustment, a credit")),
        ),
        ExplanationStep("Team", f"{facts.team or 'nobody'}, since {_credit_owner(one)}"),
    ]
    if one is not None:
        steps.append(_credit(one, facts.currency))
    steps += [_credit_money(facts), versions_step(facts.versions)]
    return Explanation(facts.charge_id, tuple(steps))


def explain_true_up(facts: TrueUpFacts) -> Explanation:
    """Return why a node's day is trued up by this line."""
    return Explanation(
        facts.charge_id,
        (
            ExplanationStep(
                "Charge",
                f"the difference between what the provider charged for {facts.node} in"
                f" {facts.cluster} on {day_text(facts.day)} and what its pools cost first-hand:"
                f" {money_text(facts.nanos, facts.currency)}",
                (
                    ("charge", id_text(facts.charge_id)),
                    ("kind", "true_up"),
                    ("GPU model", facts.gpu_model or "unknown"),
                    *((("namespace", facts.namespace),) if facts.namespace else ()),
                ),
            ),
            _true_up_owner(facts),
            _bill(facts),
            _true_up_money(facts),
            versions_step(facts.versions),
        ),
    )


def day_text(day: BillingDay) -> str:
    """Return a billing day in words, in UTC."""
    return f"the billing day from {instant_text(day.start_ms)} to {instant_text(day.end_ms)}"


def _credit_owner(one: Credit | None) -> str:
    if one is not None and one.team:
        return "the credit is given to it"
    return "a credit of no team is the platform team's"


def _credit(one: Credit, currency: str) -> ExplanationStep:
    reason = f": {one.reason}" if one.reason else ""
    return ExplanationStep(
        "Credit",
        f"{plain_amount(one.amount)} {one.currency} given back evenly over its span{reason}",
        (
            ("credit id", id_text(one.credit_id)),
            *span_figures(one.valid_from_ms, one.valid_to_ms),
            *term_parts(one.rate, (), currency),
            ("whole credit", money_text(one.nanos, currency)),
        ),
    )


def _credit_money(facts: CreditFacts) -> ExplanationStep:
    charged = ("charged", money_text(facts.nanos, facts.currency))
    one = facts.credit
    if one is None:
        return ExplanationStep("Money", "what the credit gave when the day was made", (charged,))
    span_ms = one.valid_to_ms - one.valid_from_ms
    inside = min(facts.day.end_ms, one.valid_to_ms) - max(facts.day.start_ms, one.valid_from_ms)
    exact = -Fraction(one.nanos * inside, span_ms)
    return ExplanationStep(
        "Money",
        "the credit's part for the day's time in its span, below zero; days are rounded so that"
        " they sum to the credit",
        (
            ("time in the span", f"{inside / span_ms:.6%}"),
            ("exact", exact_text(exact, facts.currency)),
            charged,
            ("rounding", rounding_text(facts.nanos, exact)),
        ),
    )


def _true_up_owner(facts: TrueUpFacts) -> ExplanationStep:
    because = (
        "differences are spread on those who pay the node's lines"
        if facts.policy == "spread"
        else "differences are the platform team's"
    )
    return ExplanationStep(
        "Team",
        f"{facts.team or 'nobody'}, since {because}",
        (("policy", f"true_up: {facts.policy}, as the contract says at the day's beginning"),),
    )


def _bill(facts: TrueUpFacts) -> ExplanationStep:
    if not facts.row_count:
        return ExplanationStep("Bill", "no bill that is stored charges the node for the day")
    shown = "" if facts.row_count <= len(facts.rows) else f"; the {len(facts.rows)} largest"
    rows = "row" if facts.row_count == 1 else "rows"
    figures = tuple(_billed_row(one, facts.currency) for one in facts.rows)
    text = f"EffectiveCost of {facts.row_count} {rows} of the provider's usage of the node{shown}"
    return ExplanationStep("Bill", text, figures)


def _billed_row(one: BilledRow, currency: str) -> tuple[str, str]:
    span = f"{instant_text(one.start_ms)} to {instant_text(one.end_ms)}"
    what = one.resource or one.service
    return f"{one.bill}, row {one.number}", f"{money_text(one.nanos, currency)} for {what}, {span}"


def _true_up_money(facts: TrueUpFacts) -> ExplanationStep:
    charged = ("charged", money_text(facts.nanos, facts.currency))
    sides: Figures = (
        ("provider charged", money_text(facts.provider_nanos, facts.currency)),
        ("pool cost", money_text(facts.pool_nanos, facts.currency)),
        ("difference", money_text(facts.difference, facts.currency)),
    )
    if not facts.agrees:
        return ExplanationStep(
            "Money",
            "provider's charges less first-hand pool cost when the day was made; the figures below"
            " are of what is stored today, and another run will make the line again",
            (*sides, ("state", facts.state.value), charged),
        )
    text = "the provider's charges less the pool's first-hand cost"
    if facts.weight_sum:
        exact = Fraction(facts.difference * facts.weight, facts.weight_sum)
        text += ", spread by first-hand cost"
        part = f"{money_text(facts.weight, facts.currency)} of"
        sides = (
            *sides,
            ("spread by", f"{part} {money_text(facts.weight_sum, facts.currency)}"),
            ("rounding", rounding_text(facts.nanos, exact)),
        )
    return ExplanationStep("Money", text, (*sides, charged))
