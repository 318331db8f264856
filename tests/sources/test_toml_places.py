"""The line of a value in a TOML file."""

import tomllib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.sources.toml_places import line_of

TEXT = """\
currency = "USD"

[[engines]]
engine = "first"
[engines.labels]
model = ["served"]
[[engines.meanings]]
name = "prompt_tokens"
aliases = [{ name = "a" }, { name = "[[engines]]" }]

[[engines]]  # the second
engine = "second"
[[engines.meanings]]
name = "prompt_tokens"
aliases = [
  { name = "a, b = [c" },
  { name = "b", scale = 2 },
]
[[engines.meanings]]
name = "requests"
"a key" = 1
"""


@pytest.mark.parametrize(
    ("location", "line"),
    [
        (("currency",), 1),
        (("engines", 0, "engine"), 4),
        (("engines", 0, "labels", "model"), 6),
        (("engines", 0, "meanings", 0, "aliases", 1, "name"), 9),
        (("engines", 1), 11),
        (("engines", 1, "engine"), 12),
        (("engines", 1, "meanings", 0, "name"), 14),
        (("engines", 1, "meanings", 0, "aliases", 0, "name"), 16),
        (("engines", 1, "meanings", 0, "aliases", 1, "scale"), 17),
        (("engines", 1, "meanings", 1, "name"), 20),
        (("engines", 1, "meanings", 1, "a key"), 21),
        (("engines", 1, "meanings", 1, "missing"), 19),
        (("engines", 1, "absent"), 11),
    ],
)
def test_a_path_leads_to_its_line(location: tuple[int | str, ...], line: int) -> None:
    assert line_of(TEXT, location) == line


def test_what_is_not_in_the_file_has_no_line() -> None:
    assert line_of(TEXT, ("billing_zone",)) is None


def test_entries_in_an_inline_array_are_found() -> None:
    text = 'x = 1\nengines = [\n  { engine = "a" },\n  { engine = "b", colour = "red" },\n]\n'

    assert line_of(text, ("engines", 1, "colour")) == 4


# Texts that look like structure, and are none.
WORDS = st.sampled_from(["a", "[[x]]", "k = 1", "[", "]", "{", "}", ",", "#", "'", "\\\\", ""])


@st.composite
def documents(draw: st.DrawFn) -> tuple[str, dict[tuple[int | str, ...], int]]:
    """Write a document of nested tables, and the line of each of its values while writing."""
    lines = ["first = 1", ""]
    places: dict[tuple[int | str, ...], int] = {("first",): 1}

    def put(line: str, *places_here: tuple[int | str, ...]) -> None:
        lines.append(line)
        places.update(dict.fromkeys(places_here, len(lines)))

    for x in range(draw(st.integers(1, 3))):
        put("[[x]]  # [[x]]", ("x", x))
        put(f'name = "{draw(WORDS)}"  # , ]', ("x", x, "name"))
        for y in range(draw(st.integers(0, 2))):
            put("  [[x.y]]", ("x", x, "y", y))
            if draw(st.booleans()):
                put(f'"odd key" = ["{draw(WORDS)}", 2]', ("x", x, "y", y, "odd key"))
            put("k = [", ("x", x, "y", y, "k"))
            for k in range(draw(st.integers(0, 3))):
                at = ("x", x, "y", y, "k", k)
                put(f'  {{ a = "{draw(WORDS)}", b = [1, {{ c = "," }}] }},', at, (*at, "b"))
            put("]")
        if draw(st.booleans()):
            put("[x.z]", ("x", x, "z"))
            put(f"v = '''{draw(WORDS).replace(chr(39), '')}'''", ("x", x, "z", "v"))
    return "\n".join(lines) + "\n", places


@given(documents())
def test_every_value_is_found_on_its_line(
    document: tuple[str, dict[tuple[int | str, ...], int]],
) -> None:
    text, places = document

    assert tomllib.loads(text)
    assert {place: line_of(text, place) for place in places} == places
