"""What was read of each real text, scraped by a real Prometheus."""

from dataclasses import fields

import pytest

from tests.samples.expected_devices import DEVICES
from tests.samples.expected_engines import ENGINES
from tests.samples.expected_gateways import GATEWAYS
from tests.samples.expected_kube_state import KUBE_STATE
from tests.samples.mending import MENDERS
from tests.samples.places import SAMPLES, expositions
from tests.samples.reading import Read, read
from tests.samples.scraping import Scraped
from tests.samples.targets import MENDED, PLAIN

pytestmark = pytest.mark.xdist_group("samples")

# Nothing of these is counted by `harvest`; what they say of pods and nodes is read elsewhere.
EXPECTED = {**ENGINES, **GATEWAYS, **DEVICES, **dict.fromkeys(KUBE_STATE, Read())}
# What Prometheus says of the texts that it refuses.
REFUSED = {
    "dcgm_a100_mig_nvidia_docs": "invalid metric name",
    "dcgm_time_slicing_virtual_gpus_identical_values_issue587": "expected label name",
    "kong_ai_llm_docs": "expected label name",
}
# Files that are no exposition; the first is an answer of a server.
OTHERS = {
    "INDEX.md",
    "prometheus_api_instant_query_vllm_kops.json",
    "prometheus_api_instant_query_vllm_kops.json.source",
}


def test_every_text_has_an_expectation() -> None:
    known = {path.name for path in SAMPLES.iterdir() if path.is_file()}

    assert set(expositions()) == set(EXPECTED)
    assert {name for name in known if not name.endswith((".prom", ".txt"))} == OTHERS
    assert set(MENDERS) == set(REFUSED)


def test_prometheus_refuses_what_is_expected_and_nothing_else(prometheus: Scraped) -> None:
    said = {name: error for name, error in prometheus.errors.items() if error}

    assert {name.removesuffix(PLAIN) for name in said} == set(REFUSED)
    assert all(REFUSED[name.removesuffix(PLAIN)] in error for name, error in said.items())


@pytest.mark.parametrize("name", sorted(EXPECTED))
def test_a_text_is_read_as_it_is_meant(name: str, prometheus: Scraped) -> None:
    target = name + MENDED if name in REFUSED else name

    same(read(prometheus, target), EXPECTED[name])


@pytest.mark.parametrize("name", sorted(DEVICES))
def test_devices_are_read_alike_where_the_labels_of_the_target_win(
    name: str, prometheus: Scraped
) -> None:
    target = name + MENDED + PLAIN if name in REFUSED else name + PLAIN

    same(read(prometheus, target), DEVICES[name])


def test_texts_do_not_disturb_each_other(prometheus: Scraped) -> None:
    found = read(prometheus)

    serving = {**ENGINES, **GATEWAYS}
    for kind in ("grown", "consumed"):
        sums: dict[tuple[str, ...], int] = {}
        for one in serving.values():
            for key, count in getattr(one, kind).items():
                sums[key] = sums.get(key, 0) + count
        assert getattr(found, kind) == sums


def same(found: Read, expected: Read) -> None:
    for field in fields(Read):
        got, wanted = getattr(found, field.name), getattr(expected, field.name)
        if field.name in {"grown", "buckets", "consumed", "notes", "holders"}:
            assert got == wanted, field.name
        else:
            assert got == pytest.approx(wanted, rel=1e-9, abs=1e-12), field.name
