"""Many pods, one service: all of its devices, its tokens once, under the model's one name."""

from app.usage.identity import model_id, workload_id
from app.usage.inventory import Workload
from tests.usage.builders import T0, counter_samples
from tests.usage.serving import a_serving_pod, by_service, noted, rising, served_by

TOKENS = ("prompt_tokens", "generation_tokens")


def test_only_the_leader_of_a_group_speaks_and_its_workers_are_the_same_service() -> None:
    pods = [a_serving_pod(f"big-0-{number}", workload_id=7) for number in range(4)]
    facts = served_by(
        *pods,
        counters=counter_samples(
            rising("PROMPT_TOKENS", 300, pod="big-0-0"),
            rising("GENERATION_TOKENS", 40, pod="big-0-0"),
        ),
        ready=((1, 7), (2, 7), (3, 7), (4, 7)),
    )

    assert by_service(facts, *TOKENS) == {7: (300, 40)}
    assert facts.cold_starts["hold_id"].tolist() == [1, 2, 3, 4]


def test_a_ray_clusters_workers_that_each_run_a_replica_add_up() -> None:
    pods = [a_serving_pod(f"llm-worker-{number}", workload_id=8) for number in range(2)]
    facts = served_by(
        *pods,
        counters=counter_samples(
            *(
                rising("GENERATION_TOKENS", 10, pod=f"llm-worker-{pod}", identity=f"{pod}/{actor}")
                for pod in range(2)
                for actor in range(2)
            )
        ),
    )

    assert by_service(facts, "generation_tokens") == {8: (40,)}


def test_data_parallel_engines_of_one_pod_add_up() -> None:
    facts = served_by(
        a_serving_pod(),
        counters=counter_samples(
            *(rising("GENERATION_TOKENS", 5, identity=f"engine {rank}") for rank in range(8))
        ),
    )

    assert by_service(facts, "generation_tokens") == {50: (40,)}


def test_prefill_and_decode_are_one_service_and_count_each_token_once() -> None:
    facts = served_by(
        a_serving_pod("prefill-0", workload_id=9, role="prefill"),
        a_serving_pod("decode-0", workload_id=9, role="decode"),
        counters=counter_samples(
            rising("PROMPT_TOKENS", 1000, pod="prefill-0"),
            rising("CACHED_PROMPT_TOKENS", 400, pod="prefill-0"),
            rising("GENERATION_TOKENS", 10, pod="prefill-0"),
            rising("REQUESTS", 10, pod="prefill-0", outcome="length"),
            rising("PROMPT_TOKENS", 1000, pod="decode-0"),
            rising("CACHED_PROMPT_TOKENS", 990, pod="decode-0"),
            rising("GENERATION_TOKENS", 500, pod="decode-0"),
            rising("REASONING_TOKENS", 200, pod="decode-0"),
            rising("REQUESTS", 10, pod="decode-0", outcome="stop"),
        ),
    )

    columns = (*TOKENS, "cached_prompt_tokens", "reasoning_tokens")
    assert by_service(facts, *columns) == {9: (1000, 500, 400, 200)}
    assert by_service(facts, "requests_stop", "requests_length") == {9: (10, 0)}
    assert noted(facts, "reexported") == [
        ("search/decode-0 CACHED_PROMPT_TOKENS", 990),
        ("search/decode-0 PROMPT_TOKENS", 1000),
        ("search/prefill-0 GENERATION_TOKENS", 10),
        ("search/prefill-0 REQUESTS", 10),
    ]


def test_what_the_engine_says_of_its_role_wins_over_the_pods_label() -> None:
    facts = served_by(
        a_serving_pod("a", workload_id=9, role="decode"),
        a_serving_pod("b", workload_id=9, role="prefill"),
        counters=counter_samples(
            rising("PROMPT_TOKENS", 7, pod="a", role="prefill"),
            rising("PROMPT_TOKENS", 8, pod="b", role="decode"),
        ),
    )

    assert by_service(facts, "prompt_tokens") == {9: (7,)}


