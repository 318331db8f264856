"""The id of a charge that a rating replaced leads to what stands in its place."""

import pytest
from sqlalchemy import Engine, text

from app.units.identity import id_text
from app.workflows.reading import ChargeNotFoundError
from app.workflows.succeeding import ChargeGoneError, Explained, explained
from tests.workflows.adjusting_world import (
    OTHER_CONTRACT,
    begin,
    contract,
    held,
    last_hour,
    prices,
    put,
    rate,
)

HANDED_ON = """\
teams:
  - { name: ads, namespaces: ["search-*"], valid_to: "2026-11-30T23:30:00Z" }
  - { name: ml, namespaces: ["search-*"], valid_from: "2026-11-30T23:30:00Z" }
platform: { team: platform, namespaces: [gpu-operator] }
"""


@pytest.fixture
def rated(database: Engine) -> Engine:
    begin(database)
    put(database, held(last_hour(), 1))
    rate(database)
    return database


def identities(engine: Engine, kind: int = 2) -> list[int]:
    with engine.connect() as connection:
        return [
            *connection.scalars(
                text("SELECT charge_id FROM charges WHERE kind = :kind ORDER BY 1"),
                {"kind": kind},
            )
        ]


def ask(engine: Engine, charge_id: int) -> Explained:
    with engine.connect() as connection:
        return explained(connection, charge_id, "USD")


def test_a_first_rating_and_an_equal_one_remember_nothing(rated: Engine) -> None:
    (charge,) = identities(rated)

    rate(rated)

    with rated.connect() as connection:
        assert connection.scalar(text("SELECT count(*) FROM replaced_charges")) == 0
    assert ask(rated, charge).replaced is None


def test_a_charge_of_another_team_and_price_succeeds(rated: Engine) -> None:
    (old,) = identities(rated)

    contract(rated, OTHER_CONTRACT)
    rate(rated)
    prices(rated, "2.00")
    rate(rated)

    (new,) = identities(rated)
    found = ask(rated, old)
    assert (found.replaced, found.successors, found.team) == (old, (new,), "ml")
    assert found.explanation.charge_id == new
    first = found.explanation.steps[0]
    assert first.text == (
        f"The charge {id_text(old)} was replaced when its hour was rated again: by {id_text(new)}."
    )
    assert (f"successor_{id_text(new)}", "ml, 2.00 USD") in first.figures
    assert len(found.explanation.steps) > 1


def test_several_successors_are_listed(rated: Engine) -> None:
    (old,) = identities(rated)

    contract(rated, HANDED_ON)
    rate(rated)

    found = ask(rated, old)
    assert sorted(found.successors) == sorted(identities(rated))
    assert len(found.successors) == 2
    assert found.team == ""
    assert "by 2 charges: " in found.explanation.text()
    assert "ads, 1.50 USD" in found.explanation.text()


def test_a_charge_whose_subject_is_gone_says_so(rated: Engine) -> None:
    (old,) = identities(rated)

    put(rated, held(last_hour(), 0))
    rate(rated)

    with pytest.raises(ChargeGoneError, match=r"taken back .* nothing stands"):
        ask(rated, old)


def test_a_charge_that_came_back_is_itself(rated: Engine) -> None:
    (old,) = identities(rated)

    put(rated, held(last_hour(), 0))
    rate(rated)
    put(rated, held(last_hour(), 1), reason="It was right.")
    rate(rated)

    assert ask(rated, old).replaced is None


def test_an_id_that_never_was_is_unknown(rated: Engine) -> None:
    with pytest.raises(ChargeNotFoundError, match="There is no charge"):
        ask(rated, 42)
