import numpy as np
import pandas as pd
import pytest

from app.usage.identity import model_id, workload_id
from app.usage.inventory import Workload
from app.usage.kinds import LatencyMetric
from app.usage.samples import COUNTER_LABELS, SampleSet, no_samples
from app.usage.services import ServiceFacts, ServingMetrics, serve
from tests.usage.builders import (
    HOUR,
    MINUTE,
    SECOND,
    T0,
    WINDOW,
    a_hold,
    counter_samples,
    holds_frame,
)

NOTHING = no_samples(COUNTER_LABELS)
LLAMA = model_id("llama")
HOLD = a_hold(1, workload_id=50, pod="ranker-0")


def served(
    counters: SampleSet = NOTHING,
    *,
    buckets: SampleSet = NOTHING,
    gauges: SampleSet = NOTHING,
    holds: tuple[dict[str, object], ...] = (HOLD,),
    ready: tuple[tuple[int, int, int, int], ...] = (),
) -> ServiceFacts:
    columns = ["hold_id", "workload_id", "scheduled_ms", "ready_ms"]
    return serve(
        WINDOW,
        ServingMetrics(counters=counters, buckets=buckets, births=NOTHING, gauges=gauges),
        holds_frame(*holds),
        pd.DataFrame(np.array(ready, dtype=np.int64).reshape(-1, 4), columns=columns),
        cluster="prod",
        scrape_ms=30 * SECOND,
        lookback_ms=24 * HOUR,
    )


def counter(
    quantity: str, *values: tuple[int, float], **labels: str
) -> tuple[dict[str, str], list]:
    return {"quantity": quantity, **labels}, [(T0 + at, value) for at, value in values]


def rising(quantity: str, by: float, **labels: str) -> tuple[dict[str, str], list]:
    return counter(quantity, (-SECOND, 1000), (29 * SECOND, 1000 + by), **labels)


def test_a_service_has_the_growth_of_all_its_pods() -> None:
    holds = (HOLD, a_hold(2, workload_id=50, pod="ranker-1"))
    facts = served(
        counter_samples(
            rising("PROMPT_TOKENS", 100),
            rising("PROMPT_TOKENS", 40, pod="ranker-1"),
            rising("CACHED_PROMPT_TOKENS", 30),
            rising("GENERATION_TOKENS", 7),
            rising("REQUESTS", 3, outcome="stop"),
            rising("REQUESTS", 1, outcome="repetition"),
        ),
        holds=holds,
    )

    (row,) = facts.token_usage.to_dict("records")
    assert (row["workload_id"], row["model_id"]) == (50, LLAMA)
    tokens = (row["prompt_tokens"], row["cached_prompt_tokens"], row["generation_tokens"])
    assert tokens == (140, 30, 7)
    assert (row["requests_stop"], row["requests_other"], row["requests_abort"]) == (3, 1, 0)
    assert facts.workloads == ()
    assert facts.models == ("llama",)


def test_what_an_engine_does_not_publish_is_null() -> None:
    facts = served(counter_samples(rising("GENERATION_TOKENS", 0)))

    assert facts.token_usage["generation_tokens"].tolist() == [0]
    nulls = facts.token_usage.columns[facts.token_usage.isna().all()]
    assert nulls.tolist() == [
        "prompt_tokens",
        "cached_prompt_tokens",
        "reasoning_tokens",
        "requests_stop",
        "requests_length",
        "requests_abort",
        "requests_error",
        "requests_other",
    ]


def test_models_of_one_service_are_apart() -> None:
    facts = served(
        counter_samples(
            rising("GENERATION_TOKENS", 5), rising("GENERATION_TOKENS", 6, model="mistral")
        )
    )

    by_model = facts.token_usage.set_index("model_id")["generation_tokens"]
    assert (by_model[LLAMA], by_model[model_id("mistral")]) == (5, 6)


def test_large_counters_stay_exact() -> None:
    samples = counter("PROMPT_TOKENS", (-SECOND, 2**53 - 10), (29 * SECOND, 2**53 - 1))
    facts = served(counter_samples(samples, rising("REQUESTS", 1, outcome="stop", model="x")))

    assert facts.token_usage["prompt_tokens"].sum() == 9


def test_a_pod_without_a_hold_is_its_own_workload() -> None:
    facts = served(counter_samples(rising("GENERATION_TOKENS", 5, pod="router-0")))

    own = Workload(namespace="search", kind="Pod", name="router-0", uid="")
    assert facts.workloads == (own,)
    assert facts.token_usage["workload_id"].tolist() == [workload_id("prod", own)]


def test_a_target_without_a_pod_is_its_own_workload() -> None:
    facts = served(counter_samples(rising("GENERATION_TOKENS", 5, pod="", namespace="")))

    own = Workload(namespace="", kind="Target", name="10.0.0.1:8000", uid="")
    assert facts.workloads == (own,)


def test_a_name_used_again_means_the_hold_that_started_last() -> None:
    first = a_hold(1, workload_id=50, pod="ranker-0", end_ms=T0 + MINUTE)
    second = a_hold(2, workload_id=51, pod="ranker-0", start_ms=T0 + MINUTE)
    later = a_hold(3, workload_id=52, pod="ranker-0", start_ms=T0 + HOUR)
    facts = served(counter_samples(rising("GENERATION_TOKENS", 5)), holds=(second, first, later))

    assert facts.token_usage["workload_id"].tolist() == [51]


