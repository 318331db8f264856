"""Samples and labels that are not as they should be: nobody is charged for what they hide."""

from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal

import numpy as np
import pytest
from sqlalchemy.engine import URL

from app.simulator.exposition import Transform
from app.simulator.fleet import Fleet
from tests.cli.commands import CommandLine, Ended, shell
from tests.cli.spoiling import (
    ACTIVE,
    ENERGY,
    MEMORY,
    REQUESTS,
    UTILIZATION,
    every,
    exported,
    falling,
    labelled,
    own_pod,
    resource,
    twice,
    without,
    without_pods,
)
from tests.cli.stage import (
    CONTRACT,
    PRICES,
    SPAN,
    a_fleet,
    cluster,
    configuration,
    everything,
    prometheus_of,
)
from tests.cli.stage import TEN_MS as BEGIN_MS

# Three nodes of four GPUs for an hour, at 3 USD each.
WHOLE = Decimal(36)
GPU_SECONDS = Decimal(12 * 3600)
NAMES = ["nan", "plus infinity", "minus infinity"]


@dataclass(frozen=True, slots=True)
class Hour:
    """What a collection of the hour said, and the ledger afterwards."""

    said: Ended
    costs: dict[str, str]
    by_pod: dict[str, dict[str, str]]
    models: dict[str, dict[str, str]]

    def seconds(self, state: str) -> Decimal:
        return Decimal(self.costs[f"gpu_seconds_{state}"])

    def held(self) -> dict[str, str]:
        return {pod: row["gpu_seconds_held"] for pod, row in self.by_pod.items()}


@dataclass(frozen=True, slots=True)
class Cluster:
    """The same fleet again and again, each time as another cluster of one ledger."""

    here: CommandLine
    fleet: Fleet
    kept: dict[str, Hour]

    def hour(self, name: str, spoil: Transform | None = None) -> Hour:
        """Collect and rate the fleet's hour as ``spoil`` leaves it."""
        if name in self.kept:
            return self.kept[name]
        with prometheus_of(self.fleet, spoil) as served:
            self.here.file("gpuledger.toml", configuration(cluster(name, served.url)))
            said = self.here.run("collect", *SPAN).done()
            self.here.run("rate", *SPAN).done()
        asked = (*SPAN, "--filter", f"cluster={name}", "--format", "csv")
        (costs,) = self.here.run("costs", *asked, "--group-by", "cluster").done().rows()
        by_pod = self.here.run("costs", *asked, "--group-by", "pod").done().rows()
        models = self.here.run("inference", *asked, "--group-by", "model").done().rows()
        hour = Hour(
            said,
            costs,
            {row["pod"]: row for row in by_pod},
            {row["model"]: row for row in models},
        )
        self.kept[name] = hour
        return hour


@pytest.fixture(scope="module")
def clusters(module_database_url: URL, tmp_path_factory: pytest.TempPathFactory) -> Cluster:
    here = shell(tmp_path_factory.mktemp("odd"), module_database_url)
    here.file("prices.csv", PRICES)
    here.file("teams.yaml", CONTRACT)
    here.run("prices", "import", "prices.csv").done()
    here.run("contract", "apply", "teams.yaml").done()
    return Cluster(here, a_fleet(), {})


@pytest.fixture
def sound(clusters: Cluster) -> Hour:
    hour = clusters.hour("sound")
    assert Decimal(hour.costs["total_cost"]).quantize(Decimal("0.00")) == WHOLE
    assert hour.seconds("unmeasured") == 0
    assert "Note" not in hour.said.err
    return hour


def same_money(hour: Hour, sound: Hour) -> None:
    """Who held what, and what it costs, does not depend on what devices did."""
    assert hour.held() == sound.held()
    assert Decimal(hour.costs["total_cost"]).quantize(Decimal("0.00")) == WHOLE
    assert hour.costs["complete"] == "true"


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf], ids=NAMES)
def test_values_that_are_not_finite_are_left_out_and_counted(
    clusters: Cluster, sound: Hour, value: float
) -> None:
    families = (ACTIVE, UTILIZATION, ENERGY, MEMORY)
    hour = clusters.hour(f"odd {value}", every(7, value, *families))

    same_money(hour, sound)
    assert f"dropped_samples {ACTIVE}: Samples left out: " in hour.said.err
    assert "not finite" in hour.said.err
    # One lost sample in seven: those beside it speak for its time.
    assert hour.seconds("unmeasured") < 10
    assert abs(hour.seconds("active") - sound.seconds("active")) < sound.seconds("active") / 20


