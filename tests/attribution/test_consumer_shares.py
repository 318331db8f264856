"""Whose tokens a service served: matching, weights, and the ratio to what the engines counted."""

from decimal import Decimal
from fractions import Fraction

from hypothesis import given
from hypothesis import strategies as st

from app.attribution.consumer_matching import MatchScope, ServingDay
from app.attribution.consumer_shares import (
    DayShares,
    Sent,
    day_shares,
    weighted_tokens,
)
from app.attribution.contract import Consumer, ConsumerSource, Contract, Team, TokenWeights
from app.attribution.redistribution import (
    BillingDay,
    DayCost,
    RedistributionStep,
    redistribute,
)
from app.units.window import HOUR_MS
from app.usage.consumers import GatewayConsumer, GatewayRoute
from app.usage.models import ModelEntry, ModelTable

# 2026-11-23T00:00:00Z.
MIDNIGHT_MS = 1_795_392_000_000
DAY = BillingDay(start_ms=MIDNIGHT_MS, end_ms=MIDNIGHT_MS + 24 * HOUR_MS)
CONTRACT = Contract(
    teams=(Team(name="search"), Team(name="ads")),
    consumers=(
        Consumer(source="litellm", alias="key-a", team="search"),
        Consumer(source="litellm", alias="Ads Team", team="ads"),
    ),
    consumer_sources=(ConsumerSource(source="litellm"),),
)


def a_service(
    identity: int = 1, *, cluster: str = "eu", model: str = "llama", tokens: int | None = 1_000
) -> ServingDay:
    return ServingDay(
        workload_id=identity,
        cluster=cluster,
        namespace="serving",
        name=f"llama-{identity}",
        tokens=((model, tokens),),
    )


def sent(
    generation: int = 100,
    *,
    team: str = "",
    key: str = "key-a",
    gateway: str = "litellm",
    **route: str,
) -> Sent:
    return Sent(
        cluster="eu",
        consumer=GatewayConsumer(gateway=gateway, team=team, key_alias=key),
        route=GatewayRoute(**{"model": "llama", **route}),
        generation=generation,
    )


def shares_of(
    *rows: Sent,
    services: tuple[ServingDay, ...] = (a_service(),),
    contract: Contract = CONTRACT,
    table: ModelTable | None = None,
) -> DayShares:
    return day_shares(DAY, rows, services, table or ModelTable(), contract)


def teams(shares: DayShares) -> list[tuple[str | None, int]]:
    (service,) = shares.services
    return [(one.team, one.generation) for one in service.consumers]


def test_a_key_alias_goes_before_the_team_alias() -> None:
    found = shares_of(sent(1, key="key-a", team="Ads Team"), sent(2, key="key-b", team="Ads Team"))

    assert teams(found) == [("search", 1), ("ads", 2)]


def test_an_alias_that_no_map_has_is_a_consumer_of_its_own_whom_no_team_owns() -> None:
    assert teams(shares_of(sent(3, key="key-x"))) == [("unowned", 3)]


def test_tokens_without_an_identity_stay_with_the_provider() -> None:
    assert teams(shares_of(sent(5, key=""))) == [(None, 5)]


def test_gateways_that_the_contract_does_not_name_divide_nothing() -> None:
    assert shares_of(sent(gateway="kong")) == DayShares(
        services=(), elsewhere=(), silent=("litellm",)
    )
    assert shares_of(sent(), contract=Contract()) == DayShares(services=(), elsewhere=())


def test_a_map_counts_from_its_date_on() -> None:
    later = Contract(
        consumers=(
            Consumer(source="litellm", alias="key-a", team="search", valid_from_ms=DAY.end_ms),
        ),
        consumer_sources=CONTRACT.consumer_sources,
    )

    assert teams(shares_of(sent(), contract=later)) == [("unowned", 100)]


def test_tokens_of_models_run_elsewhere_are_left_out_and_counted() -> None:
    found = shares_of(sent(7, model="gpt-4o"), sent(8, model="gpt-4o", key="key-x"), sent(1))

    assert teams(found) == [("search", 1)]
    assert [(one.gateway, one.model, one.tokens) for one in found.elsewhere] == [
        ("litellm", "gpt-4o", 15)
    ]


