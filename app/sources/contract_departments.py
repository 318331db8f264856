"""The departments of the team contract: which belongs to which, from when on."""

from collections.abc import Sequence

from app.attribution.contract import Contract, Department, Team
from app.sources.contract_blocks import DATES, dated, validity
from app.sources.yaml_blocks import Value


def read_departments(values: Sequence[Value]) -> tuple[Department, ...]:
    """Return the departments of all blocks; a later block of a department ends the earlier one."""
    return dated([_department(value) for value in values], values, lambda one: (one.name,))


def check_hierarchy(
    departments: tuple[Department, ...],
    department_values: Sequence[Value],
    teams: tuple[Team, ...],
    team_values: Sequence[Value],
) -> None:
    """Refuse what belongs to a department that is not there at the time, and cycles.

    Between two dates of the departments nothing changes, so those are looked at, and the beginning
    of every team.
    """
    contract = Contract(departments=departments)
    borders = {one.valid_from_ms for one in departments} | {one.valid_to_ms for one in departments}
    for one, value in zip(departments, department_values, strict=True):
        for at_ms in sorted(borders):
            if one.valid_from_ms <= at_ms < one.valid_to_ms:
                _need(contract, one.parent, at_ms, value)
                _refuse_cycle(contract, one, at_ms, value)
    for team, value in zip(teams, team_values, strict=True):
        for at_ms in sorted(borders | {team.valid_from_ms}) if team.department else ():
            if team.valid_from_ms <= at_ms < team.valid_to_ms:
                _need(contract, team.department, at_ms, value)


def _department(value: Value) -> Department:
    block = value.block("name", "parent", "cost_center", *DATES)
    valid_from_ms, valid_to_ms = validity(block)
    return Department(
        name=block.need("name").text(),
        parent=block.text("parent"),
        cost_center=block.text("cost_center"),
        valid_from_ms=valid_from_ms,
        valid_to_ms=valid_to_ms,
    )


def _need(contract: Contract, name: str, at_ms: int, value: Value) -> None:
    if not name or contract.department_at(name, at_ms):
        return
    if any(one.name == name for one in contract.departments):
        value.refuse(f'belongs to the department "{name}", which is not there for all of its time')
    value.refuse(f'belongs to the department "{name}", which the contract does not have')


def _refuse_cycle(contract: Contract, one: Department, at_ms: int, value: Value) -> None:
    path = [one.name]
    above = contract.department_at(one.parent, at_ms)
    while above is not None:
        path.append(above.name)
        if above.name == one.name:
            value.refuse(f"belongs to itself: {' → '.join(path)}")
        if above.name in path[:-1]:
            return
        above = contract.department_at(above.parent, at_ms)
