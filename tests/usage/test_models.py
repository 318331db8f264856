"""Published names are joined to one served model, in the surest way, or to none."""

from collections.abc import Collection, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.usage.models import Match, MatchKind, ModelEntry, ModelTable

LLAMA = ModelEntry(name="llama", aliases=("meta-llama/Llama-3",), adapters=("sql-lora",))
TABLE = ModelTable([LLAMA])


@pytest.mark.parametrize(
    ("name", "how"),
    [
        ("llama", MatchKind.EXACT),
        ("meta-llama/Llama-3", MatchKind.ALIAS),
        ("sql-lora", MatchKind.ADAPTER),
        ("LLaMA", MatchKind.CASE),
        ("META-LLAMA/llama-3", MatchKind.CASE),
        ("llama:latest", MatchKind.VERSION),
        ("llama@2026-11-01", MatchKind.VERSION),
        ("openai/llama", MatchKind.PREFIX),
        ("hosted_vllm/meta-llama/Llama-3", MatchKind.PREFIX),
        ("openai/llama:latest", MatchKind.PREFIX),
    ],
)
def test_a_name_is_joined_in_the_surest_way(name: str, how: MatchKind) -> None:
    assert TABLE.resolve(name, ["llama", "mistral"]) == Match("llama", how)


@pytest.mark.parametrize("name", ["", "gpt-4o", "azure/llama", "bedrock/llama", "llam", "llama-3"])
def test_a_name_that_fits_nothing_is_joined_to_nothing(name: str) -> None:
    assert TABLE.resolve(name, ["llama", "mistral"]) is None


def test_nothing_is_joined_where_no_model_is_known() -> None:
    assert TABLE.resolve("llama", []) is None
    assert TABLE.resolve("llama", ["mistral"]) is None


def test_two_models_that_fit_alike_are_nobodys() -> None:
    table = ModelTable()

    assert table.resolve("qwen", ["qwen:7b", "qwen:14b"]) is None
    assert table.resolve("q", ["a/q", "b/q"]) is None
    assert table.resolve("QWEN", ["qwen", "Qwen"]) is None


def test_a_surer_way_decides_before_another_becomes_ambiguous() -> None:
    assert ModelTable().resolve("QWEN", ["qwen", "qwen:7b", "x/qwen"]) == Match(
        "qwen", MatchKind.CASE
    )


def test_versions_of_a_model_are_not_each_other() -> None:
    assert ModelTable().resolve("qwen:7b", ["qwen:14b"]) is None


def test_a_repositorys_or_folders_name_may_be_left_out() -> None:
    assert ModelTable().resolve("q3", ["Qwen/Q3"]) == Match("Qwen/Q3", MatchKind.PREFIX)
    assert ModelTable().resolve("q3", ["/models/q3"]) == Match("/models/q3", MatchKind.PREFIX)
    assert ModelTable().resolve("Qwen/Q3", ["other/Q3"]) is None


def test_a_known_alias_stands_for_its_model() -> None:
    known = ["meta-llama/Llama-3"]

    assert TABLE.resolve("llama", known) == Match("meta-llama/Llama-3", MatchKind.ALIAS)
    assert TABLE.resolve("meta-llama/Llama-3", known) == Match(known[0], MatchKind.EXACT)
    assert TABLE.resolve("sql-lora", known) == Match("meta-llama/Llama-3", MatchKind.ADAPTER)


def test_of_several_known_names_of_one_model_the_canonical_is_returned() -> None:
    found = TABLE.resolve("meta-llama/Llama-3", ["meta-llama/Llama-3", "llama"])

    assert found == Match("llama", MatchKind.EXACT)


def test_what_a_person_says_wins_over_pods() -> None:
    table = ModelTable([LLAMA], [ModelEntry(name="other", aliases=("meta-llama/Llama-3",))])

    assert table.canonical("meta-llama/Llama-3") == "llama"


def test_what_pods_serve_under_an_alias_of_the_configuration_is_that_model() -> None:
    table = ModelTable([LLAMA], [ModelEntry(name="meta-llama/Llama-3", aliases=("/data/l3",))])

    assert table.canonical("/data/l3") == "llama"
    assert table.names == ("llama",)


def test_an_alias_that_two_pods_claim_is_nobodys() -> None:
    seen = [
        ModelEntry(name="a", aliases=("default", "a-too")),
        ModelEntry(name="b", aliases=("default",)),
    ]
    table = ModelTable((), seen)

    assert table.canonical("default") == "default"
    assert table.canonical("a-too") == "a"
    assert table.resolve("default", ["a", "b"]) is None


