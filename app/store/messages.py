"""Messages that were due: claimed before they are sent, so that each goes out once."""

from collections.abc import Mapping
from dataclasses import dataclass

from sqlalchemy import Connection, select, update
from sqlalchemy.dialects.postgresql import insert

from app.store.tables.working import MESSAGES


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """One message: unsent and without a failure, it was claimed and its fate is unknown."""

    message_id: int
    channel: str
    subject: str
    claimed_ms: int
    sent_ms: int | None
    failure: str


class MessageStore:
    """The ledger of messages."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def claim(self, subjects: Mapping[int, str], *, channel: str, at_ms: int) -> tuple[int, ...]:
        """Claim messages by identity; return those that nobody claimed before, in order.

        A message whose sending failed may be claimed again. Commit before sending: a crash in
        between loses the message, which is better than sending it twice.
        """
        rows = [
            {
                "message_id": message,
                "channel": channel,
                "subject": subjects[message],
                "claimed_at": at_ms,
                "sent_at": None,
                "failure": "",
            }
            for message in sorted(subjects)
        ]
        if not rows:
            return ()
        statement = insert(MESSAGES)
        taken = self._connection.execute(
            statement.on_conflict_do_update(
                index_elements=["message_id"],
                set_={"claimed_at": statement.excluded.claimed_at, "failure": ""},
                where=(MESSAGES.c.failure != "") & MESSAGES.c.sent_at.is_(None),
            ).returning(MESSAGES.c.message_id, sort_by_parameter_order=False),
            rows,
        )
        return tuple(sorted(taken.scalars()))

    def sent(self, message_id: int, *, at_ms: int) -> None:
        """Store that the message went out."""
        self._connection.execute(
            update(MESSAGES)
            .where(MESSAGES.c.message_id == message_id)
            .values(sent_at=at_ms, failure="")
        )

    def failed(self, message_id: int, reason: str) -> None:
        """Store why the message did not go out; it may be claimed again."""
        self._connection.execute(
            update(MESSAGES)
            .where(MESSAGES.c.message_id == message_id, MESSAGES.c.sent_at.is_(None))
            .values(failure=reason or "unknown")
        )

    def by_id(self, message_id: int) -> Message | None:
        """Return what is known of a message."""
        row = self._connection.execute(
            select(MESSAGES).where(MESSAGES.c.message_id == message_id)
        ).one_or_none()
        if row is None:
            return None
        return Message(
            message_id=row.message_id,
            channel=row.channel,
            subject=row.subject,
            claimed_ms=row.claimed_at,
            sent_ms=row.sent_at,
            failure=row.failure,
        )