def test_a_frontend_that_repeats_its_engine_in_small_letters_is_counted_once() -> None:
    facts = served_by(
        a_serving_pod("worker-0"),
        counters=counter_samples(
            rising("PROMPT_TOKENS", 70, pod="worker-0", model="Qwen/Qwen3-0.6B"),
            rising(
                "PROMPT_TOKENS", 70, pod="frontend-0", model="qwen/qwen3-0.6b", layer="frontend"
            ),
            rising("PROMPT_TOKENS", 70, pod="router-0", model="Qwen/Qwen3-0.6B", layer="router"),
        ),
        gauges=counter_samples(
            ({"quantity": "running", "pod": "worker-0", "model": "Qwen/Qwen3-0.6B"}, [(T0, 2)]),
            (
                {
                    "quantity": "running",
                    "pod": "router-0",
                    "model": "Qwen/Qwen3-0.6B",
                    "layer": "router",
                },
                [(T0, 2)],
            ),
        ),
    )

    assert by_service(facts, "prompt_tokens") == {50: (70,)}
    assert facts.models == ("Qwen/Qwen3-0.6B",)
    assert facts.service_minutes["prompt_tokens"].sum() == 70
    assert facts.service_minutes["running"].tolist() == [2.0]
    assert facts.workloads == ()
    assert noted(facts, "reexported") == [
        ("search/frontend-0 PROMPT_TOKENS", 70),
        ("search/router-0 PROMPT_TOKENS", 70),
    ]


def test_a_frontend_speaks_for_the_silent_engines_of_its_model() -> None:
    facts = served_by(
        a_serving_pod("worker-0", models=("Qwen/Qwen3",)),
        counters=counter_samples(
            rising("GENERATION_TOKENS", 9, pod="frontend-0", model="qwen/qwen3", layer="frontend")
        ),
    )

    assert by_service(facts, "generation_tokens") == {50: (9,)}
    assert facts.token_usage["model_id"].tolist() == [model_id("Qwen/Qwen3")]
    assert noted(facts, "joined_by_model") == [("search/frontend-0 GENERATION_TOKENS", 9)]


def test_a_pod_without_devices_belongs_to_the_service_that_its_scraped_labels_name() -> None:
    named = '{"gpuledger_io_service":"chat","pod":"%s"}'
    by_label = (("gpuledger_io_service", "chat"),)
    facts = served_by(
        a_serving_pod("worker-0", united_by=by_label),
        a_serving_pod("worker-1", united_by=by_label),
        a_serving_pod("other-0", workload_id=51, namespace="ml", united_by=by_label),
        counters=counter_samples(
            rising("GENERATION_TOKENS", 4, pod="worker-0", series=named % "worker-0"),
            rising("GENERATION_TOKENS", 5, pod="head-0", series=named % "head-0"),
            rising("GENERATION_TOKENS", 7, pod="plain-0", series='{"pod":"plain-0"}'),
        ),
    )

    assert by_service(facts, "generation_tokens")[50] == (9,)
    assert [workload.name for workload in facts.workloads] == ["plain-0"]


def test_a_label_of_two_services_unites_nothing() -> None:
    by_label = (("ray_io_cluster", "llm"),)
    facts = served_by(
        a_serving_pod("a-0", workload_id=1, united_by=by_label),
        a_serving_pod("b-0", workload_id=2, united_by=by_label),
        counters=counter_samples(
            rising("GENERATION_TOKENS", 5, pod="head-0", series='{"ray_io_cluster":"llm"}')
        ),
    )

    assert [workload.name for workload in facts.workloads] == ["head-0"]


def test_a_frontend_speaks_for_a_pod_that_two_sources_tell_of() -> None:
    facts = served_by(
        a_serving_pod("worker-0", workload_id=49),
        a_serving_pod("worker-0", models=("qwen",)),
        counters=counter_samples(
            rising("GENERATION_TOKENS", 9, pod="frontend-0", model="qwen", layer="frontend")
        ),
    )

    assert by_service(facts, "generation_tokens") == {50: (9,)}


def test_a_pod_without_devices_is_its_own_where_the_models_service_speaks_itself() -> None:
    facts = served_by(
        a_serving_pod("worker-0", models=("qwen",)),
        counters=counter_samples(
            rising("GENERATION_TOKENS", 9, pod="cpu-0", model="qwen"),
            rising("GENERATION_TOKENS", 5, pod="worker-0", model="qwen"),
        ),
    )

    own = workload_id("prod", Workload(namespace="search", kind="Pod", name="cpu-0", uid=""))
    assert by_service(facts, "generation_tokens") == {50: (5,), own: (9,)}


def test_a_pod_without_devices_is_its_own_where_two_services_serve_the_model() -> None:
    facts = served_by(
        a_serving_pod("a-0", workload_id=1, models=("qwen",)),
        a_serving_pod("b-0", workload_id=2, models=("qwen",)),
        counters=counter_samples(rising("GENERATION_TOKENS", 9, pod="cpu-0", model="qwen")),
    )

    assert [workload.name for workload in facts.workloads] == ["cpu-0"]
