"""The finders find: what `test_architecture` relies on is tried on planted lines."""

import pytest

from tests import house


def lines(finds: object) -> list[int]:
    return [find.line for find in finds]  # type: ignore[attr-defined]  # any of the finders


@pytest.mark.parametrize(
    "planted",
    [
        "datetime.now(UTC)",
        "datetime.datetime.now()",
        "dt.date.today()",
        "time.time()",
        "clock = time.time",
        "pd.Timestamp.now()",
        "from time import time",
        "import time\nstart = time.time_ns()",
    ],
)
def test_a_clock_is_found(planted: str) -> None:
    assert list(house.clock_reads(planted))


@pytest.mark.parametrize(
    "innocent",
    ["datetime.fromtimestamp(0, UTC)", "time.sleep(1)", "self.clock()", "now = at_ms"],
)
def test_what_is_no_clock_is_left_alone(innocent: str) -> None:
    assert not list(house.clock_reads(innocent))


@pytest.mark.parametrize(
    "planted",
    ["text('SELECT now()')", "DEFAULT = 'DEFAULT CURRENT_TIMESTAMP'", "sa.func.now()"],
)
def test_a_clock_of_the_database_is_found(planted: str) -> None:
    assert list(house.sql_clock_reads(planted))


def test_a_docstring_may_speak_of_the_clock() -> None:
    assert not list(house.sql_clock_reads('def read():\n    """Never calls now()."""\n'))


@pytest.mark.parametrize("planted", ["x: dict[str, Any]", "x: typing.Mapping[str, typing.Any]"])
def test_a_loose_mapping_is_found(planted: str) -> None:
    assert list(house.loose_mappings(planted))


def test_a_mapping_with_a_type_is_left_alone() -> None:
    assert not list(house.loose_mappings("x: dict[str, int]\ny: dict[str, object]"))


def test_a_function_is_found_one_line_above_the_limit() -> None:
    def of(lines: int) -> str:
        return "def f():\n" + "    pass\n" * (lines - 1)

    assert not list(house.long_functions(of(house.FUNCTION_LINES)))
    assert list(house.long_functions(of(house.FUNCTION_LINES + 1)))


@pytest.mark.parametrize(
    ("planted", "found"),
    [
        ("x = 1  # noqa", True),
        ("x = 1  # noqa: S603", True),
        ("x = 1  # noqa: S603 - the arguments are ours", False),
        ("x = 1  # type: ignore", True),
        ("x = 1  # type: ignore[arg-type]", True),
        ("x = 1  # type: ignore[arg-type]  # the stub is wrong", False),
    ],
)
def test_a_silencer_needs_a_code_and_a_reason(planted: str, *, found: bool) -> None:
    assert bool(list(house.silencers(planted))) is found


@pytest.mark.parametrize(
    "planted",
    [
        "from unittest import mock",
        "from unittest.mock import patch",
        "@pytest.mark.skipif(True)\ndef test_x(): ...",
        "pytest.skip('later')",
        "@pytest.mark.xfail\ndef test_x(): ...",
        "numpy = pytest.importorskip('numpy')",
        "monkeypatch.setattr(app.units, 'split', None)",
    ],
)
def test_an_escape_is_found(planted: str) -> None:
    assert list(house.escapes(planted))


def test_the_environment_of_a_test_may_be_set() -> None:
    assert not list(house.escapes("monkeypatch.setenv('CI', 'true')"))


def test_imports_are_named_in_full() -> None:
    source = "import a.b\nfrom c.d import e\n"

    assert [find.what for find in house.imports(source)] == ["a.b", "c.d"]
    assert lines(house.imports(source)) == [1, 2]
