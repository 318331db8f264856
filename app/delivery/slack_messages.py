"""What Slack messages say: one about a finding, or a summary of many."""

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import assert_never

from slack_sdk.models.blocks import (
    Block,
    ContextBlock,
    HeaderBlock,
    MarkdownTextObject,
    PlainTextObject,
    SectionBlock,
)

from app.chargeback.rounding import currency_decimals, rounded_amount
from app.findings.states import TrackedFinding
from app.findings.values import Finding, FindingKind, FindingState
from app.units.identity import id_text
from app.units.window import HOUR_MS, from_ms

# More than this from one run to one channel become one summary.
MOST_SINGLE_MESSAGES = 5
# Lines of a summary: the worst ones. With 300 characters a line it stays far below the 13,000
# characters at which Slack refuses a message, and below the 3,000 of one block in two blocks.
_SUMMARY_LINES = 10
_LINES_PER_BLOCK = 5
_LONGEST_NAME = 80
# Ages below two days are told in hours.
_SHOWN_IN_HOURS = 48
# Slack refuses a longer header.
_LONGEST_HEADER = 150


@dataclass(frozen=True, slots=True)
class SlackMessage:
    """A message and its plain text for notifications, and the announcements that it makes."""

    text: str
    blocks: tuple[Block, ...]
    announcement_ids: tuple[int, ...]


def finding_messages(
    entries: Sequence[TrackedFinding], *, currency: str, public_url: str
) -> tuple[SlackMessage, ...]:
    """Return what one channel is told about ``entries``, the worst first.

    One message a finding, or one summary if there are more than `MOST_SINGLE_MESSAGES`.
    """
    ranked = sorted(entries, key=_rank)
    if len(ranked) > MOST_SINGLE_MESSAGES:
        return (_summary(ranked, currency, public_url),)
    return tuple(_single(entry, currency, public_url) for entry in ranked)


def _rank(entry: TrackedFinding) -> tuple[bool, int, int, int]:
    finding = entry.finding
    nanos = finding.wasted_nanos
    return nanos is None, -(nanos or 0), -finding.wasted_gpu_ms, finding.finding_id


def _single(entry: TrackedFinding, currency: str, public_url: str) -> SlackMessage:
    finding = entry.finding
    headline = f"{_again(entry)}{_headline(finding)}"
    money = _money_sentence(finding, currency)
    fields = (
        ("Who pays", _owner(finding.subject.team)),
        (_since_word(finding.kind), _since(finding)),
        ("Where", _where(finding)),
        (_why_word(finding.kind), _evidence(finding)),
    )
    blocks: tuple[Block, ...] = (
        HeaderBlock(text=PlainTextObject(text=_clip(headline, _LONGEST_HEADER), emoji=False)),
        SectionBlock(text=_markdown(money)),
        SectionBlock(fields=[_markdown(f"*{name}*\n{value}") for name, value in fields]),
        SectionBlock(text=_markdown(_what_to_do(finding))),
        ContextBlock(elements=[_markdown(_link(public_url))]),
    )
    text = f"{_escape(headline)}. {money} Who pays: {_owner(finding.subject.team)}."
    return SlackMessage(text.replace("*", ""), blocks, (entry.announcement_id,))


