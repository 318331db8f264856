"""Findings with their history, and the requests that decided on them."""

from collections.abc import Collection, Sequence
from typing import Any

from sqlalchemy import Connection, Row, select
from sqlalchemy.dialects.postgresql import insert

from app.findings.states import TrackedFinding
from app.findings.values import Figure, Finding, FindingKind, FindingState, Subject
from app.store.locking import lock
from app.store.tables.working import FINDINGS, REQUESTS
from app.units.window import Window, from_ms


class FindingStore:
    """All findings."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def lock(self) -> None:
        """Keep others from changing findings until the transaction ends."""
        lock(self._connection, "findings")

    def put(self, findings: Collection[TrackedFinding]) -> None:
        """Store findings as they are."""
        rows = [_stored(tracked) for tracked in findings]
        if not rows:
            return
        statement = insert(FINDINGS)
        fresh = {
            column.name: statement.excluded[column.name]
            for column in FINDINGS.columns
            if not column.primary_key
        }
        self._connection.execute(
            statement.on_conflict_do_update(index_elements=["finding_id"], set_=fresh),
            sorted(rows, key=lambda row: str(row["finding_id"])),
        )

    def within(
        self,
        *,
        states: Sequence[FindingState] = (),
        kinds: Sequence[FindingKind] = (),
        team: str | None = None,
        cluster: str | None = None,
    ) -> tuple[TrackedFinding, ...]:
        """Return findings, in the order in which they were first seen.

        An empty or absent filter allows everything.
        """
        table = FINDINGS
        statement = select(table).order_by(table.c.first_seen_at, table.c.finding_id)
        if states:
            statement = statement.where(table.c.state.in_([state.value for state in states]))
        if kinds:
            statement = statement.where(table.c.kind.in_([kind.value for kind in kinds]))
        if team is not None:
            statement = statement.where(table.c.team == team)
        if cluster is not None:
            statement = statement.where(table.c.cluster == cluster)
        return tuple(_value(row) for row in self._connection.execute(statement))

    def by_id(self, finding_id: int) -> TrackedFinding | None:
        """Return one finding."""
        row = self._connection.execute(
            select(FINDINGS).where(FINDINGS.c.finding_id == finding_id)
        ).one_or_none()
        return None if row is None else _value(row)

    def carried_out(self, idempotency_key: str) -> str | None:
        """Return the hash of the request that used the key, None if none has."""
        return self._connection.scalar(
            select(REQUESTS.c.request_sha256).where(REQUESTS.c.idempotency_key == idempotency_key)
        )

    def remember(self, idempotency_key: str, request_sha256: str, *, at_ms: int) -> None:
        """Store that the request with this key was carried out."""
        self._connection.execute(
            insert(REQUESTS).values(
                idempotency_key=idempotency_key,
                request_sha256=request_sha256,
                carried_out_at=at_ms,
            )
        )


def _stored(tracked: TrackedFinding) -> dict[str, object]:
    finding = tracked.finding
    subject = finding.subject
    return {
        "finding_id": finding.finding_id,
        "kind": finding.kind.value,
        "state": tracked.state.value,
        "episode": tracked.episode,
        "cluster": subject.cluster,
        "team": subject.team,
        "body": {
            "subject": {
                "node_id": subject.node_id,
                "node": subject.node,
                "gpu_model_id": subject.gpu_model_id,
                "gpu_model": subject.gpu_model,
                "hold_id": subject.hold_id,
                "workload_id": subject.workload_id,
                "namespace": subject.namespace,
                "pod": subject.pod,
                "workload": subject.workload,
            },
            "window_start_ms": finding.window.start_ms,
            "window_end_ms": finding.window.end_ms,
            "since_ms": finding.since_ms,
            "wasted_gpu_ms": finding.wasted_gpu_ms,
            "wasted_nanos": finding.wasted_nanos,
            "per_day_nanos": finding.per_day_nanos,
            "evidence": [[figure.name, figure.value] for figure in finding.evidence],
        },
        "first_seen_at": tracked.first_seen_ms,
        "last_seen_at": tracked.last_seen_ms,
        "resolved_at": tracked.resolved_ms,
        "snoozed_until": tracked.snoozed_until_ms,
        "decided_by": tracked.decided_by,
        "reason": tracked.reason,
    }


def _value(row: Row[Any]) -> TrackedFinding:
    body = row.body
    finding = Finding(
        kind=FindingKind(row.kind),
        subject=Subject(cluster=row.cluster, team=row.team, **body["subject"]),
        window=Window(from_ms(body["window_start_ms"]), from_ms(body["window_end_ms"])),
        since_ms=body["since_ms"],
        wasted_gpu_ms=body["wasted_gpu_ms"],
        wasted_nanos=body["wasted_nanos"],
        per_day_nanos=body["per_day_nanos"],
        evidence=tuple(Figure(name, value) for name, value in body["evidence"]),
    )
    return TrackedFinding(
        finding=finding,
        state=FindingState(row.state),
        episode=row.episode,
        first_seen_ms=row.first_seen_at,
        last_seen_ms=row.last_seen_at,
        resolved_ms=row.resolved_at,
        snoozed_until_ms=row.snoozed_until,
        decided_by=row.decided_by,
        reason=row.reason,
    )
