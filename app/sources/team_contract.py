"""The team contract's YAML file: all of it as a `Contract`, or one error with its line."""

from collections.abc import Sequence
from datetime import UTC, tzinfo

from app.attribution.contract import (
    UNOWNED,
    Consumer,
    ConsumerSource,
    Contract,
    Platform,
    Team,
)
from app.attribution.owners import Claim, ties
from app.sources.contract_blocks import DATES, dated, one_or_many, validity
from app.sources.contract_departments import check_hierarchy, read_departments
from app.sources.contract_policies import read_policies, token_weights
from app.sources.yaml_blocks import ContractError, Value, read_yaml

_TEAM = (
    "name",
    "cost_center",
    "department",
    "namespaces",
    "clusters",
    "labels",
    "labels_override",
    "budget",
    "slack",
    *DATES,
)


def read_team_contract(text: str, *, filename: str, zone: tzinfo = UTC) -> Contract:
    """Return the contract of a YAML file, all or nothing; days begin at midnight of the zone.

    A later block for the same (a team's name with its clusters, a department, the platform, the
    policies of the same clusters, the token weights of a model) ends the earlier one. Raises
    `ContractError` for anything that is not known or not supported, where two teams provably own
    one namespace or label, and where departments form a cycle.
    """
    document = read_yaml(text, filename, zone)
    if document is None:
        raise ContractError(filename, 1, "the file is empty")
    root = document.block("teams", "departments", "platform", "policies", "consumers")
    team_values, department_values = _items(root.get("teams")), _items(root.get("departments"))
    platform_values = one_or_many(root.get("platform"))
    policy_values = one_or_many(root.get("policies"))
    consumer_values = one_or_many(root.get("consumers"))
    sources = dated(
        [_consumer_source(value) for value in consumer_values],
        consumer_values,
        lambda one: (one.source,),
    )
    platform = dated([_platform(value) for value in platform_values], platform_values, lambda _: ())
    teams = _teams(team_values)
    departments = read_departments(department_values)
    check_hierarchy(departments, department_values, teams, team_values)
    weights = [pair for value in policy_values for pair in token_weights(value)]
    names = {team.name for team in teams}
    contract = Contract(
        teams=teams,
        platform=platform,
        policies=read_policies(policy_values, names | {one.team for one in platform}),
        token_weights=dated(
            [one for one, _ in weights], [value for _, value in weights], lambda one: (one.model,)
        ),
        consumers=_consumers(consumer_values, sources, names),
        consumer_sources=sources,
        departments=departments,
    )
    _refuse_ties(contract, team_values, platform_values)
    return contract


def _refuse_ties(
    contract: Contract, team_values: Sequence[Value], platform_values: Sequence[Value]
) -> None:
    for tie in ties(contract):
        first = _place(tie.first, team_values, platform_values)
        second = _place(tie.second, team_values, platform_values)
        second.refuse(
            f"gives {tie.second} to {tie.second.team}, but line {first.line} gives"
            f" {tie.first} to {tie.first.team}"
        )


def _items(value: Value | None) -> list[Value]:
    return value.items() if value else []


def _teams(values: Sequence[Value]) -> tuple[Team, ...]:
    teams = [_team(value) for value in values]
    return dated(teams, values, lambda team: (team.name, *sorted(team.clusters)))


def _team(value: Value) -> Team:
    block = value.block(*_TEAM)
    name = _team_name(block.need("name"))
    labels = block.get("labels")
    override = block.get("labels_override")
    budget = block.get("budget")
    valid_from_ms, valid_to_ms = validity(block)
    return Team(
        name=name,
        cost_center=block.text("cost_center"),
        department=block.text("department"),
        namespaces=block.texts("namespaces"),
        clusters=block.texts("clusters"),
        labels=tuple(sorted((key, text.scalar()) for key, text in labels.pairs()))
        if labels
        else (),
        labels_override=override.flag() if override else False,
        monthly_budget=budget.block("monthly").need("monthly").amount() if budget else None,
        slack=block.text("slack"),
        valid_from_ms=valid_from_ms,
        valid_to_ms=valid_to_ms,
    )


def _platform(value: Value) -> Platform:
    block = value.block("team", "namespaces", *DATES)
    valid_from_ms, valid_to_ms = validity(block)
    return Platform(
        team=_team_name(block.need("team")),
        namespaces=block.texts("namespaces"),
        valid_from_ms=valid_from_ms,
        valid_to_ms=valid_to_ms,
    )


def _consumer_source(value: Value) -> ConsumerSource:
    block = value.block("source", "map", *DATES)
    valid_from_ms, valid_to_ms = validity(block)
    return ConsumerSource(
        source=block.need("source").text(), valid_from_ms=valid_from_ms, valid_to_ms=valid_to_ms
    )


def _consumers(
    values: Sequence[Value], sources: tuple[ConsumerSource, ...], teams: set[str]
) -> tuple[Consumer, ...]:
    """Return the aliases of every block; each counts as long as its block does."""
    consumers: list[Consumer] = []
    for value, source in zip(values, sources, strict=True):
        aliases = value.block("source", "map", *DATES).get("map")
        for alias, team in aliases.pairs() if aliases else ():
            if team.text() not in teams:
                team.refuse(f'names the team "{team.text()}", which the contract does not have')
            consumers.append(
                Consumer(
                    source=source.source,
                    alias=alias,
                    team=team.text(),
                    valid_from_ms=source.valid_from_ms,
                    valid_to_ms=source.valid_to_ms,
                )
            )
    return tuple(consumers)


def _team_name(value: Value) -> str:
    name = value.text()
    if name == UNOWNED:
        value.refuse(f'must not be "{UNOWNED}", the word for what no team owns')
    return name


def _place(claim: Claim, teams: Sequence[Value], platform: Sequence[Value]) -> Value:
    kind, _, number = claim.block.partition(" ")
    return (teams if kind == "teams" else platform)[int(number)]
