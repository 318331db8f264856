"""Names of models, births of counters and what engines tell besides tokens."""

from app.usage.identity import model_id
from app.usage.models import ModelEntry
from tests.usage.builders import HOUR, MINUTE, SECOND, T0, counter_samples
from tests.usage.serving import a_serving_pod, born, by_service, noted, rising, served_by

TOKENS = ("prompt_tokens", "generation_tokens")


def test_adapters_and_other_names_are_the_models() -> None:
    facts = served_by(
        a_serving_pod(models=("llama", "/models/l3"), adapters=("sql",)),
        counters=counter_samples(
            rising("GENERATION_TOKENS", 1, model="llama"),
            rising("GENERATION_TOKENS", 2, model="sql"),
            rising("GENERATION_TOKENS", 4, model="/models/l3"),
        ),
        adapters=(("ranker-0", "chat"),),
    )

    assert by_service(facts, "generation_tokens") == {50: (7,)}
    assert facts.models == ("llama",)
    assert facts.table.canonical("sql") == "llama"


def test_adapters_that_an_engine_lists_are_its_models() -> None:
    facts = served_by(
        a_serving_pod(),
        counters=counter_samples(rising("GENERATION_TOKENS", 1, model="llama")),
        adapters=(("ranker-0", "chat"), ("ranker-9", "lost")),
    )

    assert facts.table.canonical("chat") == "llama"
    assert facts.table.canonical("lost") == "lost"


def test_a_configured_name_wins() -> None:
    facts = served_by(
        a_serving_pod(models=("l3",)),
        counters=counter_samples(
            rising("GENERATION_TOKENS", 1, model="l3"),
            rising("GENERATION_TOKENS", 2, model="Llama:2"),
        ),
        entries=(ModelEntry(name="llama", aliases=("l3",)),),
    )

    assert by_service(facts, "generation_tokens") == {50: (3,)}
    assert facts.models == ("llama",)


def test_versions_stay_apart_where_nobody_says_that_they_are_one_model() -> None:
    facts = served_by(
        a_serving_pod(),
        counters=counter_samples(
            rising("GENERATION_TOKENS", 1, model="m:1"), rising("GENERATION_TOKENS", 2, model="m:2")
        ),
    )

    assert facts.models == ("m:1", "m:2")


def test_an_engine_without_a_model_label_serves_what_its_pod_says() -> None:
    facts = served_by(
        a_serving_pod(models=("a/b",)),
        a_serving_pod("other-0", workload_id=51),
        counters=counter_samples(
            rising("PROMPT_TOKENS", 5, model=""),
            rising("PROMPT_TOKENS", 6, model="", pod="other-0"),
        ),
    )

    rows = facts.token_usage.set_index("workload_id")["model_id"].to_dict()
    assert rows == {50: model_id("a/b"), 51: 0}
    assert noted(facts, "unmatched_model") == [("search/other-0 PROMPT_TOKENS", 6)]


def test_a_frontends_model_that_no_engine_beside_it_serves_is_named() -> None:
    facts = served_by(
        a_serving_pod("worker-0"),
        counters=counter_samples(
            rising("PROMPT_TOKENS", 70, pod="worker-0", model="qwen"),
            rising("PROMPT_TOKENS", 30, pod="frontend-0", model="other", layer="frontend"),
        ),
    )

    assert facts.token_usage["prompt_tokens"].tolist().count(70) == 1
    assert noted(facts, "unmatched_model") == [("search/frontend-0 PROMPT_TOKENS other", 30)]


def test_a_counter_of_a_pod_that_began_in_the_window_counts_from_nothing() -> None:
    facts = served_by(
        a_serving_pod(start_ms=T0 + SECOND, born_ms=T0 + SECOND),
        a_serving_pod("old-0", workload_id=51, born_ms=T0 - HOUR),
        a_serving_pod("unsure-0", workload_id=52, start_ms=T0 + SECOND),
        counters=counter_samples(
            born("GENERATION_TOKENS", 500),
            born("GENERATION_TOKENS", 600, pod="old-0"),
            born("GENERATION_TOKENS", 700, pod="unsure-0"),
        ),
    )

    assert by_service(facts, "generation_tokens") == {50: (500,), 51: (0,), 52: (0,)}
    assert noted(facts, "counter_first_value") == [
        ("search/old-0 GENERATION_TOKENS", 600),
        ("search/unsure-0 GENERATION_TOKENS", 700),
    ]


def test_a_counter_that_appears_with_its_first_request_crossed_no_gap() -> None:
    late = T0 + 40 * MINUTE
    seen = [(late - 30 * SECOND, 0), (late, 1)]
    for before, carried in ((seen, False), ([(late - 90 * SECOND, 0), (late, 1)], True)):
        facts = served_by(
            a_serving_pod(start_ms=T0 + SECOND, born_ms=T0 + SECOND),
            counters=counter_samples(({"quantity": "GENERATION_TOKENS"}, [(late, 300)])),
            gauges=counter_samples(({"quantity": "running"}, before)),
        )

        assert by_service(facts, "generation_tokens") == {50: (300,)}
        assert facts.token_usage["carried"].tolist() == [carried]


