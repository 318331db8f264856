"""Look for waste before an instant, and tell each finding's channel about it once."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import Engine

from app.attribution.contract import Team
from app.delivery.slack import SlackError
from app.delivery.slack_messages import SlackMessage, finding_messages
from app.errors import InputError
from app.findings.gateway_ratio import detect_gateway_ratios
from app.findings.idle_hold import detect_idle_holds
from app.findings.states import TrackedFinding, reconcile
from app.findings.unallocated_pool import detect_unallocated_pools
from app.findings.values import Detection, FindingKind, FindingState, WastePolicy
from app.store.findings import FindingStore
from app.store.messages import MessageStore
from app.store.naming import NameStore
from app.store.waste import WasteStore
from app.store.windows import WindowStore
from app.units.identity import id_text
from app.units.window import HOUR_MS, Window, from_ms, to_ms
from app.workflows.rating import current_terms

_DETECTORS = (
    (FindingKind.IDLE_HOLD, WasteStore.idle_holds, detect_idle_holds),
    (FindingKind.UNALLOCATED_POOL, WasteStore.unallocated_pools, detect_unallocated_pools),
    (FindingKind.GATEWAY_RATIO, WasteStore.gateway_ratios, detect_gateway_ratios),
)
# What is announced; the others were decided on by a person or are over.
_ANNOUNCED = (FindingState.OPEN, FindingState.REGRESSED)


class NothingCollectedError(InputError):
    """No hour of the evidence window has been collected and rated."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Detected:
    """What a run of the detectors found in the evidence window of each cluster."""

    window: Window
    found: int
    to_announce: int
    cannot_tell: int
    clusters_without_evidence: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Notified:
    """How many messages went out, and why others did not."""

    sent: int
    failures: tuple[str, ...]


def detect(at: datetime, *, engine: Engine, policy: WastePolicy, evidence_hours: int) -> Detected:
    """Run every detector over the ``evidence_hours`` whole hours before ``at``.

    A cluster of which an hour is missing or unrated is left as it is: half the evidence would
    resolve findings that still stand.
    """
    end = from_ms(to_ms(at) // HOUR_MS * HOUR_MS)
    window = Window(end - timedelta(hours=evidence_hours), end)
    found = announced = unclear = 0
    skipped: list[str] = []
    with engine.begin() as connection:
        store = FindingStore(connection)
        store.lock()
        clusters = sorted(NameStore(connection).clusters().values())
        for cluster in clusters:
            states = WindowStore(connection, cluster).within(window)
            if len(states) < evidence_hours or any(
                state.rated_revision is None for state in states
            ):
                skipped.append(cluster)
                continue
            evidence = WasteStore(connection, cluster)
            for kind, read, run in _DETECTORS:
                detection: Detection = run(read(evidence, window), window, policy)
                known = store.within(kinds=[kind], cluster=cluster)
                result = reconcile(known, detection, at)
                store.put(result.tracked)
                found += len(detection.findings)
                announced += len(result.to_announce)
                unclear += len(detection.cannot_tell)
    if clusters and len(skipped) == len(clusters):
        hours = f"the {evidence_hours} hours before {end:%Y-%m-%d %H:%M} UTC"
        message = f"No cluster has all of {hours} collected and rated."
        raise NothingCollectedError(message, hint="Collect and rate them first.")
    return Detected(
        window=window,
        found=found,
        to_announce=announced,
        cannot_tell=unclear,
        clusters_without_evidence=tuple(skipped),
    )


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
    sent = 0
    failures: list[str] = []
    for channel, waiting in due.items():
        for message in finding_messages(waiting, currency=currency, public_url=public_url):
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
