"""Where in a TOML file the value stands that a path of keys and numbers leads to."""

import re
from collections.abc import Iterator
from dataclasses import dataclass

_HEADER = re.compile(r"\s*(\[\[?)\s*([A-Za-z0-9_.\"' -]+?)\s*\]\]?\s*(?:#.*)?$")
# Strings of either quote, over one line or several, and comments.
_STRING = re.compile(
    r"""
      "{3}(?:.|\n)*?"{3} | '{3}(?:.|\n)*?'{3}
    | "(?:\\.|[^"\\\n])*" | '[^'\n]*' | [#].*
    """,
    re.VERBOSE,
)


def line_of(text: str, location: tuple[int | str, ...]) -> int | None:
    """Return the number, from 1, of the line of the last part of ``location`` that can be found.

    None if not even its first part is. The text is valid TOML.
    """
    tables = list(_tables(text))
    at: int | None = None
    lines = _blanked(text).splitlines()
    low, high, prefix = 0, len(lines), ""
    rest = list(location)
    while rest:
        name = f"{prefix}.{rest[0]}" if prefix else str(rest[0])
        number = rest[1] if len(rest) > 1 and isinstance(rest[1], int) else None
        found = [one for one in tables if one.name == name and low <= one.line < high]
        if not found:
            break
        chosen = found[min(number or 0, len(found) - 1)]
        prefix, at, low = name, chosen.line, chosen.line
        high = next(
            (one.line for one in tables if one.line > at and not one.name.startswith(f"{name}.")),
            high,
        )
        rest = rest[2:] if number is not None else rest[1:]
    end = next((one.line for one in tables if low < one.line < high), high) if prefix else high
    if not prefix and tables:
        end = min(end, tables[0].line)
    inside = _inside(lines, range(low, end), rest)
    found_line = inside if inside is not None else at
    return None if found_line is None else found_line + 1


@dataclass(frozen=True, slots=True)
class _Table:
    """A header: its dotted name, and the number of its line from 0."""

    name: str
    line: int


def _tables(text: str) -> Iterator[_Table]:
    for number, line in enumerate(_blanked(text, keep_headers=True).splitlines()):
        header = _HEADER.match(line)
        if header is not None:
            parts = [part.strip().strip("\"'") for part in header[2].split(".")]
            yield _Table(".".join(parts), number)


def _blanked(text: str, *, keep_headers: bool = False) -> str:
    """Return the text with strings and comments of the same length that say nothing."""

    def quiet(found: re.Match[str]) -> str:
        word = found[0]
        if word.startswith("#") or not (keep_headers or _is_key(text, found.end())):
            return re.sub(r"[^\n]", "_" if not word.startswith("#") else " ", word)
        return word

    return _STRING.sub(quiet, text)


def _is_key(text: str, end: int) -> bool:
    return text[end : end + 8].lstrip(" \t").startswith("=")


def _inside(lines: list[str], numbers: range, path: list[int | str]) -> int | None:
    """Return the line within a table at which keys and positions of inline values lead."""
    body = "\n".join(lines[number] for number in numbers)
    place, reached = 0, None
    for step in path:
        after = (
            _element(body, place, step) if isinstance(step, int) else _key(body, place, str(step))
        )
        if after is None:
            break
        place = reached = after
    return None if reached is None else numbers.start + body.count("\n", 0, reached)


def _key(body: str, place: int, name: str) -> int | None:
    word = re.escape(name)
    found = re.compile(rf"(?<![\w.-])[\"']?{word}[\"']?\s*=").search(body, place)
    return None if found is None else found.start()


def _element(body: str, place: int, number: int) -> int | None:
    """Return where the ``number``-th element of the array that opens next begins."""
    opening = body.find("[", place)
    if opening < 0:
        return None
    depth, seen = 0, 0
    for index in range(opening + 1, len(body)):
        sign = body[index]
        if depth == 0 and seen == number and not sign.isspace() and sign != ",":
            return index
        if sign in "[{":
            depth += 1
        elif sign in "]}":
            depth -= 1
            if depth < 0:
                return None
        elif sign == "," and depth == 0:
            seen += 1
    return None
