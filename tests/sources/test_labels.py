"""From labels as they are scraped to the columns of the usage stage."""

import numpy as np
import pandas as pd
import pytest

from app.sources.catalogue import Alias, load_catalogue
from app.sources.labels import BOUND_MARK, counter_labels, device_labels, told_apart_by
from app.sources.matrices import Matrix
from app.usage.samples import COUNTER_LABELS, DEVICE_LABELS

EXPORTER_POD = {
    "job": "dcgm-exporter",
    "instance": "10.0.0.1:9400",
    "namespace": "monitoring",
    "pod": "gpu-metrics-78z52",
    "container": "exporter",
    "service": "dcgm-exporter",
}
DEVICE = {
    "gpu": "0",
    "UUID": "GPU-1",
    "device": "nvidia0",
    "modelName": "NVIDIA H100 80GB HBM3",
    "Hostname": "worker-1",
}
# Shapes of dcgm-exporter: honorLabels true, false, and series of devices that nobody holds.
HELD = {**DEVICE, "job": "dcgm-exporter", "namespace": "search", "pod": "web-1", "container": "c"}
EXPORTED = {
    **EXPORTER_POD,
    **DEVICE,
    "exported_namespace": "search",
    "exported_pod": "web-1",
    "exported_container": "c",
}


def devices(*series: dict[str, str]) -> pd.DataFrame:
    return device_labels(series, load_catalogue().dcgm)


def holders(*series: dict[str, str]) -> list[tuple[str, str]]:
    frame = devices(*series)
    return list(zip(frame["namespace"], frame["pod"], strict=True))


def test_a_device_series_has_all_columns() -> None:
    row = devices(HELD).iloc[0]

    assert tuple(devices(HELD).columns) == DEVICE_LABELS
    assert (row["device"], row["instance"], row["hostname"]) == ("GPU-1", "", "worker-1")
    assert (row["namespace"], row["pod"]) == ("search", "web-1")
    assert row["gpu_model"] == "NVIDIA-H100-80GB-HBM3"


def test_the_hostname_may_be_written_small_since_4_6_0() -> None:
    renamed = {name: value for name, value in HELD.items() if name != "Hostname"}

    assert devices({**renamed, "hostname": "worker-1"})["hostname"].tolist() == ["worker-1"]


def test_a_mig_instance_is_told_apart_from_its_device() -> None:
    frame = devices({**HELD, "GPU_I_ID": "7", "GPU_I_PROFILE": "1g.10gb"}, HELD)

    assert frame["instance"].tolist() == ["7", ""]
    assert frame["identity"].nunique() == 2


def test_exported_labels_win_over_those_of_the_exporters_pod() -> None:
    assert holders(EXPORTED) == [("search", "web-1")]


def test_a_device_without_exported_labels_is_held_by_nobody_where_others_have_them() -> None:
    assert holders(EXPORTED, {**EXPORTER_POD, **DEVICE, "UUID": "GPU-2"})[1] == ("", "")


def test_an_empty_exported_pod_is_nobody() -> None:
    empty = {**EXPORTED, "exported_pod": "", "exported_namespace": ""}

    assert holders(empty) == [("", "")]


def test_the_exporters_own_pod_is_nobody_also_when_all_devices_are_free() -> None:
    own = {**EXPORTER_POD, **DEVICE, "pod": "nvidia-dcgm-exporter-abcde"}

    assert holders(own) == [("", "")]


def test_another_jobs_labels_are_not_judged_by_the_first() -> None:
    assert holders(EXPORTED, {**HELD, "job": "other"})[1] == ("search", "web-1")


def test_empty_labels_of_old_exporters_are_nobody() -> None:
    assert holders({**DEVICE, "namespace": "", "pod": "", "container": ""}) == [("", "")]


def test_names_of_the_1_x_exporter_are_read() -> None:
    old = {"uuid": "GPU-9", "pod_name": "web-1", "pod_namespace": "search", "container_name": "c"}

    row = devices(old).iloc[0]

    assert (row["device"], row["namespace"], row["pod"]) == ("GPU-9", "search", "web-1")


