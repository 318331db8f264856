"""Whose tokens a service served: gateways' tokens matched to services, weighted, by consumer."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from app.attribution.consumer_matching import MatchScope, RouteMatch, RouteMatcher, ServingDay
from app.attribution.contract import UNOWNED, Contract, TokenWeights, millionths
from app.attribution.redistribution import BillingDay, Share
from app.usage.consumers import GatewayConsumer, GatewayRoute
from app.usage.identity import team_id
from app.usage.models import ModelTable


@dataclass(frozen=True, slots=True, kw_only=True)
class Sent:
    """What one consumer sent along one route on a day; ``cached`` is part of ``prompt``.

    ``cluster`` is where the gateway was seen.
    """

    cluster: str
    consumer: GatewayConsumer
    route: GatewayRoute
    prompt: int = 0
    cached: int = 0
    generation: int = 0

    @property
    def tokens(self) -> int:
        """Prompt and generation tokens."""
        return self.prompt + self.generation


@dataclass(frozen=True, slots=True, kw_only=True)
class ConsumerShare:
    """What a consumer sent to a service, as far as the gateway tells; ``weight`` in millionths."""

    consumer: GatewayConsumer
    team: str | None
    scope: MatchScope
    prompt: int
    cached: int
    generation: int
    weight: int

    def share(self) -> Share:
        """Return it as a receiver of the service's cost."""
        who = self.consumer
        return Share(
            key=(who.gateway, who.team, who.key_alias, who.end_user),
            team_id=None if self.team is None else team_id(self.team),
            weight=self.weight,
            consumer_id=who.consumer_id,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceShares:
    """The consumers of a service on a day.

    ``gateway_tokens`` are those of everything that may have gone to the service, ``engine_tokens``
    what all services counted that this may have gone to; None where one of them does not count.
    """

    workload_id: int
    consumers: tuple[ConsumerShare, ...]
    gateway_tokens: int
    engine_tokens: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Elsewhere:
    """Tokens that no service here served: left out of every division, and counted."""

    cluster: str
    gateway: str
    model: str
    tokens: int


@dataclass(frozen=True, slots=True, kw_only=True)
class DayShares:
    """The consumers of every service that any tokens were matched to, and the rest.

    ``silent`` are the contract's sources of consumers that said nothing on the day.
    """

    services: tuple[ServiceShares, ...]
    elsewhere: tuple[Elsewhere, ...]
    silent: tuple[str, ...] = ()


@dataclass(slots=True)
class _Tally:
    """What is added up for one consumer at one service."""

    team: str | None
    scope: MatchScope = MatchScope.SERVICE
    prompt: int = 0
    cached: int = 0
    generation: int = 0
    weight: int = 0


@dataclass(slots=True)
class _Groups:
    """Services that share tokens of which nobody says to which of them they went."""

    parent: dict[int, int] = field(default_factory=dict)

    def of(self, one: int) -> int:
        """Return the group's first service."""
        while (above := self.parent.setdefault(one, one)) != one:
            one = above
        return one

    def unite(self, members: Sequence[int]) -> None:
        """Let the members be of one group."""
        first = min(map(self.of, members))
        for one in members:
            self.parent[self.of(one)] = first


def day_shares(
    day: BillingDay,
    sent: Iterable[Sent],
    services: Sequence[ServingDay],
    table: ModelTable,
    contract: Contract,
) -> DayShares:
    """Match what consumers sent to the services that served it.

    Only the gateways count that the contract names as sources of consumers on the day. Tokens whose
    service the gateway does not tell count, whole, for each service of their model: they are
    weights, and weights of one service are compared with each other only.
    """
    sources = _sources_at(contract, day.start_ms)
    aliases = _aliases_at(contract, day.start_ms)
    matcher = RouteMatcher(services, table)
    division = _Division()
    teams: dict[GatewayConsumer, str | None] = {}
    heard: set[str] = set()
    for row in sorted(sent, key=lambda one: (one.consumer, one.route, one.cluster)):
        if row.consumer.gateway not in sources:
            continue
        heard.add(row.consumer.gateway)
        found = matcher.match(row.route)
        if found is None:
            division.leave_out(row)
            continue
        if row.consumer not in teams:
            teams[row.consumer] = _team_of(row.consumer, aliases)
        weights = contract.weights_at(found.model, day.start_ms)
        division.add(row, found, weights, teams[row.consumer])
    return replace(division.result(services), silent=tuple(sorted(sources - heard)))


def weighted_tokens(prompt: int, cached: int, generation: int, weights: TokenWeights) -> int:
    """Return tokens times weights in millionths; cached tokens count as such, not as prompt."""
    return (
        max(prompt - cached, 0) * millionths(weights.prompt)
        + cached * millionths(weights.cached)
        + generation * millionths(weights.generation)
    )


def known_sum(counts: Sequence[int | None]) -> int | None:
    """Return the sum, None where one of them is not known."""
    known = [count for count in counts if count is not None]
    return sum(known) if len(known) == len(counts) else None


def _sources_at(contract: Contract, at_ms: int) -> frozenset[str]:
    """Return the gateways whose tokens divide services' costs at the instant."""
    return frozenset(
        one.source
        for one in contract.consumer_sources
        if one.valid_from_ms <= at_ms < one.valid_to_ms
    )


def _aliases_at(contract: Contract, at_ms: int) -> Mapping[tuple[str, str], str]:
    """Return the teams of consumers at the instant, by gateway and alias."""
    return {
        (one.source, one.alias): one.team
        for one in contract.consumers
        if one.valid_from_ms <= at_ms < one.valid_to_ms
    }


def _team_of(consumer: GatewayConsumer, aliases: Mapping[tuple[str, str], str]) -> str | None:
    """Return who pays for a consumer: None is the provider, as nobody knows who it is.

    The map of the contract is asked for the end user, then for the key alias, then for the team
    alias; one that it does not have is a consumer of its own whom no team owns.
    """
    if not consumer.identified:
        return None
    for alias in (consumer.end_user, consumer.key_alias, consumer.team):
        if alias and (team := aliases.get((consumer.gateway, alias))) is not None:
            return team
    return UNOWNED


class _Division:
    """Adds up what was sent to each service, and what may have gone to several."""

    def __init__(self) -> None:
        self._tallies: dict[int, dict[GatewayConsumer, _Tally]] = {}
        # By the first of the services that a stream of tokens may have gone to.
        self._gateway_tokens: dict[int, int] = {}
        self._elsewhere: dict[tuple[str, str, str], int] = {}
        self._groups = _Groups()

    def leave_out(self, row: Sent) -> None:
        """Count tokens that no service here served."""
        key = (row.cluster, row.consumer.gateway, row.route.target_model or row.route.model)
        self._elsewhere[key] = self._elsewhere.get(key, 0) + row.tokens

    def add(self, row: Sent, found: RouteMatch, weights: TokenWeights, team: str | None) -> None:
        """Count tokens for each of the services that they may have gone to."""
        for service in found.services:
            tally = self._tallies.setdefault(service, {}).setdefault(row.consumer, _Tally(team))
            tally.scope = max(tally.scope, found.scope)
            tally.prompt += row.prompt
            tally.cached += row.cached
            tally.generation += row.generation
            tally.weight += weighted_tokens(row.prompt, row.cached, row.generation, weights)
        self._groups.unite(found.services)
        first = found.services[0]
        self._gateway_tokens[first] = self._gateway_tokens.get(first, 0) + row.tokens

    def result(self, services: Sequence[ServingDay]) -> DayShares:
        """Return what was added up."""
        group_of = self._groups.of
        gateway: dict[int, int] = {}
        for service, tokens in self._gateway_tokens.items():
            gateway[group_of(service)] = gateway.get(group_of(service), 0) + tokens
        counted = {one.workload_id: _engine_tokens(one) for one in services}
        engine: dict[int, list[int | None]] = {}
        for service in self._tallies:
            engine.setdefault(group_of(service), []).append(counted[service])
        return DayShares(
            services=tuple(
                ServiceShares(
                    workload_id=service,
                    consumers=_consumers(self._tallies[service]),
                    gateway_tokens=gateway[group_of(service)],
                    engine_tokens=known_sum(engine[group_of(service)]),
                )
                for service in sorted(self._tallies)
            ),
            elsewhere=tuple(
                Elsewhere(cluster=cluster, gateway=name, model=model, tokens=tokens)
                for (cluster, name, model), tokens in sorted(self._elsewhere.items())
                if tokens
            ),
        )


def _consumers(tallies: Mapping[GatewayConsumer, _Tally]) -> tuple[ConsumerShare, ...]:
    return tuple(
        ConsumerShare(
            consumer=consumer,
            team=tally.team,
            scope=tally.scope,
            prompt=tally.prompt,
            cached=tally.cached,
            generation=tally.generation,
            weight=tally.weight,
        )
        for consumer, tally in sorted(tallies.items(), key=lambda item: item[0])
    )


def _engine_tokens(service: ServingDay) -> int | None:
    return known_sum([tokens for _, tokens in service.tokens])
