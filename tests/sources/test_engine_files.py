"""The files of engines: those that come with gpuledger, and those of users."""

import re
from collections.abc import Mapping
from pathlib import Path

import pytest

from app.settings import SettingsError, load_settings
from app.sources.catalogue import Exporter, Layer, MetricType, load_catalogue
from app.sources.catalogue.engines import ENGINES, KNOWN_MEANINGS, OUTCOMES
from app.wiring.clients import collect_from
from tests.house import ROOT

PLAIN = """\
currency = "USD"

[[clusters]]
name = "prod"
prometheus = { url = "http://127.0.0.1:9090" }

[[engines]]
engine = "acme"
labels = { model = ["served"] }

[[engines.meanings]]
name = "prompt_tokens"
type = "counter"
unit = "tokens"
reason = "Prompt tokens."
aliases = [
  { name = "acme_tokens_total", where = { direction = ["in"] } },
]
"""


def engine(name: str) -> Exporter:
    return load_catalogue().engine(name)


def text_blocks(page: str) -> list[str]:
    return re.findall(r"^```toml\n(.*?)^```", page, re.MULTILINE | re.DOTALL)


def configured(folder: Path, *, change: Mapping[str, str] | None = None) -> Path:
    text = PLAIN
    for old, new in (change or {}).items():
        assert old in text
        text = text.replace(old, new)
    file = folder / "gpuledger.toml"
    file.write_text(text, encoding="utf-8")
    return file


def test_every_engine_is_there_once_and_in_order() -> None:
    assert tuple(one.name for one in load_catalogue().engines) == ENGINES
    assert len(set(ENGINES)) == len(ENGINES)


def test_an_engine_inside_another_is_asked_before_it() -> None:
    for one in load_catalogue().engines:
        for inside in one.wraps:
            assert ENGINES.index(inside) < ENGINES.index(one.name)


@pytest.mark.parametrize("name", ["kserve", "ollama", "infinity"])
def test_an_engine_that_publishes_nothing_says_so(name: str) -> None:
    assert engine(name).meanings == ()
    assert engine(name).publishes_nothing


def test_every_meaning_is_a_known_one_of_its_type() -> None:
    for one in load_catalogue().engines:
        for meaning in one.meanings:
            assert KNOWN_MEANINGS[meaning.quantity] is meaning.type
            assert all(alias.outcome in {"", *OUTCOMES} for alias in meaning.aliases)
            if meaning.type is MetricType.HISTOGRAM:
                assert meaning.unit == "seconds"
            if meaning.name == "cache_usage":
                assert meaning.highest == 1.0


def test_names_of_one_engine_are_no_names_of_another() -> None:
    read: dict[str, str] = {}
    for one in load_catalogue().engines:
        for meaning in one.meanings:
            for alias in meaning.aliases:
                if meaning.name != "process_start":
                    assert read.setdefault(alias.name, one.name) == one.name


def test_generic_names_are_read_of_recognized_targets_only() -> None:
    nim = engine("nim")

    assert nim.recognized_by == ("num_request_max",)
    assert nim.requires_labels == ("model_name",)


def test_what_has_no_counter_of_tokens_has_no_meaning_of_it() -> None:
    triton = engine("triton")

    for quantity in ("prompt_tokens", "generation_tokens", "cached_prompt_tokens"):
        assert triton.parts(quantity) == ()


def test_llama_cpp_adds_cached_tokens_to_its_prompt() -> None:
    parts = engine("llamacpp").parts("prompt_tokens")

    assert [part.aliases[0].name for part in parts] == [
        "llamacpp:prompt_tokens_total",
        "llamacpp:prompt_tokens_cached_total",
    ]
    assert parts[1].needed


def test_a_prefix_spells_every_name_once_more() -> None:
    tokens = engine("vllm").meaning("generation_tokens")

    found = tokens.published({"ray_vllm_generation_tokens_total", "vllm:generation_tokens_total"})

    assert [alias.name for alias in found] == [
        "vllm:generation_tokens_total",
        "ray_vllm_generation_tokens_total",
    ]
    assert [alias.respelled for alias in found] == [False, True]


def test_a_sum_that_is_read_as_a_counter_was_born_with_its_histogram() -> None:
    tokens = engine("tgi").meaning("prompt_tokens")

    assert tokens.birth_name(tokens.aliases[0]) == "tgi_request_input_length_created"


def test_dynamo_is_a_frontend() -> None:
    assert engine("dynamo").layer is Layer.FRONTEND


def test_a_users_engine_is_read_after_the_others(tmp_path: Path) -> None:
    settings = load_settings(configured(tmp_path))

    given = collect_from(settings.cluster("prod"), engines=settings.engines)

    (*shipped, own) = given.catalogue.engines
    assert [one.name for one in shipped] == list(ENGINES)
    assert own.name == "acme"
    assert own.label_names("model")[-1] == "served"
    assert own.label_names("pod")[-1] == "pod_name"
    assert own.meanings[0].aliases[0].where == (("direction", ("in",)),)


@pytest.mark.parametrize(
    ("change", "line", "reason"),
    [
        ({'"acme_tokens_total"': '"acme tokens"'}, 17, "'acme tokens' is no name of a metric"),
        ({'"acme_tokens_total"': '"0tokens"'}, 17, "'0tokens' is no name of a metric"),
        ({"where": "wehre"}, 17, "wehre"),
        ({'["served"]': '["served model"]'}, 9, "'served model' is no name of a label"),
        ({'["in"]': "[]"}, 17, "at least 1 item"),
        ({'"counter"': '"summary"'}, 13, "should be 'counter'"),
        ({'"counter"': '"gauge"'}, 11, "prompt_tokens is read from a counter, not a gauge"),
        ({'"prompt_tokens"': '"promt_tokens"'}, 11, "'promt_tokens' is no meaning of an engine"),
        ({'unit = "tokens"': 'unit = ""'}, 14, "at least 1 character"),
        ({'engine = "acme"': 'engine = "Acme 2"'}, 8, "'Acme 2' is no name"),
        ({'engine = "acme"': 'engine = "vllm"'}, 7, "there is an engine 'vllm' already"),
        ({"acme_tokens_total": "tgi_request_success"}, 7, "is read already, as that of tgi"),
        ({'engine = "acme"': 'engine = "acme"\nlayer = "gateway"'}, 9, "should be 'engine'"),
    ],
)
def test_a_bad_entry_is_refused_with_file_line_and_reason(
    tmp_path: Path, change: dict[str, str], line: int, reason: str
) -> None:
    file = configured(tmp_path, change=change)

    with pytest.raises(SettingsError) as refused:
        load_settings(file)

    said = str(refused.value)
    assert str(file) in said
    assert f"(line {line})" in said
    assert reason in said


def test_the_example_of_the_documentation_is_accepted(tmp_path: Path) -> None:
    blocks = text_blocks((ROOT / "docs" / "operations.md").read_text(encoding="utf-8"))
    (example,) = (block for block in blocks if "[[engines]]" in block)
    file = tmp_path / "gpuledger.toml"
    file.write_text(example, encoding="utf-8")

    (own,) = load_settings(file).engines

    assert [meaning.name for meaning in own.meanings] == [
        *("prompt_tokens", "generation_tokens", "end_to_end")
    ]


def test_a_name_that_a_recognized_engine_reads_may_be_a_users_too(tmp_path: Path) -> None:
    file = configured(tmp_path, change={"acme_tokens_total": "prompt_tokens_total"})

    assert load_settings(file).engines[0].engine == "acme"