def test_a_served_name_is_no_alias_of_another_pod() -> None:
    table = ModelTable((), [ModelEntry(name="a", aliases=("b",)), ModelEntry(name="b")])

    assert table.canonical("b") == "b"


NAMES = st.sampled_from(
    ["a", "A", "b", "a:1", "a:2", "b@1", "x/a", "y/a", "openai/a", "openai/B", "vllm/x/a", "a/b:1"]
)
ENTRIES = st.lists(
    st.builds(
        ModelEntry,
        name=NAMES,
        aliases=st.lists(NAMES, max_size=2).map(tuple),
        adapters=st.lists(NAMES, max_size=1).map(tuple),
    ),
    max_size=3,
)


@given(entries=ENTRIES, name=NAMES, known=st.sets(NAMES, max_size=4))
def test_joining_equals_trying_every_name_by_hand(
    entries: list[ModelEntry], name: str, known: set[str]
) -> None:
    found = ModelTable(entries).resolve(name, known)

    assert found == by_hand(entries, name, known)
    if found is not None:
        assert found.name in known


@given(entries=ENTRIES, name=NAMES, known=st.lists(NAMES, max_size=4, unique=True))
def test_the_order_of_what_is_known_does_not_matter(
    entries: list[ModelEntry], name: str, known: list[str]
) -> None:
    table = ModelTable(entries)

    assert table.resolve(name, known) == table.resolve(name, known[::-1])


def by_hand(entries: Sequence[ModelEntry], name: str, known: Collection[str]) -> Match | None:
    """Compare every spelling of every known model with every spelling of the name."""
    told = told_by(entries)
    called: dict[str, list[str]] = {}
    for one in sorted(known):
        called.setdefault(told[one][0] if one in told else one, []).append(one)
    shown = {model: model if model in names else names[0] for model, names in called.items()}
    meant = told[name][0] if name in told else name
    if meant in called:
        kind = told[name][1] if name in told else MatchKind.ALIAS
        return Match(shown[meant], MatchKind.EXACT if name in known else kind)
    for kind, of_name, of_known in (
        (MatchKind.CASE, list_of, list_of),
        (MatchKind.VERSION, cut_tag, cut_tag),
        (MatchKind.PREFIX, cut_provider, cut_path),
    ):
        shortened = {text.lower() for text in of_name(name)}
        fits = [
            model
            for model, names in called.items()
            if shortened & {text.lower() for text in (*names, *words_for(model, entries, told))}
            or name.lower() in {text.lower() for one in (*names, model) for text in of_known(one)}
        ]
        if fits:
            return Match(shown[fits[0]], kind) if len(fits) == 1 else None
    return None


def told_by(entries: Sequence[ModelEntry]) -> dict[str, tuple[str, MatchKind]]:
    """Return by word the model that it is another name of."""
    told: dict[str, tuple[str, MatchKind]] = {}
    names = {entry.name for entry in entries}
    for entry in entries:
        words = [(word, MatchKind.ALIAS) for word in entry.aliases]
        for word, kind in [*words, *((word, MatchKind.ADAPTER) for word in entry.adapters)]:
            if word not in names:
                told.setdefault(word, (entry.name, kind))
    return told


def words_for(
    model: str, entries: Sequence[ModelEntry], told: dict[str, tuple[str, MatchKind]]
) -> set[str]:
    """Return all words that mean a model."""
    words = {word for entry in entries for word in (entry.name, *entry.aliases, *entry.adapters)}
    return {model, *(word for word in words if word in told and told[word][0] == model)}


def list_of(text: str) -> list[str]:
    return [text]


def cut_tag(text: str) -> list[str]:
    folder, slash, last = text.rpartition("/")
    cuts = [last.split(mark, 1)[0] for mark in ":@" if mark in last]
    return [folder + slash + cut for cut in cuts if cut]


def cut_provider(text: str) -> list[str]:
    for prefix in ("openai/", "vllm/"):
        if text.lower().startswith(prefix):
            rest = text[len(prefix) :]
            return [rest, *cut_tag(rest)]
    return []


def cut_path(text: str) -> list[str]:
    if "/" not in text:
        return []
    last = text.rsplit("/", 1)[1]
    return [last, *cut_tag(last)]
