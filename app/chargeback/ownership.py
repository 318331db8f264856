"""Tables of who owns what: the teams of a contract, and the rules that claim one pod."""

from collections.abc import Iterator
from itertools import pairwise

from app.attribution.contract import Contract, Team
from app.attribution.owner_choice import OwnerChoice
from app.chargeback.tables import Cell, Table
from app.units.window import OPEN_MS, from_ms

TEAM_COLUMNS = (
    "team",
    "department",
    "cost_center",
    "clusters",
    "namespaces",
    "monthly_budget",
    "slack",
    "valid_from",
    "valid_to",
)
RULE_COLUMNS = (
    "cluster",
    "namespace",
    "at",
    "team",
    "rule",
    "wins",
    "reason",
    "valid_from",
    "valid_to",
)


def teams_table(contract: Contract, *, team: str = "", at_ms: int | None = None) -> Table:
    """Return the teams' blocks, by name and time, cut where department or cost center change.

    ``team`` narrows to one, ``at_ms`` to what counts at an instant. An end that is open is empty.
    """
    spans = [
        (block.name, begins, " ".join(block.clusters), ends, block)
        for block in contract.teams
        for begins, ends in _spans(contract, block)
        if team in ("", block.name) and (at_ms is None or begins <= at_ms < ends)
    ]
    spans.sort(key=lambda span: span[:3])
    rows = [
        (
            name,
            *_where(contract, block, begins),
            clusters,
            " ".join(block.namespaces),
            block.monthly_budget,
            block.slack,
            _instant(begins),
            _instant(ends),
        )
        for name, begins, clusters, ends, block in spans
    ]
    return Table(TEAM_COLUMNS, tuple(rows))


def rules_table(choice: OwnerChoice) -> Table:
    """Return the rules that fit the pod, the one that wins first; without any, nobody's."""
    place = (choice.cluster, choice.namespace, _instant(choice.at_ms))
    rows: list[tuple[Cell, ...]] = [
        (
            *place,
            one.claim.team,
            str(one.claim),
            one.wins,
            one.reason,
            _instant(one.claim.valid_from_ms),
            _instant(one.claim.valid_to_ms),
        )
        for one in choice.claims
    ]
    if not any(one.wins for one in choice.claims):
        because = "the rules tie" if choice.contested else "no rule claims it"
        rows.insert(0, (*place, choice.team, "", True, because, "", ""))
    return Table(RULE_COLUMNS, tuple(rows))


def _spans(contract: Contract, block: Team) -> Iterator[tuple[int, int]]:
    """Yield the spans of a block in which its department and cost center stay the same."""
    instants = {block.valid_from_ms, block.valid_to_ms}
    for one in contract.departments:
        instants |= {one.valid_from_ms, one.valid_to_ms}
    inside = sorted(ms for ms in instants if block.valid_from_ms <= ms <= block.valid_to_ms)
    begins = inside[0]
    for _, ms in pairwise(inside):
        if ms == block.valid_to_ms or _where(contract, block, ms) != _where(
            contract, block, begins
        ):
            yield begins, ms
            begins = ms


def _where(contract: Contract, block: Team, at_ms: int) -> tuple[str, str]:
    found = contract.affiliation_at(block.name, at_ms)
    return found.department, found.cost_center


def _instant(ms: int) -> str:
    if ms in (0, OPEN_MS):
        return ""
    return f"{from_ms(ms):%Y-%m-%dT%H:%M:%SZ}"
