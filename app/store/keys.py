"""API keys: only the hash of a key is stored."""

from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Row, select, update
from sqlalchemy.dialects.postgresql import insert

from app.errors import InputError
from app.store.tables.working import API_KEYS
from app.units.identity import hash64


class KeyNameError(InputError):
    """A key name that is taken, or that no key in force has."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredKey:
    """One API key; ``team`` restricts it to one team's lines, '' is all of the ledger."""

    name: str
    scope: str
    team: str
    created_ms: int
    revoked_ms: int | None


class KeyStore:
    """All API keys."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def create(
        self, name: str, secret_sha256: str, *, scope: str, team: str, created_ms: int
    ) -> StoredKey:
        """Store a key by the hash of its secret; a name in force can be given once."""
        added = self._connection.execute(
            insert(API_KEYS)
            .values(
                key_id=hash64("api_key", secret_sha256),
                name=name,
                secret_sha256=secret_sha256,
                scope=scope,
                team=team,
                created_at=created_ms,
                revoked_at=None,
            )
            .on_conflict_do_nothing()
            .returning(API_KEYS)
        ).one_or_none()
        if added is None:
            message = f"There is a key named {name!r} in force."
            raise KeyNameError(message, hint="Revoke it first, or choose another name.")
        return _value(added)

    def by_secret(self, secret_sha256: str) -> StoredKey | None:
        """Return the key in force with this hash of its secret."""
        row = self._connection.execute(
            select(API_KEYS).where(
                API_KEYS.c.secret_sha256 == secret_sha256, API_KEYS.c.revoked_at.is_(None)
            )
        ).one_or_none()
        return None if row is None else _value(row)

    def all(self) -> tuple[StoredKey, ...]:
        """Return every key, the oldest first."""
        rows = self._connection.execute(
            select(API_KEYS).order_by(API_KEYS.c.created_at, API_KEYS.c.name)
        )
        return tuple(_value(row) for row in rows)

    def revoke(self, name: str, *, at_ms: int) -> StoredKey:
        """End the key in force with this name."""
        row = self._connection.execute(
            update(API_KEYS)
            .where(API_KEYS.c.name == name, API_KEYS.c.revoked_at.is_(None))
            .values(revoked_at=at_ms)
            .returning(API_KEYS)
        ).one_or_none()
        if row is None:
            message = f"There is no key named {name!r} in force."
            raise KeyNameError(message, hint="`gpuledger keys list` shows the names.")
        return _value(row)


def _value(row: Row[Any]) -> StoredKey:
    return StoredKey(
        name=row.name,
        scope=row.scope,
        team=row.team,
        created_ms=row.created_at,
        revoked_ms=row.revoked_at,
    )
