"""The page on FOCUS says what the columns are."""

import re

from app.chargeback.focus_columns import COLUMNS, SPECS, STATEMENT_OWN
from app.chargeback.focus_split import METHOD, METRICS
from tests.house import ROOT

PAGE = (ROOT / "docs" / "focus-export.md").read_text(encoding="utf-8")


def test_every_column_is_in_the_table_as_it_is_written() -> None:
    rows = re.findall(
        r"^\| `(\w+)` \| (\w) \| (\w+) \| ([\w/]+) \| ([\w.]+) \|", PAGE, re.MULTILINE
    )

    assert rows == [
        (
            column.name,
            column.level.value,
            column.nulls.value,
            column.type.value,
            "ours" if column.name.startswith("x_") else ".".join(map(str, column.since)),
        )
        for column in (*COLUMNS, *STATEMENT_OWN)
    ]


def test_the_method_and_what_it_divides_are_said() -> None:
    assert METHOD in PAGE
    assert [name for name in METRICS if name not in PAGE] == []
    assert [spec for spec in SPECS if spec not in PAGE] == []
