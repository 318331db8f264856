"""Where teams stand over all time: spans that tile it, equal to asking at every instant."""

import itertools

from hypothesis import given
from hypothesis import strategies as st

from app.attribution.affiliations import affiliations
from app.attribution.contract import Affiliation, Contract, Department, Platform, Team
from app.units.window import OPEN_MS

INSTANTS = (0, 10, 20, 30, OPEN_MS)


def test_spans_are_united_where_nothing_but_a_namespace_changes() -> None:
    contract = Contract(
        teams=(
            Team(name="search", department="web", namespaces=("a",), valid_to_ms=10),
            Team(name="search", department="web", namespaces=("b",), valid_from_ms=10),
            Team(name="free"),
        ),
        departments=(
            Department(name="web", cost_center="CC-1", valid_to_ms=20),
            Department(name="web", cost_center="CC-2", valid_from_ms=20),
        ),
        platform=(Platform(team="platform"),),
    )

    found = [(one.team, one.from_ms, one.to_ms, one.where) for one in affiliations(contract)]

    assert found == [
        ("search", 0, 20, Affiliation(department="web", cost_center="CC-1")),
        ("search", 20, OPEN_MS, Affiliation(department="web", cost_center="CC-2")),
    ]


spans = st.lists(st.sampled_from(INSTANTS), min_size=2, max_size=2, unique=True).map(sorted)
names = st.sampled_from(["a", "b", "c", ""])


@st.composite
def contracts(draw: st.DrawFn) -> Contract:
    departments = tuple(
        Department(
            name=draw(st.sampled_from("abc")),
            parent=draw(names),
            cost_center=draw(st.sampled_from(["", "CC-1", "CC-2"])),
            valid_from_ms=span[0],
            valid_to_ms=span[1],
        )
        for span in draw(st.lists(spans, max_size=4))
    )
    teams = tuple(
        Team(
            name=draw(st.sampled_from(["search", "ads"])),
            department=draw(names),
            cost_center=draw(st.sampled_from(["", "CC-9"])),
            valid_from_ms=span[0],
            valid_to_ms=span[1],
        )
        for span in draw(st.lists(spans, max_size=4))
    )
    return Contract(teams=teams, departments=departments)


@given(contracts())
def test_spans_say_at_every_instant_what_the_contract_says(contract: Contract) -> None:
    found = affiliations(contract)

    for team in {one.name for one in contract.teams}:
        own = [one for one in found if one.team == team]
        assert all(one.to_ms <= after.from_ms for one, after in itertools.pairwise(own))
        for at in (0, 5, 10, 15, 20, 25, 30, 35):
            here = [one.where for one in own if one.from_ms <= at < one.to_ms]
            expected = contract.affiliation_at(team, at)
            assert (here or [Affiliation(department="", cost_center="")]) == [expected]