def test_copies_by_two_prometheus_have_one_identity_and_two_texts() -> None:
    frame = devices({**HELD, "prometheus_replica": "a"}, {**HELD, "prometheus_replica": "b"})

    assert len(set(frame["identity"])) == 1
    assert frame["series"].nunique() == 2


REPLICA = {
    "__name__": "vllm:prompt_tokens_total",
    "engine": "0",
    "model_name": "llama",
    "job": "vllm",
    "instance": "10.1.0.1:8000",
    "namespace": "chat",
    "pod": "chat-1",
}


def counters(*series: dict[str, str], meaning: str = "prompt_tokens") -> pd.DataFrame:
    vllm = load_catalogue().engine("vllm")
    return counter_labels(series, vllm, vllm.meaning(meaning).aliases[0], "PROMPT_TOKENS")


def test_a_counter_series_has_all_columns() -> None:
    row = counters(REPLICA).iloc[0]

    assert tuple(counters(REPLICA).columns) == COUNTER_LABELS
    assert (row["namespace"], row["pod"], row["target"]) == ("chat", "chat-1", "10.1.0.1:8000")
    assert (row["model"], row["quantity"], row["outcome"], row["le"]) == (
        "llama",
        "PROMPT_TOKENS",
        "",
        "",
    )


def test_a_birth_has_the_identity_of_its_counter() -> None:
    birth = {**REPLICA, "__name__": "vllm:prompt_tokens_created"}

    assert len(set(counters(REPLICA, birth)["identity"])) == 1


def test_a_replica_scraped_through_two_jobs_has_one_identity() -> None:
    again = {**REPLICA, "job": "vllm-pods", "instance": "10.1.0.1:8080", "endpoint": "metrics"}

    assert len(set(counters(REPLICA, again)["identity"])) == 1


def test_labels_that_a_job_copies_from_the_pod_make_no_other_series() -> None:
    named = {"kubernetes_namespace": "chat", "kubernetes_pod_name": "chat-1"}
    plain = {name: value for name, value in REPLICA.items() if name not in {"namespace", "pod"}}
    mapped = {**plain, **named, "app": "chat", "pod_template_hash": "7f9c", "node": "worker-1"}

    assert len(set(counters(REPLICA, mapped)["identity"])) == 1


def test_without_a_pod_the_target_tells_replicas_apart() -> None:
    here = {name: value for name, value in REPLICA.items() if name != "pod"}

    assert counters(here, {**here, "instance": "10.1.0.2:8000"})["identity"].nunique() == 2


def test_engines_of_one_replica_are_no_copies() -> None:
    assert counters(REPLICA, {**REPLICA, "engine": "1"})["identity"].nunique() == 2


def test_the_model_label_of_triton_is_read() -> None:
    triton = {name: value for name, value in REPLICA.items() if name != "model_name"}

    assert counters({**triton, "model": "llama", "version": "1"})["model"].tolist() == ["llama"]


def test_a_bucket_has_its_bound_at_the_end_of_its_identity() -> None:
    bucket = {**REPLICA, "__name__": "vllm:e2e_request_latency_seconds_bucket", "le": "0.5"}
    birth = {**REPLICA, "__name__": "vllm:e2e_request_latency_seconds_created"}

    frame = counters(bucket, birth, meaning="end_to_end")

    assert frame["le"].tolist() == ["0.5", ""]
    assert frame["identity"].iloc[0] == f"{frame['identity'].iloc[1]}{BOUND_MARK}0.5"


def matrix_of(*series: tuple[dict[str, str], list[int]]) -> Matrix:
    """Series with samples at the given seconds."""
    lengths = [len(seconds) for _, seconds in series]
    flat = [second * 1000 for _, seconds in series for second in seconds]
    return Matrix(
        [labels for labels, _ in series],
        np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64),
        np.array(flat, dtype=np.int64),
        np.ones(len(flat)),
    )