def _summary(ranked: Sequence[TrackedFinding], currency: str, public_url: str) -> SlackMessage:
    findings = [entry.finding for entry in ranked]
    priced = [finding for finding in findings if finding.wasted_nanos is not None]
    wasted = sum(finding.wasted_nanos or 0 for finding in priced)
    daily = sum(finding.per_day_nanos or 0 for finding in priced)
    headline = f"{len(findings)} findings of wasted GPU time"
    money = (
        f"*{_money(wasted, currency)}* wasted in {_span(findings[0])}, "
        f"about *{_money(daily, currency)} a day* if nothing changes."
    )
    if len(priced) < len(findings):
        money += f" {len(findings) - len(priced)} of them have no price and are not in the sum."
    lines = [_line(entry, currency) for entry in ranked[:_SUMMARY_LINES]]
    parts = [
        "\n".join(lines[first : first + _LINES_PER_BLOCK])
        for first in range(0, len(lines), _LINES_PER_BLOCK)
    ]
    rest = len(findings) - len(lines)
    more = f"And {rest} more. " if rest else ""
    how = f"{more}List them all: `gpuledger findings list`. If one is known or wanted: {_how('ID')}"
    blocks: tuple[Block, ...] = (
        HeaderBlock(text=PlainTextObject(text=headline, emoji=False)),
        SectionBlock(text=_markdown(money)),
        *(SectionBlock(text=_markdown(part)) for part in parts),
        SectionBlock(text=_markdown(how)),
        ContextBlock(elements=[_markdown(_link(public_url))]),
    )
    text = f"{headline}: {money}".replace("*", "")
    return SlackMessage(text, blocks, tuple(entry.announcement_id for entry in ranked))


def _line(entry: TrackedFinding, currency: str) -> str:
    finding = entry.finding
    cost = "no price" if finding.wasted_nanos is None else _money(finding.wasted_nanos, currency)
    headline = _escape(f"{_again(entry)}{_headline(finding)}")
    return (
        f"• *{cost}* · {headline} · {_owner(finding.subject.team)} "
        f"· `{id_text(finding.finding_id)}`"
    )


def _again(entry: TrackedFinding) -> str:
    if entry.state is FindingState.REGRESSED:
        return "Back again: "
    return "Still there: " if entry.episode > 1 else ""


def _headline(finding: Finding) -> str:
    subject = finding.subject
    match finding.kind:
        case FindingKind.IDLE_HOLD:
            pod = f"{_name(subject.namespace)}/{_name(subject.pod)}"
            return f"{pod} keeps {_gpus(finding, 'held_gpus')} idle"
        case FindingKind.UNALLOCATED_POOL:
            free = _figure(finding, "unallocated_ratio")
            gpus = _gpus(finding, "devices")
            return f"Node {_name(subject.node)}: nobody held {free:.0%} of its {gpus}"
        case FindingKind.GATEWAY_RATIO:
            service = f"{_name(subject.namespace)}/{_name(subject.workload)}"
            seen = _figure(finding, "gateway_to_engine_ratio")
            return f"{service}: gateways counted {seen:.0%} of its tokens"
        case _:
            assert_never(finding.kind)


def _money_sentence(finding: Finding, currency: str) -> str:
    gpu_hours = f"{finding.wasted_gpu_ms / HOUR_MS:,.1f} GPU-hours"
    if finding.kind is FindingKind.GATEWAY_RATIO:
        return f"Consumers share its cost by doubtful tokens in {_span(finding)}."
    if finding.wasted_nanos is None or finding.per_day_nanos is None:
        return f"*{gpu_hours}* wasted in {_span(finding)}; no price covers them."
    return (
        f"*{_money(finding.wasted_nanos, currency)}* ({gpu_hours}) wasted in {_span(finding)}, "
        f"about *{_money(finding.per_day_nanos, currency)} a day* if nothing changes."
    )


def _money(nanos: int, currency: str) -> str:
    rounded = rounded_amount(nanos, currency)
    if nanos > 0 and rounded == 0:
        smallest = Decimal(1).scaleb(-currency_decimals(currency))
        return f"less than {smallest} {currency}"
    return f"{rounded:,f} {currency}"


def _span(finding: Finding) -> str:
    hours = finding.window.length_ms // HOUR_MS
    return f"the {hours} hours until {finding.window.end:%Y-%m-%d %H:%M} UTC"


def _since_word(kind: FindingKind) -> str:
    match kind:
        case FindingKind.IDLE_HOLD:
            return "Held since"
        case FindingKind.UNALLOCATED_POOL:
            return "Unallocated since"
        case FindingKind.GATEWAY_RATIO:
            return "Seen since"
        case _:
            assert_never(kind)


