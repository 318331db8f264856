"""The loopback Slack accepts and refuses as the real one documents."""

import json

import pytest
from slack_sdk.webhook import WebhookClient

from tests.real.slack import (
    INVALID_BLOCKS,
    INVALID_PAYLOAD,
    NO_SERVICE,
    NO_TEXT,
    OK,
    RATE_LIMITED,
    SlackAnswer,
    SlackServer,
    verdict,
)


def a_section(text: str) -> dict[str, object]:
    return {"type": "section", "text": {"type": "mrkdwn", "text": text}}


def test_a_message_sent_by_the_sdk_is_kept(slack_server: SlackServer) -> None:
    answer = WebhookClient(slack_server.url, timeout=5).send(text="2 GPUs idle")

    assert (answer.status_code, answer.body) == (200, "ok")
    assert slack_server.messages == [{"text": "2 GPUs idle"}]


def test_prepared_answers_come_first_and_keep_nothing(slack_server: SlackServer) -> None:
    slack_server.next_answers += [RATE_LIMITED, NO_SERVICE]
    client = WebhookClient(slack_server.url, timeout=5)

    limited, missing, accepted = (client.send(text="once") for _ in range(3))

    assert (limited.status_code, limited.headers["Retry-After"]) == (429, "1")
    assert (missing.status_code, missing.body) == (404, "no_service")
    assert accepted.status_code == 200
    assert (len(slack_server.messages), len(slack_server.requests)) == (1, 3)


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        ({"text": "hello"}, OK),
        ({"text": ""}, NO_TEXT),
        ([], INVALID_PAYLOAD),
        ({"text": "x", "blocks": [a_section("x" * 3_000)]}, OK),
        ({"text": "x", "blocks": [a_section("x" * 3_001)]}, INVALID_BLOCKS),
        ({"text": "x", "blocks": [a_section("x")] * 50}, OK),
        ({"text": "x", "blocks": [a_section("x")] * 51}, INVALID_BLOCKS),
        ({"text": "x", "blocks": [a_section("")]}, INVALID_BLOCKS),
        ({"text": "x", "blocks": [{"type": "section"}]}, INVALID_BLOCKS),
        ({"text": "x", "blocks": [{"type": "banner"}]}, INVALID_BLOCKS),
        (
            {"text": "x", "blocks": [{"type": "header", "text": {"type": "mrkdwn", "text": "x"}}]},
            INVALID_BLOCKS,
        ),
    ],
)
def test_the_message_decides(message: object, expected: SlackAnswer) -> None:
    assert verdict(json.dumps(message).encode()) == expected


def test_a_body_that_is_no_json_is_refused() -> None:
    assert verdict(b"payload=") == INVALID_PAYLOAD
