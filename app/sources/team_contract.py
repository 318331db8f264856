"""The team contract's YAML file: all of it as a `Contract`, or one error with its line."""

from dataclasses import replace
from decimal import Decimal
from enum import StrEnum
from typing import TypeVar

from app.attribution.contract import (
    UNOWNED,
    Consumer,
    ConsumerSource,
    Contract,
    IdlePolicy,
    Platform,
    Policies,
    SharedPolicy,
    Team,
    TokenWeights,
    UnallocatedPolicy,
)
from app.attribution.owners import Claim, ties
from app.sources.yaml_blocks import Block, ContractError, Value, read_yaml
from app.units.window import OPEN_MS
from app.usage.share_policies import MigSharePolicy, TimeSlicingPolicy

_Choice = TypeVar("_Choice", bound=StrEnum)
_Dated = TypeVar("_Dated", Team, Platform, Policies, TokenWeights, ConsumerSource)

_DATES = ("valid_from", "valid_to")
_TEAM = (
    "name",
    "cost_center",
    "namespaces",
    "clusters",
    "labels",
    "labels_override",
    "budget",
    "slack",
    *_DATES,
)
_POLICIES = (
    "unallocated",
    "shared",
    "idle",
    "time_slicing",
    "mig_share",
    "token_weights",
    *_DATES,
)


def read_team_contract(text: str, *, filename: str) -> Contract:
    """Return the contract of a YAML file, all or nothing.

    A later block for the same (a team's name with its clusters, the platform, the policies, the
    token weights of a model) ends the earlier one. Raises `ContractError` for anything that is
    not known or not supported, and where two teams provably own one namespace or label.
    """
    document = read_yaml(text, filename)
    if document is None:
        raise ContractError(filename, 1, "the file is empty")
    root = document.block("teams", "platform", "policies", "consumers")
    teams_value, platform_value = root.get("teams"), root.get("platform")
    team_values = teams_value.items() if teams_value else []
    platform_values = _one_or_many(platform_value)
    policy_values = _one_or_many(root.get("policies"))
    consumer_values = _one_or_many(root.get("consumers"))
    sources = _dated([_consumer_source(value) for value in consumer_values], consumer_values)
    teams = [_team(value) for value in team_values]
    weights = [pair for value in policy_values for pair in _token_weights(value)]
    contract = Contract(
        teams=_dated(teams, team_values),
        platform=_dated([_platform(value) for value in platform_values], platform_values),
        policies=_dated([_policies(value) for value in policy_values], policy_values),
        token_weights=_dated([one for one, _ in weights], [value for _, value in weights]),
        consumers=_consumers(consumer_values, sources, {team.name for team in teams}),
        consumer_sources=sources,
    )
    for tie in ties(contract):
        first = _place(tie.first, team_values, platform_values)
        second = _place(tie.second, team_values, platform_values)
        second.refuse(
            f"gives {tie.second} to {tie.second.team}, but line {first.line} gives"
            f" {tie.first} to {tie.first.team}"
        )
    return contract


