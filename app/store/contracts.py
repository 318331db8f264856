"""The team contract as it was at every version, as the text that was applied."""

from dataclasses import dataclass
from datetime import tzinfo
from typing import Any

from sqlalchemy import Connection, Row, insert, select

from app.attribution.contract import Contract
from app.store.locking import lock
from app.store.naming import NameStore
from app.store.ownership import OwnershipStore
from app.store.tables.ledger import CONTRACTS


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredContract:
    """One applied contract; the text is YAML, whose days begin at midnight of ``zone``."""

    version: int
    applied_ms: int
    file_name: str
    sha256: str
    text: str
    zone: str


class ContractStore:
    """All versions of the team contract."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def latest(self) -> StoredContract | None:
        """Return the contract in force, None before the first."""
        row = self._connection.execute(
            select(CONTRACTS).order_by(CONTRACTS.c.version.desc()).limit(1)
        ).one_or_none()
        return None if row is None else _value(row)

    def by_version(self, version: int) -> StoredContract | None:
        """Return the contract of a version."""
        row = self._connection.execute(
            select(CONTRACTS).where(CONTRACTS.c.version == version)
        ).one_or_none()
        return None if row is None else _value(row)

    def apply(
        self,
        text: str,
        *,
        applied_ms: int,
        file_name: str,
        sha256: str,
        contract: Contract,
        zone: tzinfo,
    ) -> StoredContract:
        """Store a contract as the next version, unless it is the one in force; return it.

        ``contract`` is the text as it reads in the zone. Who belongs to which department is stored
        beside it, for all time.
        """
        lock(self._connection, "contracts")
        latest = self.latest()
        if latest is not None and (latest.sha256, latest.zone) == (sha256, str(zone)):
            return latest
        stored = StoredContract(
            version=1 if latest is None else latest.version + 1,
            applied_ms=applied_ms,
            file_name=file_name,
            sha256=sha256,
            text=text,
            zone=str(zone),
        )
        self._connection.execute(
            insert(CONTRACTS).values(
                version=stored.version,
                applied_at=applied_ms,
                file_name=file_name,
                sha256=sha256,
                yaml=text,
                zone=stored.zone,
            )
        )
        OwnershipStore(self._connection, zone).put(stored.version, contract)
        names = {team.name for team in contract.teams} | {one.team for one in contract.platform}
        NameStore(self._connection).ensure_teams(
            {name: contract.affiliation_at(name, applied_ms).cost_center for name in names}
        )
        return stored


def _value(row: Row[Any]) -> StoredContract:
    return StoredContract(
        version=row.version,
        applied_ms=row.applied_at,
        file_name=row.file_name,
        sha256=row.sha256,
        text=row.yaml,
        zone=row.zone,
    )