def test_a_model_of_two_clusters_counts_in_both_and_says_so() -> None:
    both = (a_service(1), a_service(2, cluster="us", tokens=3_000))
    found = shares_of(sent(1_000), services=both)

    assert [service.workload_id for service in found.services] == [1, 2]
    assert {one.scope for service in found.services for one in service.consumers} == {
        MatchScope.MODEL
    }
    assert {(one.gateway_tokens, one.engine_tokens) for one in found.services} == {(1_000, 4_000)}


def test_a_gateway_that_names_the_backend_means_that_service_alone() -> None:
    both = (a_service(1), a_service(2, cluster="us"))
    found = shares_of(sent(10, backend="llama-2", backend_namespace="serving"), services=both)

    (service,) = found.services
    assert (service.workload_id, service.gateway_tokens, service.engine_tokens) == (2, 10, 1_000)
    assert service.consumers[0].scope is MatchScope.SERVICE


def test_a_cluster_is_enough_where_one_service_of_the_model_is_there() -> None:
    both = (a_service(1), a_service(2, cluster="us"))
    (service,) = shares_of(sent(10, cluster="us"), services=both).services

    assert service.workload_id == 2


def test_a_backend_that_is_no_service_s_name_says_nothing() -> None:
    found = shares_of(sent(backend="llama-svc", backend_namespace="other"))

    assert found.services[0].consumers[0].scope is MatchScope.MODEL


def test_what_was_sent_to_goes_before_what_was_asked_for() -> None:
    two = (a_service(1, model="small"), a_service(2, model="large"))
    (service,) = shares_of(sent(model="small", target_model="large"), services=two).services

    assert service.workload_id == 2


def test_a_request_that_fell_back_on_a_model_elsewhere_was_not_served_here() -> None:
    found = shares_of(sent(7, model="llama", target_model="gpt-4o"), sent(1))

    assert teams(found) == [("search", 1)]
    assert [(one.model, one.tokens) for one in found.elsewhere] == [("gpt-4o", 7)]


def test_a_named_backend_is_the_service_whatever_the_gateway_calls_the_model() -> None:
    both = (a_service(1), a_service(2, cluster="us", model="qwen"))
    route = {"model": "qwen-turbo", "backend": "llama-2", "backend_namespace": "serving"}
    (service,) = shares_of(sent(10, **route), services=both).services

    assert (service.workload_id, service.gateway_tokens) == (2, 10)
    assert service.consumers[0].scope is MatchScope.SERVICE


def test_a_service_that_counted_no_token_of_the_model_served_none() -> None:
    spare = a_service(2, cluster="us", tokens=0)
    (service,) = shares_of(sent(10), services=(a_service(1), spare)).services

    assert (service.workload_id, service.engine_tokens) == (1, 1_000)
    # Unless the gateway names it, or nobody counted anything.
    (named,) = shares_of(sent(10, cluster="us"), services=(a_service(1), spare)).services
    assert named.workload_id == 2
    assert len(shares_of(sent(1), services=(a_service(1, tokens=0), spare)).services) == 2


def test_other_names_of_a_model_are_joined_by_the_table() -> None:
    table = ModelTable([ModelEntry(name="llama", aliases=("chat",))])

    assert teams(shares_of(sent(4, model="chat"), table=table)) == [("search", 4)]
    assert teams(shares_of(sent(4, model="openai/LLaMA"))) == [("search", 4)]


def test_the_ratio_is_unknown_where_an_engine_does_not_count() -> None:
    (service,) = shares_of(sent(), services=(a_service(tokens=None),)).services

    assert service.engine_tokens is None


def test_services_that_share_a_stream_of_tokens_have_one_ratio() -> None:
    named = sent(40, backend="llama-1", backend_namespace="serving")
    found = shares_of(
        named, sent(60), services=(a_service(1), a_service(2), a_service(3, model="x"))
    )

    assert {(one.gateway_tokens, one.engine_tokens) for one in found.services} == {(100, 2_000)}


def test_cached_tokens_are_a_part_of_the_prompt_and_count_a_tenth() -> None:
    assert weighted_tokens(100, 90, 5, TokenWeights()) == (10 + 9 + 20) * 10**6


