"""What the benchmarks found, as lines with their targets."""

from collections.abc import Sequence
from dataclasses import dataclass

from app.workflows.collecting import Collected
from app.workflows.rating import RateCounts
from benchmarks.asking import Served
from benchmarks.collecting import Recorded
from benchmarks.measuring import Measured, median_seconds
from benchmarks.month import Month

# The targets: how many times the work that nobody can avoid; how much memory; how many times as
# long for a fleet that many times as large.
_MOST_TIMES = 1.5
_MOST_MIB = 1_024
_MOST_GROWTH = 1.1
# How many times as long where half of the devices are shared, in every way.
_MOST_SHARED = 1.3
# How long finance waits for a weekly statement, and how quick an export is beside a bare writer.
_MOST_STATEMENT_SECONDS = 2.0
_LEAST_EXPORT = 0.3


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One figure beside its target."""

    what: str
    measured: str
    compared: str
    figure: str
    target: str
    met: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Collecting:
    """Runs of collecting an hour of the whole fleet and of a tenth of it."""

    recorded: Recorded
    body_bytes: int
    runs: Sequence[Measured[Collected]]
    baseline: Sequence[Measured[int]]
    small: Sequence[Measured[Collected]]
    gpus: int
    small_gpus: int

    def lines(self) -> list[Line]:
        """Return wall time, memory, and growth with the fleet."""
        wall, floor = median_seconds(self.runs), median_seconds(self.baseline)
        small = median_seconds(self.small)
        peak = max(run.peak_mib for run in self.runs)
        return [
            _ratio(f"Collect an hour of {self.gpus:,} GPUs", wall, floor, _MOST_TIMES),
            Line(
                what="Its peak memory",
                measured=f"{peak:.0f} MiB",
                compared="",
                figure=f"{peak:.0f} MiB",
                target=f"≤ {_MOST_MIB:,} MiB",
                met=peak <= _MOST_MIB,
            ),
            _ratio(
                f"{self.gpus:,} GPUs against {self.small_gpus:,}",
                wall,
                small,
                _MOST_GROWTH * self.gpus / self.small_gpus,
            ),
        ]


@dataclass(frozen=True, slots=True, kw_only=True)
class Rating:
    """Runs of rating the month."""

    month: Month
    body_bytes: int
    runs: Sequence[Measured[RateCounts]]
    baseline: Sequence[Measured[int]]

    def lines(self) -> list[Line]:
        """Return the wall time."""
        what = f"Rate {self.month.hours:,} hours of it"
        return [_ratio(what, median_seconds(self.runs), median_seconds(self.baseline), _MOST_TIMES)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Sharing:
    """Runs of collecting and rating a fleet that shares devices, beside one that does not."""

    gpus: int
    collect_runs: Sequence[Measured[Collected]]
    collect_whole: Sequence[Measured[Collected]]
    rate_runs: Sequence[Measured[RateCounts]]
    rate_whole: Sequence[Measured[RateCounts]]

    def lines(self) -> list[Line]:
        """Return how many times as long either takes."""
        return [
            _ratio(
                f"Collect {self.gpus:,} GPUs, half of them shared, against whole ones",
                median_seconds(self.collect_runs),
                median_seconds(self.collect_whole),
                _MOST_SHARED,
            ),
            _ratio(
                "Rate them, against whole ones",
                median_seconds(self.rate_runs),
                median_seconds(self.rate_whole),
                _MOST_SHARED,
            ),
        ]


@dataclass(frozen=True, slots=True, kw_only=True)
class Asking:
    """Requests for the month's costs, by the columns they were grouped by."""

    served: Sequence[tuple[str, float, Served]]

    def lines(self) -> list[Line]:
        """Return the slowest but one in twenty requests of each kind."""
        return [
            Line(
                what=f"`/v1/costs` of it by {group_by}, p95",
                measured=f"{served.quantile(0.95) * 1000:.0f} ms",
                compared="",
                figure=f"{served.quantile(0.95) * 1000:.0f} ms",
                target=f"≤ {limit_ms:.0f} ms",
                met=served.quantile(0.95) * 1000 <= limit_ms,
            )
            for group_by, limit_ms, served in self.served
        ]


@dataclass(frozen=True, slots=True, kw_only=True)
class Finance:
    """Runs of what finance waits for; ``rated`` are those of rating the same month."""

    teams: int
    weekly: Sequence[Measured[int]]
    exported: Sequence[Measured[int]]
    written: Sequence[Measured[int]]
    closed: Measured[int]
    compared: Measured[int]
    rated: Sequence[Measured[RateCounts]]

    def lines(self) -> list[Line]:
        """Return the waiting times, and the export beside a bare writer of the same rows."""
        weekly = median_seconds(self.weekly)
        export, writer = median_seconds(self.exported), median_seconds(self.written)
        rating = median_seconds(self.rated)
        return [
            Line(
                what=f"Weekly statement of it, {self.teams} teams",
                measured=f"{weekly:.2f} s",
                compared="",
                figure=f"{weekly:.2f} s",
                target=f"≤ {_MOST_STATEMENT_SECONDS:g} s",
                met=weekly <= _MOST_STATEMENT_SECONDS,
            ),
            Line(
                what="FOCUS export of a day by the hour, rows a second",
                measured=f"{self.exported[0].value / export:,.0f}",
                compared=f"{self.written[0].value / writer:,.0f}",
                figure=f"{writer / export:.2f} ×",
                target=f"≥ {_LEAST_EXPORT:g} ×",
                met=writer >= _LEAST_EXPORT * export,
            ),
            Line(
                what="Close the month: pins and statements",
                measured=f"{self.closed.seconds:.2f} s",
                compared="",
                figure=f"{self.closed.seconds:.2f} s",
                target="none",
                met=True,
            ),
            Line(
                what="Rate the closed month again and compare",
                measured=f"{self.compared.seconds:.2f} s",
                compared=f"{rating:.2f} s",
                figure=f"{self.compared.seconds / rating:.2f} ×",
                target="none",
                met=True,
            ),
        ]


def _ratio(what: str, wall: float, floor: float, most: float) -> Line:
    return Line(
        what=what,
        measured=f"{wall:.2f} s",
        compared=f"{floor:.2f} s",
        figure=f"{wall / floor:.2f} ×",
        target=f"≤ {most:g} ×",
        met=wall <= most * floor,
    )
