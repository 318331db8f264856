"""What is in the way of closing a period, and what is accepted of it with a reason."""

import csv
import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum

from app.chargeback.tables import FORMULA_STARTS, Table
from app.errors import GpuledgerError, InputError
from app.units.window import from_ms

COLUMNS = ("kind", "cluster", "start", "end", "subject", "detail")


class ObstacleKind(StrEnum):
    """What is wrong."""

    NOT_ENDED = "not_ended"
    EARLIER_OPEN = "earlier_open"
    STALE = "stale"
    MISSING = "missing"
    PARTIAL = "partial"
    UNPRICED = "unpriced"
    UNOWNED = "unowned"


# These resolve themselves, by waiting or by closing in order; nobody can answer for them.
_UNACCEPTABLE = frozenset({ObstacleKind.NOT_ENDED, ObstacleKind.EARLIER_OPEN, ObstacleKind.STALE})


class AcceptFileError(InputError):
    """A file of accepted exceptions that cannot be used."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Obstacle:
    """One thing in the way of closing, over ``[start_ms, end_ms)``.

    ``cluster`` and ``subject`` are '' where it is about all of them.
    """

    kind: ObstacleKind
    cluster: str
    start_ms: int
    end_ms: int
    subject: str
    detail: str

    @property
    def acceptable(self) -> bool:
        """Say whether a period may be closed with it."""
        return self.kind not in _UNACCEPTABLE

    def cells(self) -> tuple[str, ...]:
        """Return the texts of `COLUMNS`."""
        return (
            self.kind.value,
            self.cluster,
            _text(self.start_ms),
            _text(self.end_ms),
            self.subject,
            self.detail,
        )


@dataclass(frozen=True, slots=True)
class Accepted:
    """An obstacle that a period is closed with, and why."""

    obstacle: Obstacle
    reason: str

    def texts(self) -> dict[str, str]:
        """Return the columns of the file by name."""
        return {
            **dict(zip(COLUMNS, self.obstacle.cells(), strict=True)),
            "reason": self.reason,
        }


class ObstaclesError(GpuledgerError):
    """A period that is not closed because of ``obstacles``, those that were not accepted."""

    def __init__(self, period: str, obstacles: Sequence[Obstacle]) -> None:
        kinds = ", ".join(dict.fromkeys(one.kind.value for one in obstacles))
        super().__init__(
            f"The billing period {period} is not closed: {len(obstacles)} in the way ({kinds}).",
            hint="Put it right, or name what may stay in --accept FILE, each with a reason.",
        )
        self.obstacles = tuple(obstacles)


def obstacles_table(obstacles: Iterable[Obstacle]) -> Table:
    """Return obstacles as the table that, with reasons, is the file of what is accepted."""
    return Table((*COLUMNS, "reason"), tuple((*one.cells(), "") for one in in_order(obstacles)))


def in_order(obstacles: Iterable[Obstacle]) -> tuple[Obstacle, ...]:
    """Return obstacles by kind, in the order of the kinds, then by cluster, time and subject."""
    kinds = tuple(ObstacleKind)
    return tuple(
        sorted(
            obstacles,
            key=lambda one: (
                kinds.index(one.kind),
                one.cluster,
                one.start_ms,
                one.end_ms,
                one.subject,
                one.detail,
            ),
        )
    )


@dataclass(frozen=True, slots=True)
class AcceptLine:
    """One line of what is accepted: where it stands, the texts of `COLUMNS`, and the reason."""

    where: str
    cells: tuple[str, ...]
    reason: str


def accepted_of(
    lines: Sequence[AcceptLine], obstacles: Sequence[Obstacle]
) -> tuple[tuple[Accepted, ...], tuple[Obstacle, ...]]:
    """Return what the lines accept of ``obstacles``, and those that are left, both in order.

    A line has to name an obstacle in all columns, and a reason; one that matches nothing, or what
    cannot be accepted, is refused, since it would be about something else than what is there.
    """
    by_cells = {one.cells(): one for one in obstacles}
    accepted: dict[tuple[str, ...], Accepted] = {}
    for line in lines:
        obstacle = by_cells.get(line.cells)
        if obstacle is None:
            message = f"{line.where}: nothing in the way reads {', '.join(line.cells)}."
            raise AcceptFileError(
                message, hint="Print the obstacles again and hand the lines back as they are."
            )
        if not obstacle.acceptable:
            message = f"{line.where}: {obstacle.kind.value} cannot be accepted."
            raise AcceptFileError(message, hint="Wait, rate, or close the earlier period first.")
        if not line.reason:
            message = f"{line.where}: there is no reason."
            raise AcceptFileError(message, hint="Say in the column reason why it may stay.")
        if line.cells in accepted:
            message = f"{line.where}: the same line stands there twice."
            raise AcceptFileError(message, hint="Keep one of them.")
        accepted[line.cells] = Accepted(obstacle, line.reason)
    ordered = in_order(obstacles)
    return (
        tuple(accepted[one.cells()] for one in ordered if one.cells() in accepted),
        tuple(one for one in ordered if one.cells() not in accepted),
    )


def read_accept_file(text: str, *, file_name: str) -> tuple[AcceptLine, ...]:
    """Return the lines of a file (CSV) of the columns of the obstacles and a reason."""
    reader = csv.DictReader(io.StringIO(text.removeprefix("\ufeff"), newline=""), strict=True)
    wanted = (*COLUMNS, "reason")
    lines: list[AcceptLine] = []
    try:
        if sorted(reader.fieldnames or ()) != sorted(wanted):
            message = f"{file_name} has not the columns {', '.join(wanted)}."
            raise AcceptFileError(message, hint="Print the obstacles as CSV and add the reasons.")
        for place, row in enumerate(reader, start=2):
            where, cells = f"{file_name} line {place}", [row[name] for name in wanted]
            if None in row or None in cells:
                message = f"{where} has not {len(wanted)} cells."
                raise AcceptFileError(message, hint="Quote cells that contain a comma.")
            lines.append(AcceptLine(where, tuple(map(_plain, cells[:-1])), cells[-1].strip()))
    except csv.Error as error:
        message = f"{file_name} is not CSV: {error}."
        raise AcceptFileError(message, hint="Save it as CSV with commas, in UTF-8.") from error
    return tuple(lines)


def _plain(cell: str) -> str:
    """Undo what makes a text harmless in a spreadsheet."""
    harmless = cell.startswith("'") and cell[1:].startswith(FORMULA_STARTS)
    return (cell[1:] if harmless else cell).strip()


def _text(ms: int) -> str:
    return from_ms(ms).isoformat().replace("+00:00", "Z")
