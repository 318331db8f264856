from datetime import timedelta

import pytest
from sqlalchemy import Engine

from app.delivery.slack import SlackUnreachableError
from app.delivery.slack_messages import SlackMessage
from app.findings.values import FindingState, WastePolicy
from app.store.findings import FindingStore
from app.units.window import to_ms
from app.workflows.notifying import Notified, notify
from app.workflows.rating import rate_window
from app.workflows.waste import Detected, NothingCollectedError, detect
from tests.store.builders import CLUSTER, NOON
from tests.workflows.stored import UTC_ZONE, collect, contract, prices, span

POLICY = WastePolicy(idle_minimum_held_hours=3.0, unallocated_minimum_hours=3.0)
END = NOON + timedelta(hours=4)


def _detect(engine: Engine, hours: int = 4) -> Detected:
    return detect(END, engine=engine, policy=POLICY, evidence_hours=hours)


def _rated(engine: Engine, hours: int = 4) -> None:
    collect(engine, hours=hours)
    prices(engine)
    contract(engine)
    rate_window(CLUSTER, span(hours), engine=engine, billing_zone=UTC_ZONE)


class Channel:
    """Takes messages, or fails as Slack does."""

    def __init__(self, *, broken: bool = False) -> None:
        self.broken = broken
        self.messages: list[tuple[str, str]] = []

    def send(self, message: SlackMessage, channel: str) -> None:
        if self.broken:
            text = "Slack did not answer."
            raise SlackUnreachableError(text, hint="")
        self.messages.append((channel, message.text))


def _notify(engine: Engine, channel: Channel) -> Notified:
    return notify(
        engine=engine,
        send=channel.send,
        default_channel="#gpu-waste",
        currency="USD",
        public_url="http://127.0.0.1:8080",
        at_ms=to_ms(END),
    )


def test_an_idle_hold_and_an_unallocated_pool_are_found_with_their_money(database: Engine) -> None:
    _rated(database)

    found = _detect(database)

    with database.connect() as connection:
        findings = FindingStore(connection).within()
    money = {one.finding.kind.value: one.finding.wasted_nanos for one in findings}
    assert found.found == 2
    # 2 GPUs and 6 GPUs for 4 hours at 3.00.
    assert money == {"idle_hold": 24_000_000_000, "unallocated_pool": 72_000_000_000}


def test_half_the_evidence_is_no_evidence(database: Engine) -> None:
    _rated(database, hours=3)

    with pytest.raises(NothingCollectedError, match="collected and rated"):
        _detect(database)


def test_findings_go_to_their_teams_channel_once(database: Engine) -> None:
    _rated(database)
    _detect(database)
    channel = Channel()

    first, second = _notify(database, channel), _notify(database, channel)

    assert (first.sent, second.sent) == (2, 0)
    assert sorted(name for name, _ in channel.messages) == ["#gpu-waste", "#search-gpu"]


def test_a_message_that_failed_goes_out_with_the_next_run(database: Engine) -> None:
    _rated(database)
    _detect(database)

    broken = _notify(database, Channel(broken=True))
    channel = Channel()
    mended = _notify(database, channel)

    assert (broken.sent, len(broken.failures)) == (0, 2)
    assert mended.sent == 2


def test_the_same_detection_again_announces_nothing(database: Engine) -> None:
    _rated(database)
    _detect(database)
    _notify(database, Channel())

    again = _detect(database)

    assert again.to_announce == 0
    assert _notify(database, Channel()).sent == 0
    with database.connect() as connection:
        states = {one.state for one in FindingStore(connection).within()}
    assert states == {FindingState.OPEN}
