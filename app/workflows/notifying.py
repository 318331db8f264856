"""Tell each team's channel once what it should know: findings, and budgets that were reached."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from sqlalchemy import Connection, Engine

from app.attribution.contract import Team
from app.delivery.budget_messages import Announcement, budget_messages
from app.delivery.slack import SlackError
from app.delivery.slack_messages import SlackMessage, finding_messages
from app.findings.states import TrackedFinding
from app.findings.values import FindingState
from app.store.budgets import BudgetStore
from app.store.findings import FindingStore
from app.store.messages import MessageStore
from app.units.identity import hash64, id_text
from app.units.window import HOUR_MS
from app.workflows.rating import current_terms

# What is announced; the others were decided on by a person or are over.
_ANNOUNCED = (FindingState.OPEN, FindingState.REGRESSED)
# A threshold that could not be told for longer than this is no news.
_BUDGETS_TOLD_MS = 7 * 24 * HOUR_MS


@dataclass(frozen=True, slots=True, kw_only=True)
class Notified:
    """How many messages went out, and why others did not."""

    sent: int
    failures: tuple[str, ...]


def notify(
    *,
    engine: Engine,
    send: Callable[[SlackMessage, str], None],
    default_channel: str,
    currency: str,
    public_url: str,
    at_ms: int,
) -> Notified:
    """Announce what nobody was told of yet; ``send`` takes a message and its channel.

    A message is claimed and committed before it is sent, so that it goes out once even if two
    workers look at the same time; one that fails is tried again by the next run.
    """
    with engine.begin() as connection:
        entries = FindingStore(connection).within(states=_ANNOUNCED)
        channels = _channels(current_terms(connection).contract.teams)
        by_channel: dict[str, list[TrackedFinding]] = {}
        for entry in entries:
            channel = channels.get(entry.finding.subject.team, default_channel)
            by_channel.setdefault(channel, []).append(entry)
        due = {
            channel: _claim(MessageStore(connection), channel, waiting, at_ms)
            for channel, waiting in sorted(by_channel.items())
        }
        budgets = _claimed_budgets(connection, channels, default_channel, at_ms)
    said: dict[str, list[SlackMessage]] = {}
    for channel, waiting in due.items():
        said.setdefault(channel, []).extend(
            finding_messages(waiting, currency=currency, public_url=public_url)
        )
    for channel, reached in budgets.items():
        said.setdefault(channel, []).extend(
            budget_messages(reached, currency=currency, public_url=public_url)
        )
    sent = 0
    failures: list[str] = []
    for channel, messages in sorted(said.items()):
        for message in messages:
            try:
                send(message, channel)
            except SlackError as error:
                failures.append(str(error))
                _settle(engine, message, failure=str(error), at_ms=at_ms)
            else:
                sent += 1
                _settle(engine, message, failure="", at_ms=at_ms)
    return Notified(sent=sent, failures=tuple(failures))


def _claim(
    store: MessageStore, channel: str, entries: Iterable[TrackedFinding], at_ms: int
) -> tuple[TrackedFinding, ...]:
    by_id: Mapping[int, TrackedFinding] = {entry.announcement_id: entry for entry in entries}
    subjects = {
        key: f"{entry.finding.kind.value} {id_text(entry.finding.finding_id)}"
        for key, entry in by_id.items()
    }
    return tuple(by_id[key] for key in store.claim(subjects, channel=channel, at_ms=at_ms))


def _claimed_budgets(
    connection: Connection, channels: Mapping[str, str], default_channel: str, at_ms: int
) -> dict[str, tuple[Announcement, ...]]:
    """Claim the thresholds of budgets that nobody was told of, by channel."""
    by_channel: dict[str, list[Announcement]] = {}
    for one in BudgetStore(connection).since(at_ms - _BUDGETS_TOLD_MS):
        crossing = one.crossing
        identity = hash64(
            "budget", one.period, crossing.team, crossing.basis.value, str(crossing.threshold)
        )
        channel = channels.get(crossing.team, default_channel)
        by_channel.setdefault(channel, []).append(Announcement(identity, one.period, crossing))
    store = MessageStore(connection)
    claimed: dict[str, tuple[Announcement, ...]] = {}
    for channel, waiting in sorted(by_channel.items()):
        by_id = {one.announcement_id: one for one in waiting}
        subjects = {key: f"budget {one.period}" for key, one in by_id.items()}
        claimed[channel] = tuple(
            by_id[key] for key in store.claim(subjects, channel=channel, at_ms=at_ms)
        )
    return claimed


def _settle(engine: Engine, message: SlackMessage, *, failure: str, at_ms: int) -> None:
    with engine.begin() as connection:
        store = MessageStore(connection)
        for announcement in message.announcement_ids:
            if failure:
                store.failed(announcement, failure)
            else:
                store.sent(announcement, at_ms=at_ms)


def _channels(teams: Iterable[Team]) -> dict[str, str]:
    return {team.name: team.slack for team in teams if team.slack}