@pytest.mark.parametrize(
    "blank", [2147483632.0, 2147483634.0, 140737488355328.0, 9223372036854775792.0, -1.0, 7.5]
)
def test_blank_and_impossible_values_of_dcgm_are_no_activity(
    clusters: Cluster, sound: Hour, blank: float
) -> None:
    hour = clusters.hour(f"blank {blank:.0f}", every(3, blank, ACTIVE))

    same_money(hour, sound)
    assert f"dropped_samples {ACTIVE}: Samples left out: " in hour.said.err
    assert hour.seconds("active") <= hour.seconds("held")
    assert abs(hour.seconds("active") - sound.seconds("active")) < sound.seconds("active") / 20


def test_devices_whose_every_value_is_blank_are_measured_by_the_coarse_metric(
    clusters: Cluster, sound: Hour
) -> None:
    hour = clusters.hour("only coarse", every(1, 9223372036854775792.0, ACTIVE))

    same_money(hour, sound)
    assert hour.seconds("unmeasured") == 0
    assert abs(hour.seconds("active") - sound.seconds("active")) < 1


@pytest.mark.parametrize(
    ("name", "spoil"),
    [
        ("no activity", without(ACTIVE, UTILIZATION)),
        ("no dcgm", without("DCGM")),
        ("nothing but NaN", every(1, np.nan, ACTIVE, UTILIZATION)),
        (
            "an unknown name",
            lambda name, made: () if name in (ACTIVE, UTILIZATION) else made,
        ),
    ],
)
def test_time_without_any_activity_is_unmeasured_never_idle(
    clusters: Cluster, sound: Hour, name: str, spoil: Transform
) -> None:
    hour = clusters.hour(name, spoil)

    same_money(hour, sound)
    assert hour.seconds("unmeasured") == hour.seconds("held")
    assert (hour.costs["used_cost"], hour.costs["idle_cost"]) == ("0.00", "0.00")


def test_a_family_that_is_gone_is_named(clusters: Cluster) -> None:
    hour = clusters.hour("no activity", without(ACTIVE, UTILIZATION))

    assert "missing_family gr_engine_active: dcgm-exporter has no series" in hour.said.err


@pytest.mark.parametrize(("name", "change"), [("without pods", without_pods), ("own pod", own_pod)])
def test_without_pod_labels_activity_is_the_pools_and_nobody_else_is_charged(
    clusters: Cluster, sound: Hour, name: str, change: Callable[[dict[str, str]], dict[str, str]]
) -> None:
    hour = clusters.hour(name, labelled(change, "DCGM"))

    same_money(hour, sound)
    assert hour.seconds("unmeasured") == 0
    assert not any("dcgm" in pod for pod in hour.by_pod)


def test_exported_labels_win_over_the_scrapers(clusters: Cluster, sound: Hour) -> None:
    hour = clusters.hour("exported", labelled(exported, "DCGM"))

    assert {**hour.costs, "cluster": ""} == {**sound.costs, "cluster": ""}
    assert hour.by_pod == sound.by_pod


def test_copies_of_every_series_count_once(clusters: Cluster, sound: Hour) -> None:
    hour = clusters.hour("twice", twice)

    assert hour.by_pod == sound.by_pod
    assert hour.models == sound.models
    assert "duplicate_series generation_tokens: " in hour.said.err


def test_a_counter_that_falls_counts_from_zero_and_never_more_than_was_served(
    clusters: Cluster, sound: Hour
) -> None:
    hour = clusters.hour("falling", falling)

    for model, row in hour.models.items():
        counted = int(row["generation_tokens"])
        served = int(sound.models[model]["generation_tokens"])
        assert served * 0.95 < counted <= served
        assert row["requests"] == sound.models[model]["requests"]