def told_apart(*series: tuple[dict[str, str], list[int]]) -> tuple[str, ...]:
    vllm = load_catalogue().engine("vllm")
    identity = counters(*(labels for labels, _ in series))["identity"]
    return told_apart_by(matrix_of(*series), identity, vllm)


NORTH = {**REPLICA, "customer": "north"}
SOUTH = {**REPLICA, "customer": "south"}


def test_a_label_in_which_series_of_one_scrape_differ_is_the_engines() -> None:
    assert told_apart((NORTH, [0, 30]), (SOUTH, [0, 30]), (REPLICA, [30])) == ("customer",)


def test_series_that_follow_each_other_are_one_counter_with_other_labels() -> None:
    assert told_apart((NORTH, [0, 30]), (SOUTH, [60, 90])) == ()


def test_another_scraper_or_another_instant_makes_a_copy() -> None:
    by_a, by_b = {**NORTH, "prometheus": "a"}, {**SOUTH, "prometheus": "b"}

    assert told_apart((by_a, [0, 30]), (by_b, [0, 30])) == ()
    assert told_apart((NORTH, [0, 30]), (SOUTH, [10, 40])) == ()


def test_ranks_that_repeat_a_figure_are_not_told_apart() -> None:
    sglang = load_catalogue().engine("sglang")
    ranks = [{"model_name": "m", "dp_rank": "0", "tp_rank": rank, "pod": "p"} for rank in "01"]
    labels = counter_labels(ranks, sglang, Alias(name="x"), "running")
    matrix = matrix_of(*((one, [0, 30]) for one in ranks))

    assert labels["identity"].nunique() == labels["series"].nunique() == 1
    assert told_apart_by(matrix, labels["identity"], sglang) == ()


def test_further_labels_and_parts_make_further_identities() -> None:
    vllm, alias = load_catalogue().engine("vllm"), Alias(name="x_total")

    plain = counter_labels([NORTH, SOUTH], vllm, alias, "PROMPT_TOKENS")
    apart = counter_labels([NORTH, SOUTH], vllm, alias, "PROMPT_TOKENS", own_labels=("customer",))
    part = counter_labels([NORTH], vllm, alias, "PROMPT_TOKENS", part="rest")

    assert len(set(plain["identity"])) == 1
    assert len(set(apart["identity"])) == 2
    assert part["identity"].iloc[0] not in set(plain["identity"])


def test_bounds_are_scaled_exactly_to_seconds() -> None:
    triton = load_catalogue().engine("triton")
    series = [{"model": "m", "le": bound} for bound in ("100", "0.1", "2.5e3", "+Inf", "odd")]

    frame = counter_labels(series, triton, Alias(name="x_ms", scale=0.001), "X")

    assert frame["le"].tolist() == ["0.1", "0.0001", "2.5", "+Inf", "odd"]
    assert [text.split(BOUND_MARK)[1] for text in frame["identity"]] == frame["le"].tolist()


@pytest.mark.parametrize(
    ("published", "role"), [("prefill", "prefill"), ("decode", "decode"), ("unified", "")]
)
def test_only_the_sides_of_a_disaggregated_engine_are_roles(published: str, role: str) -> None:
    sglang = load_catalogue().engine("sglang")

    frame = counter_labels([{"engine_type": published}], sglang, Alias(name="x"), "X")

    assert frame["role"].tolist() == [role]


def test_a_router_names_servers_and_no_model() -> None:
    server = {"server": "http://10.0.0.1:8000", "pod": "router"}

    frame = counters(server, {**REPLICA, "server": "rack-7"}, REPLICA)

    assert frame["layer"].tolist() == ["router", "engine", "engine"]
    assert set(frame["engine"]) == {"vllm"}


def test_outcomes_are_said_in_our_words() -> None:
    triton = load_catalogue().engine("triton")
    series = [{"reason": reason} for reason in ("CANCELED", "BACKEND", "SOMETHING", "")]

    frame = counter_labels(series, triton, Alias(name="x", outcome="error"), "REQUESTS")

    assert frame["outcome"].tolist() == ["abort", "error", "SOMETHING", "error"]