def _why_word(kind: FindingKind) -> str:
    return "What was counted" if kind is FindingKind.GATEWAY_RATIO else "Why it counts as waste"


def _since(finding: Finding) -> str:
    hours = (finding.window.end_ms - finding.since_ms) / HOUR_MS
    age = f"{hours:.0f} hours" if hours < _SHOWN_IN_HOURS else f"{hours / 24:.1f} days"
    return f"{from_ms(finding.since_ms):%Y-%m-%d %H:%M} UTC, {age}"


def _where(finding: Finding) -> str:
    subject = finding.subject
    if not subject.node:
        return f"cluster `{_code(subject.cluster)}`, `{_code(subject.workload)}`"
    place = f"node `{_code(subject.node)}`, cluster `{_code(subject.cluster)}`"
    return f"{place}, `{_code(subject.workload)}`" if subject.workload else place


def _evidence(finding: Finding) -> str:
    figures = {figure.name: figure.value for figure in finding.evidence}
    match finding.kind:
        case FindingKind.IDLE_HOLD:
            memory = figures.get("memory_used_max_mib")
            used = (
                "" if memory is None else f"; at most {memory / 1024:,.1f} GiB of its memory used"
            )
            return (
                f"{figures['low_activity_ratio']:.0%} of the measured time at 5% activity or less"
                f"{used} ({figures['measured_ratio']:.0%} of the time was measured)"
            )
        case FindingKind.UNALLOCATED_POOL:
            return (
                f"{figures['unallocated_ratio']:.0%} of the GPU time could have been taken, "
                f"{figures['held_ratio']:.0%} was held"
            )
        case FindingKind.GATEWAY_RATIO:
            return (
                f"{figures['gateway_tokens']:,.0f} tokens went through gateways, its engines "
                f"counted {figures['engine_tokens']:,.0f}"
            )
        case _:
            assert_never(finding.kind)


def _figure(finding: Finding, name: str) -> float:
    return next(figure.value for figure in finding.evidence if figure.name == name)


def _gpus(finding: Finding, name: str) -> str:
    count = _figure(finding, name)
    return f"{count:.2f}".rstrip("0").rstrip(".") + f" × {finding.subject.gpu_model}"


def _owner(team: str) -> str:
    if team in ("", "unowned"):
        return "unowned, no team claims it"
    return _escape(_name(team))


def _what_to_do(finding: Finding) -> str:
    match finding.kind:
        case FindingKind.IDLE_HOLD:
            first = "Stop the pod or scale its workload down"
        case FindingKind.UNALLOCATED_POOL:
            first = "Remove the node, let the autoscaler take it, or give its GPUs to a queue"
        case FindingKind.GATEWAY_RATIO if _figure(finding, "gateway_to_engine_ratio") < 1:
            first = "Find who calls the service without a gateway, or scrape all gateway replicas"
        case FindingKind.GATEWAY_RATIO:
            first = "Look for tokens that are counted twice, or for a model of the same name"
        case _:
            assert_never(finding.kind)
    return f"*What to do*\n{first}. If it is known or wanted: {_how(id_text(finding.finding_id))}"


def _how(finding_id: str) -> str:
    return f"`gpuledger findings ack {finding_id}` (or `snooze`, `dismiss`)."


def _link(public_url: str) -> str:
    return f"<{public_url}|Dashboard> · Each finding is sent once."


def _markdown(text: str) -> MarkdownTextObject:
    # Names are not to become links or mentions.
    return MarkdownTextObject(text=text, verbatim=True)


def _name(text: str) -> str:
    return _clip(text, _LONGEST_NAME)


def _clip(text: str, longest: int) -> str:
    return text if len(text) <= longest else f"{text[: longest - 1]}…"


def _code(text: str) -> str:
    return _escape(_name(text)).replace("`", "'")


def _escape(text: str) -> str:
    # The three characters that Slack reads as control characters, by its documentation.
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
