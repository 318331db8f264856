"""The catalogue files."""

import pytest
from pydantic import ValidationError

from app.sources.catalogue import (
    Catalogue,
    CatalogueError,
    Exporter,
    MetricType,
    _File,
    load_catalogue,
)


def exporters(catalogue: Catalogue) -> list[Exporter]:
    return [*catalogue.devices, *catalogue.engines, catalogue.kube_state_metrics]


def test_every_name_has_one_meaning_a_unit_and_a_reason() -> None:
    for exporter in exporters(load_catalogue()):
        names = [
            (alias.name, alias.where)
            for meaning in exporter.meanings
            for alias in meaning.aliases
            if not meaning.part_of
        ]

        assert len(names) == len(set(names))
        for meaning in exporter.meanings:
            assert meaning.aliases
            assert meaning.unit
            assert meaning.reason.endswith(".")


def test_the_preferred_name_comes_first_among_those_a_server_has() -> None:
    cached = load_catalogue().engine("vllm").meaning("cached_prompt_tokens")

    found = cached.published({"vllm:prefix_cache_hits_total", "vllm:prompt_tokens_cached_total"})

    assert [alias.name for alias in found] == [
        "vllm:prompt_tokens_cached_total",
        "vllm:prefix_cache_hits_total",
    ]
    assert cached.published({"vllm:prompt_tokens_total"}) == ()


def test_a_histogram_is_found_by_its_buckets_and_born_under_its_own_name() -> None:
    latency = load_catalogue().engine("vllm").meaning("end_to_end")
    (alias,) = latency.published({"vllm:e2e_request_latency_seconds_bucket"})

    assert latency.type is MetricType.HISTOGRAM
    assert latency.series_name(alias) == "vllm:e2e_request_latency_seconds_bucket"
    assert latency.birth_name(alias) == "vllm:e2e_request_latency_seconds_created"


def test_a_counter_is_born_under_its_name_without_total() -> None:
    tokens = load_catalogue().engine("vllm").meaning("prompt_tokens")

    assert tokens.birth_name(tokens.aliases[0]) == "vllm:prompt_tokens_created"


def test_what_the_exporter_says_comes_before_what_the_scraper_says() -> None:
    assert load_catalogue().dcgm.label_names("pod") == (
        "exported_pod",
        "exported_pod_name",
        "pod",
        "pod_name",
    )


def test_a_meaning_that_is_not_there_is_named() -> None:
    with pytest.raises(CatalogueError, match="no meaning 'warp'"):
        load_catalogue().dcgm.meaning("warp")


def test_unknown_keys_of_a_file_are_refused() -> None:
    document = {"exporter": "x", "meanings": [], "colour": "red"}

    with pytest.raises(ValidationError, match="colour"):
        _File.model_validate(document)


@pytest.mark.parametrize("place", ["meaning", "alias"])
def test_unknown_keys_inside_a_file_are_refused(place: str) -> None:
    alias = {"name": "x_total", **({"sinse": "1"} if place == "alias" else {})}
    meaning = {"name": "x", "type": "counter", "unit": "1", "reason": "X.", "aliases": [alias]}
    if place == "meaning":
        meaning["hihgest"] = 1.0

    with pytest.raises(ValidationError):
        _File.model_validate({"exporter": "x", "meanings": [meaning]})
