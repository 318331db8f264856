"""The run journal: which workflow ran when, on what, and how it ended."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from uuid import UUID

from sqlalchemy import Connection, func, insert, select, update

from app.store.tables.working import RUNS
from app.units.window import Window, from_ms
from app.usage.identity import cluster_id


class Outcome(StrEnum):
    """How a run ended."""

    RUNNING = "running"
    OK = "ok"
    REJECTED = "rejected"
    FAILED = "failed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One execution of a workflow."""

    run_id: UUID
    workflow: str
    cluster_id: int
    window: Window | None
    started_ms: int
    finished_ms: int | None = None
    outcome: Outcome = Outcome.RUNNING
    counts: Mapping[str, int] = field(default_factory=dict)
    message: str = ""


class RunStore:
    """The journal of all runs."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def begin(
        self,
        run_id: UUID,
        workflow: str,
        *,
        started_ms: int,
        cluster: str = "",
        window: Window | None = None,
    ) -> None:
        """Write down that a run begins."""
        self._connection.execute(
            insert(RUNS).values(
                run_id=run_id,
                workflow=workflow,
                cluster_id=cluster_id(cluster) if cluster else 0,
                window_start=window.start_ms if window else None,
                window_end=window.end_ms if window else None,
                started_at=started_ms,
                outcome=Outcome.RUNNING.value,
                counts={},
                message="",
            )
        )

    def finish(
        self,
        run_id: UUID,
        outcome: Outcome,
        *,
        finished_ms: int,
        counts: Mapping[str, int],
        message: str = "",
    ) -> None:
        """Write down how the run ended."""
        self._connection.execute(
            update(RUNS)
            .where(RUNS.c.run_id == run_id)
            .values(
                finished_at=finished_ms,
                outcome=outcome.value,
                counts=dict(counts),
                message=message,
            )
        )

    def tried(self, workflow: str, cluster: str, since_ms: int) -> frozenset[int]:
        """Return the starts of the windows that a workflow tried for a cluster since an instant."""
        return frozenset(
            self._connection.scalars(
                select(RUNS.c.window_start).where(
                    RUNS.c.workflow == workflow,
                    RUNS.c.cluster_id == cluster_id(cluster),
                    RUNS.c.started_at >= since_ms,
                    RUNS.c.window_start.is_not(None),
                )
            )
        )

    def reached_ms(self, workflow: str) -> int:
        """Return the latest end of a window that a workflow has done; 0 if there is none."""
        reached: int | None = self._connection.scalar(
            select(func.max(RUNS.c.window_end)).where(
                RUNS.c.workflow == workflow, RUNS.c.outcome == Outcome.OK.value
            )
        )
        return reached or 0

    def latest(self, workflow: str = "", *, limit: int = 50) -> tuple[Run, ...]:
        """Return the last runs, of one workflow or of all, the latest first."""
        statement = select(RUNS).order_by(RUNS.c.started_at.desc(), RUNS.c.run_id).limit(limit)
        if workflow:
            statement = statement.where(RUNS.c.workflow == workflow)
        return tuple(
            Run(
                run_id=row.run_id,
                workflow=row.workflow,
                cluster_id=row.cluster_id,
                window=(
                    Window(from_ms(row.window_start), from_ms(row.window_end))
                    if row.window_start is not None
                    else None
                ),
                started_ms=row.started_at,
                finished_ms=row.finished_at,
                outcome=Outcome(row.outcome),
                counts=row.counts,
                message=row.message,
            )
            for row in self._connection.execute(statement)
        )