def _team(value: Value) -> Team:
    block = value.block(*_TEAM)
    name = _team_name(block.need("name"))
    labels = block.get("labels")
    override = block.get("labels_override")
    budget = block.get("budget")
    valid_from_ms, valid_to_ms = _validity(block)
    return Team(
        name=name,
        cost_center=block.text("cost_center"),
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
    block = value.block("team", "namespaces", *_DATES)
    valid_from_ms, valid_to_ms = _validity(block)
    return Platform(
        team=_team_name(block.need("team")),
        namespaces=block.texts("namespaces"),
        valid_from_ms=valid_from_ms,
        valid_to_ms=valid_to_ms,
    )


def _policies(value: Value) -> Policies:
    block = value.block(*_POLICIES)
    valid_from_ms, valid_to_ms = _validity(block)
    return Policies(
        unallocated=_choice(block, "unallocated", UnallocatedPolicy.PLATFORM),
        shared=_choice(block, "shared", SharedPolicy.PLATFORM),
        idle=_choice(block, "idle", IdlePolicy.HOLDER),
        time_slicing=_choice(block, "time_slicing", TimeSlicingPolicy.SLOTS),
        mig_share=_choice(block, "mig_share", MigSharePolicy.MAX),
        valid_from_ms=valid_from_ms,
        valid_to_ms=valid_to_ms,
    )


def _token_weights(policies: Value) -> list[tuple[TokenWeights, Value]]:
    """Return the token weights of one policies block; they begin with it unless they say when."""
    block = policies.block(*_POLICIES)
    listed = block.get("token_weights")
    return [
        (_weights(value, _validity(block)), value) for value in (listed.items() if listed else [])
    ]


def _weights(value: Value, outer: tuple[int, int]) -> TokenWeights:
    block = value.block("model", "prompt", "cached", "generation", *_DATES)
    own = _validity(block)
    weights = TokenWeights(
        model=block.text("model") or "*",
        prompt=_amount(block, "prompt", TokenWeights().prompt),
        cached=_amount(block, "cached", TokenWeights().cached),
        generation=_amount(block, "generation", TokenWeights().generation),
        valid_from_ms=own[0] if block.get("valid_from") else outer[0],
        valid_to_ms=own[1] if block.get("valid_to") else outer[1],
    )
    if not (weights.prompt or weights.cached or weights.generation):
        value.refuse("has no weight above zero")
    return weights


def _consumer_source(value: Value) -> ConsumerSource:
    block = value.block("source", "map", *_DATES)
    valid_from_ms, valid_to_ms = _validity(block)
    return ConsumerSource(
        source=block.need("source").text(), valid_from_ms=valid_from_ms, valid_to_ms=valid_to_ms
    )


def _consumers(
    values: list[Value], sources: tuple[ConsumerSource, ...], teams: set[str]
) -> tuple[Consumer, ...]:
    """Return the aliases of every block; each counts as long as its block does."""
    consumers: list[Consumer] = []
    for value, source in zip(values, sources, strict=True):
        aliases = value.block("source", "map", *_DATES).get("map")
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


def _choice(block: Block, key: str, default: _Choice) -> _Choice:
    value = block.get(key)
    if value is None:
        return default
    supported = list(type(default))
    if value.text() not in supported:
        value.refuse(
            f'"{value.text()}" is not supported in this version; supported: {", ".join(supported)}'
        )
    return type(default)(value.text())


def _amount(block: Block, key: str, default: Decimal) -> Decimal:
    value = block.get(key)
    return default if value is None else value.amount()


def _validity(block: Block) -> tuple[int, int]:
    valid_from, valid_to = block.get("valid_from"), block.get("valid_to")
    from_ms = valid_from.instant() if valid_from else 0
    to_ms = valid_to.instant() if valid_to else OPEN_MS
    if valid_to and to_ms <= from_ms:
        valid_to.refuse("must be after valid_from")
    return from_ms, to_ms


def _one_or_many(value: Value | None) -> list[Value]:
    """Return a block that may also be written as a list of dated blocks."""
    if value is None:
        return []
    return [value] if value.is_mapping() else value.items()


def _dated(blocks: list[_Dated], values: list[Value]) -> tuple[_Dated, ...]:
    """End each block where the next one for the same subject begins."""
    ended: list[_Dated] = []
    for number, (block, value) in enumerate(zip(blocks, values, strict=True)):
        begins = [
            (other, one.valid_from_ms)
            for other, one in enumerate(blocks)
            if other != number and _subject(one) == _subject(block)
        ]
        if any(other < number and ms == block.valid_from_ms for other, ms in begins):
            value.refuse("stands there twice for the same time; give the later one a valid_from")
        next_ms = min((ms for _, ms in begins if ms > block.valid_from_ms), default=OPEN_MS)
        ended.append(replace(block, valid_to_ms=min(block.valid_to_ms, next_ms)))
    return tuple(ended)


def _subject(
    block: Team | Platform | Policies | TokenWeights | ConsumerSource,
) -> tuple[str, ...]:
    match block:
        case Team():
            return (block.name, *sorted(block.clusters))
        case TokenWeights():
            return (block.model,)
        case ConsumerSource():
            return (block.source,)
        case _:
            return ()


def _place(claim: Claim, teams: list[Value], platform: list[Value]) -> Value:
    kind, _, number = claim.block.partition(" ")
    return (teams if kind == "teams" else platform)[int(number)]
