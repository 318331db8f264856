"""The policies of the team contract: how cost is divided, from when on, in which clusters."""

from collections.abc import Collection, Sequence
from dataclasses import replace
from decimal import Decimal
from itertools import pairwise

from app.attribution.contract import (
    Contract,
    Policies,
    SharedMetric,
    SharedPolicy,
    TokenWeights,
)
from app.sources.contract_blocks import DATES, choice, dated, validity
from app.sources.yaml_blocks import Block, Value

# These count in every cluster alike: facts of services and devices know no policy of a cluster.
_EVERYWHERE = ("idle", "time_slicing", "mig_share", "token_weights")
_SHARED = ("shared", "shared_percent", "shared_metric")
_POLICIES = (
    "rating",
    "unallocated",
    "true_up",
    *_SHARED,
    *_EVERYWHERE,
    "clusters",
    "teams",
    *DATES,
)
_WHOLE = Decimal(100)


def read_policies(values: Sequence[Value], teams: Collection[str]) -> tuple[Policies, ...]:
    """Return the policies of all blocks; ``teams`` are the names that they may use.

    A later block for the same clusters ends the earlier one. What a block for a cluster does not
    say it takes from the block for all that counts at the time, so each of them becomes as many
    values as there are such blocks during it. Refuses shares that do not sum to 100, teams that
    the contract does not have, and keys that count in every cluster in a block of some.
    """
    blocks = [(value, value.block(*_POLICIES)) for value in values]
    general = [(value, block) for value, block in blocks if not block.texts("clusters")]
    for_all = dated(
        [_policies(block, teams, Policies()) for _, block in general],
        [value for value, _ in general],
        lambda _: (),
    )
    own = [
        (value, block, cluster)
        for value, block in blocks
        for cluster in dict.fromkeys(block.texts("clusters"))
    ]
    ended = dated(
        [replace(_policies(block, teams, Policies()), clusters=(name,)) for _, block, name in own],
        [value for value, _, _ in own],
        lambda one: one.clusters,
    )
    bases = Contract(policies=for_all)
    resolved: list[Policies] = []
    for (_, block, _), one in zip(own, ended, strict=True):
        for key in _EVERYWHERE:
            value = block.get(key)
            if value:
                value.refuse("counts in every cluster; write it in a block without clusters")
        resolved += _on_top(one, block, bases, teams)
    return (*for_all, *resolved)


def token_weights(policies: Value) -> list[tuple[TokenWeights, Value]]:
    """Return the token weights of one policies block; they begin with it unless they say when."""
    block = policies.block(*_POLICIES)
    listed = block.get("token_weights")
    return [
        (_weights(value, validity(block)), value) for value in (listed.items() if listed else [])
    ]


def _on_top(one: Policies, block: Block, bases: Contract, teams: Collection[str]) -> list[Policies]:
    """Cut a cluster's block where the blocks for all change, and lay it on what counts there."""
    instants = {one.valid_from_ms, one.valid_to_ms}
    for base in bases.policies:
        instants |= {base.valid_from_ms, base.valid_to_ms}
    inside = sorted(ms for ms in instants if one.valid_from_ms <= ms <= one.valid_to_ms)
    return [
        replace(
            _policies(block, teams, bases.policies_at(from_ms)),
            clusters=one.clusters,
            valid_from_ms=from_ms,
            valid_to_ms=to_ms,
        )
        for from_ms, to_ms in pairwise(inside)
    ]


def _policies(block: Block, teams: Collection[str], base: Policies) -> Policies:
    """Return what a block says, and ``base`` for what it does not."""
    valid_from_ms, valid_to_ms = validity(block)
    listed = block.get("teams")
    part = tuple(_team(value, teams) for value in listed.items()) if listed else base.teams
    policies = Policies(
        rating=choice(block, "rating", base.rating),
        unallocated=choice(block, "unallocated", base.unallocated),
        shared=base.shared,
        shared_percent=base.shared_percent,
        shared_metric=base.shared_metric,
        true_up=choice(block, "true_up", base.true_up),
        idle=choice(block, "idle", base.idle),
        time_slicing=choice(block, "time_slicing", base.time_slicing),
        mig_share=choice(block, "mig_share", base.mig_share),
        teams=part,
        valid_from_ms=valid_from_ms,
        valid_to_ms=valid_to_ms,
    )
    return _shared(block, teams, policies) if any(map(block.get, _SHARED)) else policies


def _shared(block: Block, teams: Collection[str], policies: Policies) -> Policies:
    """Return the policies with the block's own way to share the platform's namespaces."""
    shared = choice(block, "shared", SharedPolicy.PLATFORM)
    percent, metric = block.get("shared_percent"), block.get("shared_metric")
    if percent and shared is not SharedPolicy.FIXED:
        percent.refuse("counts beside shared: fixed alone")
    if metric and shared is not SharedPolicy.METRIC:
        metric.refuse("counts beside shared: metric alone")
    if shared is SharedPolicy.FIXED:
        return replace(
            policies,
            shared=shared,
            shared_percent=_percents(block.need("shared_percent"), teams, policies.teams),
            shared_metric=None,
        )
    measured = None
    if shared is SharedPolicy.METRIC:
        block.need("shared_metric")
        measured = choice(block, "shared_metric", SharedMetric.GPU_SECONDS_HELD)
    return replace(policies, shared=shared, shared_percent=(), shared_metric=measured)


def _percents(
    value: Value, teams: Collection[str], part: Collection[str]
) -> tuple[tuple[str, Decimal], ...]:
    percents: list[tuple[str, Decimal]] = []
    for name, percent in value.pairs():
        if name not in teams:
            percent.refuse(f'names the team "{name}", which the contract does not have')
        if part and name not in part:
            percent.refuse(f'names the team "{name}", which is not among the teams of the block')
        percents.append((name, percent.amount()))
    whole = sum((percent for _, percent in percents), Decimal(0))
    if whole != _WHOLE:
        value.refuse(f"must sum to 100, and sums to {whole.normalize():f}")
    return tuple(sorted(percents))


def _team(value: Value, teams: Collection[str]) -> str:
    name = value.text()
    if name not in teams:
        value.refuse(f'names the team "{name}", which the contract does not have')
    return name


def _weights(value: Value, outer: tuple[int, int]) -> TokenWeights:
    block = value.block("model", "prompt", "cached", "generation", *DATES)
    own = validity(block)
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


def _amount(block: Block, key: str, default: Decimal) -> Decimal:
    value = block.get(key)
    return default if value is None else value.amount()
