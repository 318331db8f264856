from decimal import Decimal
from fractions import Fraction

import numpy as np
import pytest

from app.simulator.fleet import Fleet
from app.simulator.spec import HOUR_MS, OPEN_MS
from app.simulator.truth import PriceSpan
from tests.oracle.fleet_inputs import oracle_holds, oracle_nodes
from tests.oracle.ledger_oracle import HELD, Span, walk
from tests.simulator.small import MINUTE_MS, small_fleet


@pytest.fixture(scope="module")
def fleet() -> Fleet:
    return small_fleet()


def test_active_time_is_the_sum_over_every_millisecond(fleet: Fleet) -> None:
    start, end = fleet.spec.start_ms + 1_234, fleet.spec.start_ms + 5 * MINUTE_MS + 77
    milliseconds = np.arange(start, end, dtype=np.int64)
    compared = 0
    for hold in fleet.truth.holds:
        pod = fleet.truth.pod(hold.pod_uid)
        levels = sum(
            int(fleet.activity.steps(pod, ordinal).at(milliseconds).sum())
            for ordinal in range(len(pod.devices))
        )
        assert fleet.truth.active_ms(hold.pod_uid, start, end) == Fraction(levels, 1000)
        compared += levels > 0
    assert compared > 3


def test_a_pod_is_never_active_outside_its_runs(fleet: Fleet) -> None:
    start, end = fleet.spec.opens_ms, fleet.spec.closes_ms
    for hold in fleet.truth.holds:
        pod = fleet.truth.pod(hold.pod_uid)
        running = sum(max(0, min(run.end_ms, end) - max(run.serving_ms, start)) for run in pod.runs)
        assert fleet.truth.active_ms(hold.pod_uid, start, end) <= running * len(hold.devices)


def test_what_was_served_is_the_sum_over_every_request(fleet: Fleet) -> None:
    start, end = fleet.spec.start_ms, fleet.spec.end_ms
    counted = 0
    for pod in fleet.pods:
        prompt = generation = 0
        finished = dict.fromkeys(("stop", "length", "abort", "error"), 0)
        for _, _, sent in fleet.truth.requests(pod.uid):
            for number in range(len(sent.arrive_ms)):
                first, finish = int(sent.first_ms[number]), int(sent.finish_ms[number])
                if start <= first < end:
                    prompt += int(sent.prompt_tokens[number])
                    generation += 1
                if start <= finish < end:
                    reason = list(finished)[int(sent.reason[number])]
                    finished[reason] += 1
                    if first < OPEN_MS:
                        generation += int(sent.generation_tokens[number]) - 1
        served = fleet.truth.served(pod.uid, start, end)
        assert (served.prompt_tokens, served.generation_tokens) == (prompt, generation)
        assert dict(served.requests) == finished
        assert served.cached_prompt_tokens <= served.prompt_tokens
        counted += prompt
    assert counted > 100_000


def test_no_request_counts_after_its_process_died(fleet: Fleet) -> None:
    for pod in fleet.pods:
        for number, _, sent in fleet.truth.requests(pod.uid):
            run = pod.runs[number]
            for instants in (sent.first_ms, sent.finish_ms):
                came = instants[instants < OPEN_MS]
                assert np.all((came >= run.serving_ms) & (came < run.end_ms))
            assert np.all(sent.arrive_ms <= sent.start_ms)
            both = (sent.first_ms < OPEN_MS) & (sent.finish_ms < OPEN_MS)
            assert np.all(sent.first_ms[both] <= sent.finish_ms[both])


def test_adjacent_spans_add_up(fleet: Fleet) -> None:
    start, middle, end = fleet.spec.start_ms, fleet.spec.start_ms + 333_333, fleet.spec.end_ms
    for pod in fleet.pods:
        parts = [
            fleet.truth.served(pod.uid, start, middle),
            fleet.truth.served(pod.uid, middle, end),
        ]
        whole = fleet.truth.served(pod.uid, start, end)
        assert sum(part.generation_tokens for part in parts) == whole.generation_tokens


def test_two_devices_for_one_hour_at_three_dollars_cost_six(fleet: Fleet) -> None:
    hold = next(h for h in fleet.truth.holds if len(h.devices) == 2 and h.end_ms == OPEN_MS)
    start = max(hold.start_ms, fleet.spec.opens_ms)
    price = PriceSpan(start_ms=0, end_ms=OPEN_MS, gpu_hour=Decimal("3.00"))

    costs = fleet.truth.true_cost({hold.node: [price]}, start, start + HOUR_MS)

    assert costs[hold.pod_uid] == Fraction(6)


def test_a_node_without_a_price_costs_nothing_that_is_known(fleet: Fleet) -> None:
    assert fleet.truth.true_cost({}, fleet.spec.start_ms, fleet.spec.end_ms) == {}


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_truth_and_brute_force_agree_on_held_time_and_cost(seed: int) -> None:
    fleet = small_fleet(seed=seed, minutes=5)
    start, end = fleet.spec.start_ms, fleet.spec.end_ms
    change = start + 97_123
    prices = {
        node.name: [
            PriceSpan(start_ms=0, end_ms=change, gpu_hour=Decimal("2.49")),
            PriceSpan(start_ms=change, end_ms=OPEN_MS, gpu_hour=Decimal("3.17")),
        ]
        for node in fleet.nodes
    }

    ledger = walk(
        start_ms=start,
        end_ms=end,
        nodes=oracle_nodes(fleet.truth, prices),
        holds=oracle_holds(fleet.truth),
        observed=[Span(start_ms=start, end_ms=end)],
    )

    held = {k.hold: a.device_ms for k, a in ledger.items() if k.state == HELD and a.device_ms}
    cost = {k.hold: a.cost for k, a in ledger.items() if k.state == HELD and a.cost}
    assert held == fleet.truth.held_ms(start, end)
    assert cost == fleet.truth.true_cost(prices, start, end)
    capacity = sum(fleet.truth.capacity_ms(start, end).values())
    assert sum(amount.device_ms for amount in ledger.values()) == capacity
