"""Sending one message to one Slack channel through its incoming webhook."""

import logging
import time
from collections.abc import Callable
from http import HTTPStatus
from http.client import HTTPException, InvalidURL
from urllib.parse import urlsplit

from slack_sdk.errors import SlackRequestError
from slack_sdk.webhook import WebhookClient, WebhookResponse

from app.delivery.slack_messages import SlackMessage
from app.errors import GpuledgerError

# Slack asks for at most one message a second and channel; a longer wait is left to the next run.
_LONGEST_WAIT_SECONDS = 30.0
_FIRST_PAUSE_SECONDS = 1.0
_RETRIED = (
    HTTPStatus.INTERNAL_SERVER_ERROR,
    HTTPStatus.BAD_GATEWAY,
    HTTPStatus.SERVICE_UNAVAILABLE,
    HTTPStatus.GATEWAY_TIMEOUT,
)
# What Slack's documented answers ask somebody to do.
_HINTS = {
    "invalid_payload": "The message is malformed: report this as a defect of gpuledger.",
    "invalid_blocks": "The message is malformed: report this as a defect of gpuledger.",
    "no_text": "The message is malformed: report this as a defect of gpuledger.",
    "too_many_attachments": "The message is malformed: report this as a defect of gpuledger.",
    "user_not_found": "The webhook's user is gone: create a new webhook for the channel.",
    "channel_not_found": "The webhook's channel is gone: create a webhook for another one.",
    "channel_is_archived": "Unarchive the channel, or create a webhook for another one.",
    "action_prohibited": "A workspace administrator restricted posting: ask for an exception.",
    "posting_to_general_channel_denied": "Choose another channel, or allow posting to #general.",
    "no_service": "The webhook was disabled or removed: create a new one.",
    "no_service_id": "The webhook's address is incomplete: copy it again.",
    "no_team": "The webhook's workspace is unknown: copy the address again.",
    "team_disabled": "The Slack workspace is disabled.",
    "invalid_token": "The webhook's address is wrong or was revoked: copy it again.",
}
_DEFAULT_HINT = "Check the webhook of this channel in Slack's app settings."


class SlackError(GpuledgerError):
    """A message did not reach Slack. The webhook's address is a secret and is in no message."""


class SlackUnreachableError(SlackError):
    """Slack did not answer, or only with server errors; the message may be sent again later."""


class SlackBusyError(SlackError):
    """Slack wants a longer pause than a run waits; ``retry_after_seconds`` says how long."""

    def __init__(self, message: str, *, hint: str, retry_after_seconds: float) -> None:
        super().__init__(message, hint=hint)
        self.retry_after_seconds = retry_after_seconds


class SlackRefusedError(SlackError):
    """Slack refused the message for good; ``status`` and ``reason`` are its answer."""

    def __init__(self, message: str, *, hint: str, status: int, reason: str) -> None:
        super().__init__(message, hint=hint)
        self.status = status
        self.reason = reason


def send(
    message: SlackMessage,
    *,
    channel: str,
    webhook_url: str,
    timeout_seconds: float = 10.0,
    max_attempts: int = 3,
    sleep: Callable[[float], None] = time.sleep,
) -> None:
    """Send ``message``; return once Slack took it, else raise a `SlackError`.

    Server errors, broken connections and a short ``Retry-After`` are tried again, at most
    ``max_attempts`` times in all. A connection that broke after Slack took the message may double
    it: Slack gives webhooks no way to tell.
    """
    client = _client(webhook_url, timeout_seconds)
    pause = _FIRST_PAUSE_SECONDS
    for attempt in range(1, max_attempts + 1):
        last = attempt == max_attempts
        try:
            answer = client.send(text=message.text, blocks=message.blocks)
        except (SlackRequestError, InvalidURL) as error:
            raise _not_an_address(channel) from error
        except (OSError, HTTPException, UnicodeDecodeError) as error:
            if last:
                raise _unreachable(channel, webhook_url, _reason(error)) from error
            wait = pause
        except ValueError as error:
            raise _not_an_address(channel) from error
        else:
            if answer.status_code == HTTPStatus.OK:
                return
            wait = _wait_before_retry(answer, channel, pause)
            if last:
                raise _unreachable(channel, webhook_url, f"HTTP {answer.status_code}")
        sleep(wait)
        pause *= 2


def _client(webhook_url: str, timeout_seconds: float) -> WebhookClient:
    # The client logs the address, which is a secret, and every failure, which is raised as well.
    silent = logging.getLogger(f"{__name__}.transport")
    silent.setLevel(logging.CRITICAL + 1)
    client = WebhookClient(
        webhook_url,
        timeout=timeout_seconds,  # type: ignore[arg-type] # an int by its annotation; sockets take both
        logger=silent,
        retry_handlers=[],
    )
    # Left to urllib, which knows NO_PROXY; the client's own proxy would be used for every host.
    client.proxy = None
    return client


def _wait_before_retry(answer: WebhookResponse, channel: str, pause: float) -> float:
    """Return how long to wait before the next attempt; raise where another cannot help."""
    if answer.status_code == HTTPStatus.TOO_MANY_REQUESTS:
        return _pause_asked_for(answer, channel, pause)
    if answer.status_code in _RETRIED and answer.body.strip() not in _HINTS:
        return pause
    reason = answer.body.strip()[:100]
    text = f"Slack refused the message to {channel}: HTTP {answer.status_code} {reason}."
    raise SlackRefusedError(
        text,
        hint=_HINTS.get(reason, _DEFAULT_HINT),
        status=answer.status_code,
        reason=reason,
    )


def _pause_asked_for(answer: WebhookResponse, channel: str, pause: float) -> float:
    asked = str(answer.headers.get("Retry-After", ""))
    seconds = float(asked) if asked.isascii() and asked.isdigit() else pause
    if seconds <= _LONGEST_WAIT_SECONDS:
        return seconds
    text = f"Slack takes no message to {channel} for {seconds:.0f} seconds."
    hint = "Send it again after that."
    raise SlackBusyError(text, hint=hint, retry_after_seconds=seconds)


def _not_an_address(channel: str) -> SlackRefusedError:
    text = f"The webhook of {channel} is not a web address."
    return SlackRefusedError(text, hint=_DEFAULT_HINT, status=0, reason="")


def _reason(error: Exception) -> str:
    """Return what the system says of a failure; never the address, which is a secret."""
    inner = getattr(error, "reason", error)
    return getattr(inner, "strerror", None) or type(inner).__name__


def _unreachable(channel: str, webhook_url: str, trouble: str) -> SlackUnreachableError:
    host = urlsplit(webhook_url).hostname or "Slack"
    text = f"The message to {channel} did not get through to {host}: {trouble}."
    return SlackUnreachableError(text, hint="Check the network and any proxy; then send it again.")
