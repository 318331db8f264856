"""Why a first-hand charge is what it is: from the line down to the price, the hold, the samples."""

from collections.abc import Iterator
from dataclasses import dataclass

from app.attribution.charges import ChargeKind, LineStep
from app.attribution.explanation import (
    Explanation,
    ExplanationStep,
    Versions,
    instant_text,
    money_text,
    seconds_text,
    versions_step,
)
from app.attribution.hold_explanation import (
    ExplainedHold,
    ExplainedUsage,
    activity_step,
    hold_step,
)
from app.attribution.owners import OwnerSpan
from app.attribution.price_explanation import (
    AppliedPrice,
    EnergyPrice,
    kwh_text,
    money_step,
    price_step,
    split_step,
)
from app.attribution.traced import TracedLine
from app.units.identity import id_text
from app.usage.share_policies import SharePolicy

_MEANING = {
    ChargeKind.USED: "were held and active",
    ChargeKind.IDLE: "were held and not active",
    ChargeKind.UNMEASURED: "were held, and no sample says what they did,",
    ChargeKind.UNALLOCATED: "could be held and were held by nobody",
    ChargeKind.STRANDED: "could not be held, as unhealthy, not advertised or left over,",
    ChargeKind.UNOBSERVED: "have no known holder, as no source says who held it,",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class ExplainedSpan:
    """One row of the pool's usage in the window."""

    start_ms: int
    end_ms: int
    devices: int
    held_ms: int
    unallocated_ms: int
    stranded_ms: int
    unobserved_ms: int
    claimed_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Coverage:
    """How many samples of a family were there of those expected, and the query that asked."""

    source: str
    family: str
    expected: int
    seen: int
    query: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ChargeFacts:
    """A charge and everything that it rests on; None where there is no such thing.

    ``policies`` are those of shares: what counts at the charge's beginning, then each change.
    ``line`` are the charge's segments, None where today's facts do not give the charge.
    """

    charge_id: int
    kind: ChargeKind
    step: LineStep = LineStep.FIRST_HAND
    window_start_ms: int
    start_ms: int
    end_ms: int
    cluster: str
    node: str
    gpu_model: str
    team: str
    gpu_ms: int
    cost_nanos: int | None
    currency: str
    owner: OwnerSpan | None
    hold: ExplainedHold | None
    policies: tuple[SharePolicy, ...]
    usage: ExplainedUsage | None
    spans: tuple[ExplainedSpan, ...]
    price: AppliedPrice
    line: TracedLine | None
    coverage: tuple[Coverage, ...]
    notes: tuple[str, ...]
    versions: Versions


def explain(facts: ChargeFacts) -> Explanation:
    """Return why the charge is what it is."""
    if facts.step is LineStep.CARD_VARIANCE:
        return _variance(facts)
    steps = [_charge(facts), _payer(facts)]
    if facts.hold:
        steps.append(hold_step(facts.hold, facts.policies))
    if facts.usage:
        steps.append(activity_step(facts.usage))
    steps += [
        _pool(facts),
        price_step(facts.price, facts.currency),
        money_step(facts.price, facts.gpu_ms, facts.cost_nanos, facts.line, facts.currency),
        split_step(facts.line, facts.cost_nanos, facts.currency),
        _coverage(facts),
        versions_step(facts.versions),
    ]
    return Explanation(facts.charge_id, tuple(steps))


def _charge(facts: ChargeFacts) -> ExplanationStep:
    cost = "no price" if facts.cost_nanos is None else money_text(facts.cost_nanos, facts.currency)
    what = _MEANING.get(facts.kind, f"are {facts.kind.name}")
    model = facts.gpu_model or "an unknown GPU model"
    if isinstance(facts.price, EnergyPrice):
        energy = kwh_text(facts.line.measure) if facts.line else "energy"
        subject = f"{energy} for {model} on {facts.node} in {facts.cluster}, which"
    else:
        subject = f"{seconds_text(facts.gpu_ms)} GPU-seconds of {model} on {facts.node}"
        subject += f" in {facts.cluster}"
    return ExplanationStep(
        "Charge",
        f"{subject} {what} between {instant_text(facts.start_ms)} and"
        f" {instant_text(facts.end_ms)}: {cost}",
        (
            ("charge", id_text(facts.charge_id)),
            ("kind", facts.kind.name.lower()),
            ("window", instant_text(facts.window_start_ms)),
        ),
    )


def _payer(facts: ChargeFacts) -> ExplanationStep:
    because = facts.owner.because if facts.owner else "no contract says who owns it"
    if facts.owner and facts.owner.contested:
        because = f"{' and '.join(facts.owner.contested)} claim it equally: {because}"
    elif (claim := because.removeprefix(f"{facts.team} by ")) != because:
        because = f"the contract gives it {claim}"
    return ExplanationStep("Team", f"{facts.team or 'nobody'}, since {because}")


def _pool(facts: ChargeFacts) -> ExplanationStep:
    figures = tuple(
        (f"{instant_text(span.start_ms)} to {instant_text(span.end_ms)}", ", ".join(_states(span)))
        for span in facts.spans
    )
    return ExplanationStep("Pool", "what all devices of the pool did in the window", figures)


def _states(span: ExplainedSpan) -> Iterator[str]:
    yield f"{span.devices} devices"
    for name, ms in (
        ("held", span.held_ms),
        ("unallocated", span.unallocated_ms),
        ("stranded", span.stranded_ms),
        ("unobserved", span.unobserved_ms),
    ):
        if ms:
            yield f"{name} {seconds_text(ms)}"
    if span.claimed_ms > span.held_ms:
        yield f"claimed {seconds_text(span.claimed_ms)}"


def _coverage(facts: ChargeFacts) -> ExplanationStep:
    figures = [
        (f"{one.source} {one.family}", f"{one.seen} of {one.expected} samples. {one.query}".strip())
        for one in facts.coverage
    ]
    figures += [("note", note) for note in facts.notes]
    return ExplanationStep("Coverage", "what the sources answered for the window", tuple(figures))


def _variance(facts: ChargeFacts) -> Explanation:
    """Return why a pool's variance of the rate card is what it is."""
    nanos = facts.cost_nanos or 0
    charged = ("charged", money_text(nanos, facts.currency))
    sides: tuple[tuple[str, str], ...] = ()
    if facts.line is not None:
        sides = (
            ("actual cost", money_text(facts.line.actual_nanos, facts.currency)),
            ("teams pay by the rate card", money_text(facts.line.card_nanos, facts.currency)),
        )
    charge = ExplanationStep(
        "Charge",
        f"what {facts.gpu_model or 'an unknown GPU model'} on {facts.node} in {facts.cluster} cost"
        f" between {instant_text(facts.start_ms)} and {instant_text(facts.end_ms)} less what the"
        f" rate card charged for it: {money_text(nanos, facts.currency)}",
        (
            ("charge", id_text(facts.charge_id)),
            ("kind", "adjustment, the variance of the rate card"),
            ("window", instant_text(facts.window_start_ms)),
        ),
    )
    money = ExplanationStep(
        "Money",
        "actual cost less the card's charges, of the pool as a whole, so that the ledger sums to"
        " what the pool cost; below zero where the card charged more",
        (*sides, charged),
    )
    return Explanation(
        facts.charge_id,
        (
            charge,
            ExplanationStep(
                "Team",
                f"{facts.team or 'nobody'}, since the difference to the card is the platform's",
            ),
            ExplanationStep(
                "Policy", "rating: rate_card, as the contract says: teams pay the card"
            ),
            _pool(facts),
            money,
            versions_step(facts.versions),
        ),
    )