def test_a_pod_that_ended_in_the_windows_first_second_still_is_its_workloads() -> None:
    hold = a_hold(1, workload_id=50, pod="ranker-0", start_ms=T0 - HOUR, end_ms=T0)
    facts = served(counter_samples(rising("GENERATION_TOKENS", 5)), holds=(hold,))

    assert facts.token_usage["workload_id"].tolist() == [50]
    assert not facts.workloads


def test_a_first_value_of_unknown_age_is_named() -> None:
    facts = served(counter_samples(counter("GENERATION_TOKENS", (29 * SECOND, 500))))

    assert facts.token_usage["generation_tokens"].tolist() == [0]
    assert facts.notes[["kind", "subject", "quantity"]].to_numpy().tolist() == [
        ["counter_first_value", "search/ranker-0 GENERATION_TOKENS", 500]
    ]


def test_carried_growth_is_flagged_and_named() -> None:
    facts = served(
        counter_samples(counter("GENERATION_TOKENS", (-10 * MINUTE, 0), (29 * SECOND, 5)))
    )

    assert facts.token_usage["carried"].tolist() == [True]
    assert facts.notes["kind"].tolist() == ["counter_carried"]


def test_observations_stay_in_their_buckets_where_replicas_have_other_bounds() -> None:
    ttft = "TIME_TO_FIRST_TOKEN_BUCKET"
    holds = (HOLD, a_hold(2, workload_id=50, pod="ranker-1"))
    facts = served(
        buckets=counter_samples(
            rising(ttft, 10, le="0.1"),
            rising(ttft, 30, le="1"),
            rising(ttft, 31, le="+Inf"),
            rising(ttft, 5, le="0.5", pod="ranker-1"),
            rising(ttft, 7, le="1.0", pod="ranker-1"),
            rising(ttft, 7, le="+Inf", pod="ranker-1"),
        ),
        holds=holds,
    )

    observed = dict(zip(facts.latency_usage["le"], facts.latency_usage["increments"], strict=True))
    assert observed == {0.1: 10, 0.5: 5, 1.0: 20 + 2, float("inf"): 1}


def test_buckets_add_up_over_replicas_by_bound() -> None:
    ttft = "TIME_TO_FIRST_TOKEN_BUCKET"
    holds = (HOLD, a_hold(2, workload_id=50, pod="ranker-1"))
    facts = served(
        buckets=counter_samples(
            rising(ttft, 1, le="0.5"),
            rising(ttft, 4, le="+Inf"),
            rising(ttft, 2, le="0.5", pod="ranker-1"),
            rising(ttft, 2, le="+Inf", pod="ranker-1"),
            rising("END_TO_END_BUCKET", 0, le="+Inf"),
        ),
        holds=holds,
    )

    rows = facts.latency_usage[["metric", "le", "increments"]].to_numpy().tolist()
    assert rows == [
        [LatencyMetric.TIME_TO_FIRST_TOKEN, 0.5, 3],
        [LatencyMetric.TIME_TO_FIRST_TOKEN, float("inf"), 3],
    ]


def test_minutes_have_the_growth_of_their_samples_and_sum_to_the_window() -> None:
    facts = served(
        counter_samples(
            counter(
                "GENERATION_TOKENS",
                (-SECOND, 0),
                (59 * SECOND, 5),
                (MINUTE, 11),
                (HOUR - 1, 20),
                (HOUR, 99),
            )
        )
    )

    minutes = facts.service_minutes.set_index("minute_ms")["generation_tokens"].to_dict()
    assert minutes == {T0: 5, T0 + MINUTE: 6, T0 + 59 * MINUTE: 9}
    assert facts.token_usage["generation_tokens"].tolist() == [20]


def test_running_is_the_mean_of_each_replica_summed() -> None:
    holds = (HOLD, a_hold(2, workload_id=50, pod="ranker-1"))
    facts = served(
        gauges=counter_samples(
            counter("running", (0, 2), (30 * SECOND, 4)),
            counter("running", (10 * SECOND, 5), pod="ranker-1"),
            counter("running", (10 * SECOND, 5), pod="ranker-1", series="copy"),
            counter("waiting", (MINUTE, 1)),
        ),
        holds=holds,
    )

    rows = facts.service_minutes[["minute_ms", "requests", "running", "waiting"]]
    assert rows["running"].tolist()[0] == 8.0
    assert pd.isna(rows["running"].tolist()[1])
    assert pd.isna(rows["waiting"].tolist()[0])
    assert rows["waiting"].tolist()[1] == 1.0


@pytest.mark.parametrize(("ready", "count"), [(-1, 0), (0, 1), (HOUR - 1, 1), (HOUR, 0)])
def test_a_cold_start_belongs_to_the_window_in_which_the_pod_became_ready(
    ready: int, count: int
) -> None:
    facts = served(
        counter_samples(rising("GENERATION_TOKENS", 5)),
        ready=((1, 50, T0 - 90 * SECOND, T0 + ready), (2, 77, T0, T0 + SECOND)),
    )

    assert facts.cold_starts["hold_id"].tolist() == [1] * count
    assert facts.cold_starts["seconds"].tolist() == [90 + ready / 1000] * count


def test_nothing_gives_empty_frames() -> None:
    facts = served()

    assert facts.token_usage.empty
    assert facts.service_minutes.empty
    assert facts.latency_usage.empty
