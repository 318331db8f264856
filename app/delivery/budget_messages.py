"""What Slack messages say about budgets: one a team and period, with the highest threshold."""

from collections.abc import Sequence
from dataclasses import dataclass

from slack_sdk.models.blocks import (
    Block,
    ContextBlock,
    HeaderBlock,
    MarkdownTextObject,
    PlainTextObject,
    SectionBlock,
)

from app.chargeback.rounding import rounded_amount
from app.delivery.slack_messages import SlackMessage
from app.planning.budgets import BudgetBasis, Crossing

# Slack refuses a longer header.
_LONGEST_HEADER = 150
_LONGEST_NAME = 80


@dataclass(frozen=True, slots=True)
class Announcement:
    """A threshold that was reached in a period, and the identity under which it is announced."""

    announcement_id: int
    period: str
    crossing: Crossing


def budget_messages(
    entries: Sequence[Announcement], *, currency: str, public_url: str
) -> tuple[SlackMessage, ...]:
    """Return what one channel is told: of thresholds reached together only the highest."""
    teams: dict[tuple[str, str], list[Announcement]] = {}
    for entry in entries:
        teams.setdefault((entry.crossing.team, entry.period), []).append(entry)
    return tuple(_message(teams[key], currency, public_url) for key in sorted(teams))


def _message(entries: Sequence[Announcement], currency: str, public_url: str) -> SlackMessage:
    spent = [one for one in entries if one.crossing.basis is BudgetBasis.SPENT]
    highest = max(spent or entries, key=lambda one: one.crossing.threshold)
    crossing, period = highest.crossing, highest.period
    money = f"{rounded_amount(crossing.nanos, currency):,} {currency}"
    budget = f"{rounded_amount(crossing.budget_nanos, currency):,} {currency}"
    used = round(100 * crossing.nanos / crossing.budget_nanos)
    name = crossing.team[:_LONGEST_NAME]
    if crossing.basis is BudgetBasis.SPENT:
        headline = f"{name} has spent {used}% of its GPU budget of {period}"
        said = f"{money} of {budget}."
    else:
        headline = f"{name} will spend more than its GPU budget of {period}"
        said = f"The forecast is {money}, {used}% of {budget}."
    todo = f"`gpuledger costs --group-by workload --filter team={name}` shows what it is spent on."
    blocks: tuple[Block, ...] = (
        HeaderBlock(text=PlainTextObject(text=headline[:_LONGEST_HEADER], emoji=False)),
        SectionBlock(text=MarkdownTextObject(text=f"{said}\n*What to do*\n{_escaped(todo)}")),
        ContextBlock(
            elements=[
                MarkdownTextObject(
                    text=f"<{public_url}|Dashboard> · Each threshold is told once a period."
                )
            ]
        ),
    )
    return SlackMessage(
        text=f"{headline}: {said}",
        blocks=blocks,
        announcement_ids=tuple(one.announcement_id for one in entries),
    )


def _escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