def test_a_counter_crossed_a_gap_where_only_another_target_was_scraped() -> None:
    late = T0 + 40 * MINUTE
    facts = served_by(
        a_serving_pod(start_ms=T0 + SECOND, born_ms=T0 + SECOND),
        counters=counter_samples(({"quantity": "GENERATION_TOKENS"}, [(late, 300)])),
        gauges=counter_samples(
            ({"quantity": "running", "pod": "other-0"}, [(late - 30 * SECOND, 0), (late, 1)]),
            ({"quantity": "running"}, [(late - 30 * SECOND, 0), (late + SECOND, 1)]),
        ),
    )

    assert facts.token_usage["carried"].tolist() == [True]


def test_a_pod_made_anew_under_its_name_counts_from_nothing_again() -> None:
    facts = served_by(
        a_serving_pod(end_ms=T0 + MINUTE, born_ms=T0 - HOUR),
        a_serving_pod(start_ms=T0 + 5 * MINUTE, born_ms=T0 + 5 * MINUTE),
        counters=counter_samples(
            (
                {"quantity": "GENERATION_TOKENS"},
                [(T0 - SECOND, 100), (T0 + 30 * SECOND, 110), (T0 + 6 * MINUTE, 150)],
            )
        ),
    )

    assert by_service(facts, "generation_tokens") == {50: (10 + 150,)}


def test_figures_printed_to_six_digits_never_look_like_a_restart() -> None:
    true = [1_905_104 + 7 * step for step in range(60)]
    shown = [float(f"{value:.6g}") for value in true]
    samples = [(T0 - SECOND + 30 * SECOND * step, value) for step, value in enumerate(shown)]
    facts = served_by(
        a_serving_pod(engine="llamacpp", models=("q",)),
        counters=counter_samples(({"quantity": "GENERATION_TOKENS", "model": ""}, samples)),
    )

    assert by_service(facts, "generation_tokens") == {50: (int(shown[-1] - shown[0]),)}


def test_a_sleeping_engine_still_is_a_service_and_holds_its_devices() -> None:
    facts = served_by(
        a_serving_pod(), counters=counter_samples(rising("GENERATION_TOKENS", 0)), ready=((1, 50),)
    )

    assert by_service(facts, "generation_tokens") == {50: (0,)}
    assert facts.cold_starts["workload_id"].tolist() == [50]


def test_an_engine_that_publishes_nothing_is_a_service_of_unknown_tokens() -> None:
    facts = served_by(a_serving_pod(engine="ollama", models=("gemma",)))

    assert by_service(facts, *TOKENS, "requests_stop") == {50: (None, None, None)}
    assert facts.token_usage["model_id"].tolist() == [model_id("gemma")]
    assert facts.models == ("gemma",)
    assert noted(facts, "publishes_nothing") == [("search/ranker-0", 1)]


def test_an_engine_that_nobody_scrapes_is_named_and_its_workers_are_not() -> None:
    facts = served_by(
        a_serving_pod("a-0", workload_id=1, engine="vllm"),
        a_serving_pod("a-1", workload_id=1, engine="vllm"),
        a_serving_pod("b-0", workload_id=2, engine="vllm"),
        a_serving_pod("b-1", workload_id=2, engine="vllm"),
        counters=counter_samples(rising("GENERATION_TOKENS", 5, pod="b-0")),
    )

    assert noted(facts, "unseen_engine") == [("search/a-0", 2)]


def test_the_engines_own_start_stands_beside_the_pods() -> None:
    facts = served_by(
        a_serving_pod(),
        a_serving_pod("ranker-1"),
        counters=counter_samples(rising("GENERATION_TOKENS", 5)),
        gauges=counter_samples(
            ({"quantity": "startup"}, [(T0 + HOUR, 61.5)]),
            ({"quantity": "startup", "identity": "rank 1"}, [(T0 + HOUR, 58.0)]),
        ),
        ready=((1, 50), (2, 50)),
    )

    assert facts.cold_starts["seconds"].tolist() == [90.0, 90.0]
    assert facts.cold_starts["engine_seconds"].fillna(-1).tolist() == [61.5, -1]


def test_cache_use_is_the_mean_of_the_replicas() -> None:
    facts = served_by(
        a_serving_pod(),
        a_serving_pod("ranker-1"),
        counters=counter_samples(rising("GENERATION_TOKENS", 5)),
        gauges=counter_samples(
            ({"quantity": "cache_usage"}, [(T0 + HOUR, 0.25)]),
            ({"quantity": "cache_usage", "pod": "ranker-1"}, [(T0 + HOUR, 0.75)]),
        ),
    )

    assert facts.service_minutes["cache_use"].tolist() == [0.5]


def test_a_pipeline_of_triton_counts_a_request_once() -> None:
    models = ("ensemble", "preprocessing", "tensorrt_llm", "postprocessing", "reranker")
    facts = served_by(
        a_serving_pod(),
        counters=counter_samples(
            *(rising("REQUESTS", 6, model=m, outcome="success", engine="triton") for m in models)
        ),
    )

    by_model = facts.token_usage.set_index("model_id")["requests_other"].to_dict()
    assert by_model == {model_id("ensemble"): 6, model_id("reranker"): 6}
    assert [much for _, much in noted(facts, "reexported")] == [18]


def test_the_steps_of_a_pipeline_count_where_nothing_puts_them_together() -> None:
    facts = served_by(
        a_serving_pod(),
        counters=counter_samples(
            rising("REQUESTS", 6, model="tensorrt_llm", outcome="success", engine="triton")
        ),
    )

    assert facts.token_usage["requests_other"].tolist() == [6]
