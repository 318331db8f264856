"""What is accepted of the obstacles: all columns and a reason, nothing that is not there."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.chargeback.closing import (
    AcceptFileError,
    AcceptLine,
    Obstacle,
    ObstacleKind,
    accepted_of,
    in_order,
    obstacles_table,
    read_accept_file,
)
from app.chargeback.tables import csv_bytes
from app.units.window import HOUR_MS


def an_obstacle(
    kind: ObstacleKind = ObstacleKind.PARTIAL,
    *,
    cluster: str = "prod-eu",
    hour: int = 0,
    subject: str = "",
    detail: str = "a source answered in part",
) -> Obstacle:
    return Obstacle(
        kind=kind,
        cluster=cluster,
        start_ms=hour * HOUR_MS,
        end_ms=(hour + 1) * HOUR_MS,
        subject=subject,
        detail=detail,
    )


def filled(obstacles: list[Obstacle], reason: str = "known") -> str:
    """The printed CSV with a reason on every line."""
    printed = csv_bytes(obstacles_table(obstacles)).decode().splitlines()
    return "\r\n".join([printed[0], *(line + reason for line in printed[1:])])


texts = st.text(st.characters(codec="utf-8", exclude_categories=["C", "Z"]), max_size=8)
acceptable = st.builds(
    an_obstacle,
    st.sampled_from([kind for kind in ObstacleKind if an_obstacle(kind).acceptable]),
    cluster=texts,
    hour=st.integers(0, 1_000),
    subject=texts | st.sampled_from(["=1+1", "-x", "a,b", 'say "x"', "@home"]),
    detail=texts,
)


@given(st.lists(acceptable, unique_by=lambda one: one.cells(), max_size=6))
def test_the_printed_list_with_reasons_accepts_all_of_it(obstacles: list[Obstacle]) -> None:
    lines = read_accept_file(filled(obstacles), file_name="accept.csv")

    accepted, left = accepted_of(lines, obstacles)

    assert [one.obstacle for one in accepted] == [*in_order(obstacles)]
    assert {one.reason for one in accepted} <= {"known"}
    assert left == ()


def test_what_is_not_named_is_left() -> None:
    first, second = an_obstacle(hour=1), an_obstacle(hour=2)
    lines = (AcceptLine("here", first.cells(), "known"),)

    accepted, left = accepted_of(lines, (second, first))

    assert [one.obstacle for one in accepted] == [first]
    assert left == (second,)


def test_one_changed_column_matches_nothing() -> None:
    obstacle = an_obstacle(subject="NVIDIA-T4")

    for place in range(len(obstacle.cells())):
        cells = [*obstacle.cells()]
        cells[place] += "x"
        with pytest.raises(AcceptFileError, match="here: nothing in the way reads"):
            accepted_of((AcceptLine("here", tuple(cells), "known"),), (obstacle,))


@pytest.mark.parametrize(
    "kind", [ObstacleKind.NOT_ENDED, ObstacleKind.STALE, ObstacleKind.EARLIER_OPEN]
)
def test_what_time_resolves_cannot_be_accepted(kind: ObstacleKind) -> None:
    obstacle = an_obstacle(kind)

    with pytest.raises(AcceptFileError, match=f"{kind.value} cannot be accepted"):
        accepted_of((AcceptLine("here", obstacle.cells(), "known"),), (obstacle,))


def test_a_reason_is_needed_and_a_line_counts_once() -> None:
    obstacle = an_obstacle()
    line = AcceptLine("here", obstacle.cells(), "known")

    with pytest.raises(AcceptFileError, match="no reason"):
        accepted_of((AcceptLine("here", obstacle.cells(), ""),), (obstacle,))
    with pytest.raises(AcceptFileError, match="twice"):
        accepted_of((line, line), (obstacle,))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "has not the columns"),
        ("kind,cluster\npartial,prod-eu\n", "has not the columns"),
        ("kind,cluster,start,end,subject,detail,reason\npartial,prod-eu\n", "line 2 has not 7"),
        ('kind,cluster,start,end,subject,detail,reason\n"partial', "is not CSV"),
    ],
)
def test_a_file_of_another_shape_is_refused(text: str, said: str) -> None:
    with pytest.raises(AcceptFileError, match=said):
        read_accept_file(text, file_name="accept.csv")
