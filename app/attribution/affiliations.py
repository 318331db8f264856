"""To which department and cost center every team of a contract belongs, over all time."""

from dataclasses import dataclass
from itertools import pairwise

from app.attribution.contract import Affiliation, Contract, Team
from app.units.window import OPEN_MS

_NOWHERE = Affiliation(department="", cost_center="")


@dataclass(frozen=True, slots=True, kw_only=True)
class TeamAffiliation:
    """Where a team stands in the company over ``[from_ms, to_ms)``."""

    team: str
    from_ms: int
    to_ms: int
    where: Affiliation


def affiliations(contract: Contract) -> tuple[TeamAffiliation, ...]:
    """Return the spans of every team of the contract, in the order of names and time.

    Spans in which a team belongs nowhere are left out.
    """
    departments = {0, OPEN_MS}
    for one in contract.departments:
        departments |= {one.valid_from_ms, one.valid_to_ms}
    blocks: dict[str, list[Team]] = {}
    for block in contract.teams:
        blocks.setdefault(block.name, []).append(block)
    spans: list[TeamAffiliation] = []
    for team, own in sorted(blocks.items()):
        # Of thousands of teams each is looked at alone.
        alone = Contract(teams=tuple(own), departments=contract.departments)
        instants = {at for block in own for at in (block.valid_from_ms, block.valid_to_ms)}
        for from_ms, to_ms in pairwise(sorted(departments | instants)):
            where = alone.affiliation_at(team, from_ms)
            last = spans[-1] if spans else None
            if last and (last.team, last.to_ms, last.where) == (team, from_ms, where):
                from_ms = spans.pop().from_ms  # noqa: PLW2901 the span begins where the equal one did
            if where != _NOWHERE:
                spans.append(TeamAffiliation(team=team, from_ms=from_ms, to_ms=to_ms, where=where))
    return tuple(spans)
