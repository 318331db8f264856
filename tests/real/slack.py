"""A loopback stand-in for Slack's incoming webhooks, with the answers that Slack documents.

It refuses what Slack refuses (no text, too many blocks, texts that are too long), so a message
that is accepted here has the shape of one that Slack takes.
"""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from tests.real.ports import LOOPBACK

# Limits of a message, from the reference of Block Kit.
MAX_BLOCKS = 50
MAX_SECTION_TEXT = 3_000
MAX_HEADER_TEXT = 150
MAX_FIELDS = 10
MAX_FIELD_TEXT = 2_000


@dataclass(frozen=True, slots=True)
class SlackAnswer:
    """What the server says to one request."""

    status: int
    body: str
    retry_after_seconds: int | None = None


OK = SlackAnswer(200, "ok")
RATE_LIMITED = SlackAnswer(429, "rate_limited", retry_after_seconds=1)
NO_SERVICE = SlackAnswer(404, "no_service")
CHANNEL_NOT_FOUND = SlackAnswer(404, "channel_not_found")
CHANNEL_IS_ARCHIVED = SlackAnswer(410, "channel_is_archived")
ACTION_PROHIBITED = SlackAnswer(403, "action_prohibited")
INVALID_TOKEN = SlackAnswer(403, "invalid_token")
INVALID_PAYLOAD = SlackAnswer(400, "invalid_payload")
INVALID_BLOCKS = SlackAnswer(400, "invalid_blocks")
NO_TEXT = SlackAnswer(400, "no_text")
ROLLUP_ERROR = SlackAnswer(500, "rollup_error")


@dataclass(slots=True)
class SlackServer:
    """The server's address, what it received, and what it says next.

    ``messages`` holds the accepted messages only, ``requests`` the bodies of all. Answers put into
    ``next_answers`` are used up first; after them the message itself decides.
    """

    url: str
    messages: list[dict[str, object]] = field(default_factory=list)
    requests: list[bytes] = field(default_factory=list)
    next_answers: list[SlackAnswer] = field(default_factory=list)

    def answer(self, body: bytes) -> SlackAnswer:
        """Keep the request and decide what Slack would say to it."""
        self.requests.append(body)
        if self.next_answers:
            return self._keep(body, self.next_answers.pop(0))
        return self._keep(body, verdict(body))

    def _keep(self, body: bytes, said: SlackAnswer) -> SlackAnswer:
        if said.status == 200:
            self.messages.append(json.loads(body))
        return said


def verdict(body: bytes) -> SlackAnswer:
    """Say what Slack answers to this body."""
    try:
        message = json.loads(body)
    except ValueError:
        return INVALID_PAYLOAD
    if not isinstance(message, dict):
        return INVALID_PAYLOAD
    blocks = message.get("blocks") or []
    if not message.get("text") and not blocks:
        return NO_TEXT
    if len(blocks) > MAX_BLOCKS or not all(_is_acceptable(block) for block in blocks):
        return INVALID_BLOCKS
    return OK


def _is_acceptable(block: dict[str, object]) -> bool:
    match block.get("type"):
        case "header":
            return _text_fits(block.get("text"), "plain_text", MAX_HEADER_TEXT)
        case "section":
            fields = block.get("fields") or []
            return (
                isinstance(fields, list)
                and ("text" in block or bool(fields))
                and len(fields) <= MAX_FIELDS
                and all(_text_fits(entry, None, MAX_FIELD_TEXT) for entry in fields)
                and ("text" not in block or _text_fits(block["text"], None, MAX_SECTION_TEXT))
            )
        case "context":
            elements = block.get("elements")
            return isinstance(elements, list) and 0 < len(elements) <= MAX_FIELDS
        case "divider" | "actions" | "image" | "rich_text":
            return True
        case _:
            return False


def _text_fits(text: object, only_kind: str | None, limit: int) -> bool:
    if not isinstance(text, dict):
        return False
    kinds = {only_kind} if only_kind else {"plain_text", "mrkdwn"}
    return text.get("type") in kinds and 0 < len(str(text.get("text", ""))) <= limit


@contextmanager
def running_slack() -> Iterator[SlackServer]:
    """Answer on a free port until the block ends."""

    class Handler(BaseHTTPRequestHandler):
        """Turns requests into calls of the server that encloses it."""

        def do_POST(self) -> None:
            length = int(self.headers.get("Content-Length", "0"))
            said = slack.answer(self.rfile.read(length))
            self.send_response(said.status)
            if said.retry_after_seconds is not None:
                self.send_header("Retry-After", str(said.retry_after_seconds))
            self.send_header("Content-Type", "text/html")
            self.send_header("Content-Length", str(len(said.body)))
            self.end_headers()
            self.wfile.write(said.body.encode())

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - likewise
            """Keep the test's output clean."""

    server = ThreadingHTTPServer((LOOPBACK, 0), Handler)
    slack = SlackServer(f"http://{LOOPBACK}:{server.server_port}/services/T000/B000/XXXX")
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield slack
    finally:
        server.shutdown()
        server.server_close()
        thread.join(timeout=10)