def test_weights_are_those_of_the_served_model() -> None:
    contract = Contract(
        token_weights=(TokenWeights(model="llama", generation=Decimal("2.5")),),
        consumer_sources=CONTRACT.consumer_sources,
    )
    (service,) = shares_of(sent(2), contract=contract).services

    assert service.consumers[0].weight == 5 * 10**6


@given(
    st.lists(
        st.tuples(st.sampled_from(["", "key-a", "key-b"]), st.integers(0, 9), st.integers(0, 9)),
        max_size=8,
    )
)
def test_the_order_of_rows_and_services_does_not_matter(rows: list[tuple[str, int, int]]) -> None:
    given_rows = [sent(generation, key=key, cluster=f"c{where}") for key, generation, where in rows]
    services = (a_service(1, cluster="c1"), a_service(2, cluster="c2"), a_service(3, model="x"))

    found = shares_of(*given_rows, services=services)

    assert found == shares_of(*given_rows[::-1], services=services[::-1])
    # Of rows whose service is told exactly one service counts them, of others both do.
    told = sum(generation for _, generation, where in rows if where in (1, 2))
    untold = sum(generation for _, generation, where in rows if where not in (1, 2))
    counted = sum(one.generation for service in found.services for one in service.consumers)
    assert counted == told + 2 * untold


AMOUNTS = st.integers(0, 10**13)
STREAMS = st.lists(
    st.tuples(
        st.sampled_from(["", "key-a", "key-b", "key-c"]),
        st.sampled_from(["", "c1", "c2"]),
        st.sampled_from(["llama", "x", "gpt-4o"]),
        st.tuples(st.integers(0, 10**9), st.integers(0, 10**9), st.integers(0, 10**9)),
    ),
    max_size=10,
)


@given(STREAMS, st.lists(AMOUNTS, min_size=3, max_size=3))
def test_services_costs_reach_their_consumers_as_exact_fractions_say(
    streams: list[tuple[str, str, str, tuple[int, int, int]]], nanos: list[int]
) -> None:
    services = (a_service(1, cluster="c1"), a_service(2, cluster="c2"), a_service(3, model="x"))
    rows = [
        Sent(
            cluster="eu",
            consumer=GatewayConsumer(gateway="litellm", key_alias=key),
            route=GatewayRoute(model=model, cluster=cluster),
            prompt=prompt + cached,
            cached=cached,
            generation=generation,
        )
        for key, cluster, model, (prompt, cached, generation) in streams
    ]
    costs = [
        DayCost(
            cluster_id=1, workload_id=one, namespace_id=2, gpu_model_id=3, team_id=4, nanos=amount
        )
        for one, amount in enumerate(nanos, start=1)
    ]
    # By hand: every stream weighs whole in each service that it may have gone to.
    by_hand: dict[int, dict[str, Fraction]] = {1: {}, 2: {}, 3: {}}
    for key, cluster, model, (prompt, cached, generation) in streams:
        weight = prompt + Fraction(cached, 10) + 4 * generation
        of_model = {"llama": [1, 2], "x": [3]}.get(model, [])
        named = [one for one in of_model if cluster == {1: "c1", 2: "c2"}.get(one)]
        for one in named or of_model:
            by_hand[one][key] = by_hand[one].get(key, Fraction(0)) + weight

    found = {one.workload_id: one for one in shares_of(*rows, services=services).services}
    lines = redistribute(
        RedistributionStep.CONSUMERS,
        DAY,
        costs,
        lambda cost: [
            one.share()
            for one in (found[cost.workload_id].consumers if cost.workload_id in found else ())
        ],
    )

    keys = {
        GatewayConsumer(gateway="litellm", key_alias=key).consumer_id: key for key, *_ in streams
    }
    for service, weights in by_hand.items():
        cost, whole = nanos[service - 1], sum(weights.values())
        own = [line for line in lines if line.workload_id == service]
        given_away = [line for line in own if line.consumer_id]
        assert sum(line.nanos for line in own) == 0
        assert sum(line.nanos for line in given_away) == (cost if whole else 0)
        for line in given_away:
            assert abs(line.nanos - cost * weights[keys[line.consumer_id]] / whole) < 1