def test_a_counter_that_the_engine_lacks_is_named_and_empty(clusters: Cluster, sound: Hour) -> None:
    hour = clusters.hour("no generation", without("vllm:generation_tokens"))

    same_money(hour, sound)
    assert "missing_family generation_tokens: vllm has no series" in hour.said.err
    for row in hour.models.values():
        assert row["generation_tokens"] == ""
        assert row["cost_per_million_generation_tokens"] == ""
        assert row["unit_cost_reason"].startswith("uncounted")


@pytest.mark.parametrize(
    "other", ["nvidia_com_mig_1g_5gb", "nvidia_com_gpu_shared", "example_com_gpu"]
)
def test_a_resource_that_cannot_be_priced_is_named_and_nobody_is_charged(
    clusters: Cluster, other: str
) -> None:
    hour = clusters.hour(other, resource(other))

    assert hour.said.err.count("unknown_share") > 3
    assert Decimal(hour.costs["total_cost"]) == WHOLE
    assert set(hour.by_pod) == {""}


def test_without_the_pods_requests_all_time_is_unobserved(clusters: Cluster) -> None:
    hour = clusters.hour("no requests", without(REQUESTS))

    assert "1 partial" in hour.said.out
    assert "partial pod_requests: kube-state-metrics lives and does not publish" in hour.said.err
    assert hour.seconds("unobserved") == GPU_SECONDS
    assert Decimal(hour.costs["unobserved_cost"]) == WHOLE
    assert hour.costs["complete"] == "false"


def test_without_what_nodes_offer_the_hour_is_partial(clusters: Cluster, sound: Hour) -> None:
    hour = clusters.hour("no allocatable", without("kube_node_status"))

    assert "partial node_allocatable" in hour.said.err
    assert hour.held() == sound.held()
    assert hour.costs["complete"] == "false"


def test_without_an_inventory_tokens_stand_without_a_price(clusters: Cluster) -> None:
    with prometheus_of(clusters.fleet, without("kube_")) as served:
        clusters.here.file("gpuledger.toml", configuration(cluster("bare", served.url)))
        said = clusters.here.run("collect", *SPAN).done()
        clusters.here.run("rate", *SPAN).done()

    asked = (*SPAN, "--filter", "cluster=bare", "--format", "csv")
    assert "1 partial" in said.out
    assert "no_inventory" in said.err
    assert clusters.here.run("costs", *asked).done().rows() == []
    for row in clusters.here.run("inference", *asked).done().rows():
        assert (row["complete"], row["cost_per_million_tokens"]) == ("false", "")
        assert row["unit_cost_reason"].startswith("unheld")


def test_labels_of_any_text_are_kept_as_they_are(clusters: Cluster, sound: Hour) -> None:
    strange = 'mödel "é"\u2028 \U0001f600, <b>'

    def other(labels: dict[str, str]) -> dict[str, str]:
        return {**labels, "model_name": strange} if "model_name" in labels else labels

    hour = clusters.hour("strange", labelled(other, "vllm"))

    assert hour.by_pod == sound.by_pod
    assert set(hour.models) == {strange}


@pytest.mark.parametrize("lost_ms", [30 * 60_000, 2 * 3_600_000], ids=["half", "all"])
def test_a_history_that_expired_replaces_nothing(clusters: Cluster, lost_ms: int) -> None:
    name = f"expired {lost_ms}"
    clusters.hour(name)
    before = everything(clusters.here)

    with prometheus_of(clusters.fleet) as served:
        served.oldest_ms = BEGIN_MS + lost_ms
        clusters.here.file("gpuledger.toml", configuration(cluster(name, served.url)))
        error = clusters.here.run("collect", *SPAN).failed("Use --force --reason")

    assert f"The collection of {name} at 2025-11-03 10:00 UTC was rejected" in error
    assert "prometheus/activity" in error
    assert everything(clusters.here) == before


def test_a_poorer_answer_can_be_forced_with_a_reason(clusters: Cluster) -> None:
    clusters.hour("forced")

    with prometheus_of(clusters.fleet, without("DCGM")) as served:
        clusters.here.file("gpuledger.toml", configuration(cluster("forced", served.url)))
        clusters.here.run("collect", *SPAN).failed("was rejected")
        forced = ("--force", "--reason", "the exporter lied")
        assert "1 changed" in clusters.here.run("collect", *SPAN, *forced).done().out
