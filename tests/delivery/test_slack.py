"""Sending to Slack: what it documents, what goes wrong on the way, and the secret address."""

import gc
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from app.delivery.slack import (
    SlackBusyError,
    SlackRefusedError,
    SlackUnreachableError,
    send,
)
from app.delivery.slack_messages import SlackMessage, finding_messages
from tests.findings.builders import a_tracked
from tests.real.slack import (
    ACTION_PROHIBITED,
    CHANNEL_IS_ARCHIVED,
    CHANNEL_NOT_FOUND,
    INVALID_BLOCKS,
    INVALID_PAYLOAD,
    INVALID_TOKEN,
    NO_SERVICE,
    NO_TEXT,
    OK,
    RATE_LIMITED,
    ROLLUP_ERROR,
    SlackAnswer,
    SlackServer,
)


class Pauses:
    """Remembers how long it would have slept."""

    def __init__(self) -> None:
        self.seconds: list[float] = []

    def __call__(self, seconds: float) -> None:
        self.seconds.append(seconds)


def a_message() -> SlackMessage:
    (message,) = finding_messages([a_tracked()], currency="USD", public_url="https://x.example")
    return message


def post(url: str, sleep: Pauses | None = None, timeout_seconds: float = 5.0) -> None:
    send(
        a_message(),
        channel="#gpu",
        webhook_url=url,
        timeout_seconds=timeout_seconds,
        sleep=sleep or Pauses(),
    )


def test_a_message_that_slack_takes_is_sent_once(slack_server: SlackServer) -> None:
    post(slack_server.url)

    (body,) = slack_server.messages
    assert str(body["text"]).startswith("ml-research/notebook-1 keeps 1 ×")
    assert len(slack_server.requests) == 1


def test_a_short_pause_that_slack_asks_for_is_kept(slack_server: SlackServer) -> None:
    slack_server.next_answers = [RATE_LIMITED, OK]
    pauses = Pauses()

    post(slack_server.url, pauses)

    assert pauses.seconds == [1.0]
    assert len(slack_server.messages) == 1


def test_a_long_pause_is_left_to_the_next_run(slack_server: SlackServer) -> None:
    slack_server.next_answers = [SlackAnswer(429, "rate_limited", retry_after_seconds=31)]
    pauses = Pauses()

    with pytest.raises(SlackBusyError) as caught:
        post(slack_server.url, pauses)

    assert caught.value.retry_after_seconds == 31
    assert pauses.seconds == []


def test_a_pause_of_thirty_seconds_is_still_kept(slack_server: SlackServer) -> None:
    slack_server.next_answers = [SlackAnswer(429, "rate_limited", retry_after_seconds=30)]
    pauses = Pauses()

    post(slack_server.url, pauses)

    assert pauses.seconds == [30.0]


def test_server_errors_are_tried_three_times_with_growing_pauses(slack_server: SlackServer) -> None:
    slack_server.next_answers = [ROLLUP_ERROR, SlackAnswer(503, ""), SlackAnswer(502, "<html>")]
    pauses = Pauses()

    with pytest.raises(SlackUnreachableError, match="HTTP 502"):
        post(slack_server.url, pauses)

    assert pauses.seconds == [1.0, 2.0]
    assert len(slack_server.requests) == 3


@pytest.mark.parametrize(
    "answer",
    [
        NO_SERVICE,
        CHANNEL_NOT_FOUND,
        CHANNEL_IS_ARCHIVED,
        ACTION_PROHIBITED,
        INVALID_TOKEN,
        INVALID_PAYLOAD,
        INVALID_BLOCKS,
        NO_TEXT,
    ],
    ids=lambda answer: answer.body,
)
def test_what_slack_refuses_for_good_is_not_sent_again(
    answer: SlackAnswer, slack_server: SlackServer
) -> None:
    slack_server.next_answers = [answer]

    with pytest.raises(SlackRefusedError) as caught:
        post(slack_server.url)

    assert caught.value.status == answer.status
    assert caught.value.reason == answer.body
    assert answer.body in caught.value.message
    assert caught.value.hint
    assert len(slack_server.requests) == 1


def test_an_undocumented_refusal_still_says_what_to_check(slack_server: SlackServer) -> None:
    slack_server.next_answers = [SlackAnswer(418, "teapot " * 100)]

    with pytest.raises(SlackRefusedError, match="418 teapot") as caught:
        post(slack_server.url)

    assert "webhook" in caught.value.hint
    assert len(caught.value.message) < 200


@pytest.mark.parametrize(
    "url",
    [
        "",
        "slack",
        "ftp://slack.example/x",
        "file:///etc/passwd",
        "http://[bad/SECRET",
        "http://127.0.0.1/SECRET PATH",
    ],
)
def test_what_is_no_web_address_is_refused_without_telling_it(url: str) -> None:
    with pytest.raises(SlackRefusedError) as caught:
        post(url)

    assert "not a web address" in caught.value.message
    assert "SECRET" not in str(caught.value)


@contextmanager
def listening(answer: bytes | None) -> Iterator[int]:
    """Take connections on a free port and say ``answer`` to each, or nothing at all."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        held: list[socket.socket] = []

        def serve() -> None:
            while True:
                try:
                    connection, _ = server.accept()
                except OSError:
                    return
                held.append(connection)
                if answer is not None:
                    connection.recv(65_536)
                    connection.sendall(answer)
                    connection.close()

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield server.getsockname()[1]
        server.shutdown(socket.SHUT_RDWR)
        thread.join(timeout=5)
        for connection in held:
            connection.close()


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"nonsense\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n\xff\xfe",
    ],
    ids=["closed", "no HTTP", "not text"],
)
def test_a_broken_answer_is_unreachable_and_does_not_tell_the_address(answer: bytes) -> None:
    with listening(answer) as port, pytest.raises(SlackUnreachableError) as caught:
        post(f"http://127.0.0.1:{port}/services/SECRET")

    assert "127.0.0.1" in caught.value.message
    assert "SECRET" not in str(caught.value)


# The client leaves the socket of a body that breaks off to the garbage collector.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_truncated_answer_is_unreachable() -> None:
    answer = b"HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\ncut"

    # A server that is gone before its answer is read may show as a reset connection instead.
    cause = "IncompleteRead|reset by peer"
    with listening(answer) as port, pytest.raises(SlackUnreachableError, match=cause):
        post(f"http://127.0.0.1:{port}/services/SECRET")

    # Collected here, so that it does not warn in the middle of another test.
    gc.collect()


def test_a_server_that_says_nothing_is_given_up_in_time() -> None:
    with listening(None) as port, pytest.raises(SlackUnreachableError, match="TimeoutError"):
        post(f"http://127.0.0.1:{port}/services/SECRET", timeout_seconds=0.05)


def test_a_closed_port_is_unreachable_after_three_attempts() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    pauses = Pauses()

    with pytest.raises(SlackUnreachableError) as caught:
        post(f"http://127.0.0.1:{port}/services/SECRET", pauses)

    assert "#gpu" in caught.value.message
    assert pauses.seconds == [1.0, 2.0]


def test_neither_the_address_nor_the_message_is_logged(
    slack_server: SlackServer, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(0)
    slack_server.next_answers = [ROLLUP_ERROR]

    post(slack_server.url)

    assert "services" not in caplog.text
    assert "notebook" not in caplog.text
