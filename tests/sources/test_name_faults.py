import pytest

from app.sources.name_faults import MAX_NAME_BYTES, name_fault


@pytest.mark.parametrize("text", ["", "search-ml", "Zoë", "搜索", "a b", "n" * MAX_NAME_BYTES])
def test_a_usable_name_has_no_fault(text: str) -> None:
    assert name_fault(text) == ""


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("n" * 254, "is longer than 253 bytes"),
        ("ü" * 127, "is longer than 253 bytes"),
        ("H100\u200b", "has a character that cannot be seen (U+200B)"),
        ("\u202esearch", "has a character that cannot be seen (U+202E)"),
        ("sea\u00adrch", "has a character that cannot be seen (U+00AD)"),
    ],
)
def test_a_name_that_could_not_name_anything_says_why(text: str, fault: str) -> None:
    assert name_fault(text) == fault
