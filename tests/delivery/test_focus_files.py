"""FOCUS files: three kinds by their suffix, whole or not at all, equal bytes for equal rows."""

import gzip
from decimal import Decimal
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from app.chargeback.focus_cells import TextColumn
from app.chargeback.focus_columns import View, profile
from app.chargeback.focus_statement import statement_columns
from app.delivery.files import DestinationError
from app.delivery.focus_files import FileKindError, check_folder, check_suffix, write_focus
from tests.chargeback.focus_building import LABELS, NAMES, all_sorts
from tests.chargeback.focus_rules import read

PROFILE = profile("1.3", View.STATEMENT)
COLUMNS = statement_columns(all_sorts(), LABELS, NAMES)


def test_the_compressed_file_is_the_plain_one_and_the_same_each_time(tmp_path: Path) -> None:
    for name in ("a.csv", "a.csv.gz", "b.csv.gz"):
        write_focus(tmp_path / name, PROFILE, COLUMNS)

    plain = (tmp_path / "a.csv").read_bytes()
    assert gzip.decompress((tmp_path / "a.csv.gz").read_bytes()) == plain
    assert (tmp_path / "a.csv.gz").read_bytes() == (tmp_path / "b.csv.gz").read_bytes()
    assert plain.count(b"\r\n") == len(all_sorts()) + 1


def test_parquet_says_the_same_with_exact_types(tmp_path: Path) -> None:
    write_focus(tmp_path / "a.csv", PROFILE, COLUMNS)
    write_focus(tmp_path / "a.parquet", PROFILE, COLUMNS)

    table = pq.read_table(tmp_path / "a.parquet")
    rows = read((tmp_path / "a.csv").read_bytes().decode())

    assert tuple(table.column_names) == PROFILE.names
    assert str(table.schema.field("BilledCost").type).startswith("decimal128(38")
    assert str(table.schema.field("ChargePeriodStart").type) == "timestamp[ms, tz=UTC]"
    for name in ("BilledCost", "PricingQuantity", "ListCost", "ContractedUnitPrice"):
        texts = [row[name] for row in rows]
        assert table[name].to_pylist() == [Decimal(text) if text else None for text in texts]
    assert table["SubAccountId"].to_pylist() == [row["SubAccountId"] for row in rows]


@pytest.mark.parametrize("suffix", [".csv", ".csv.gz", ".parquet"])
def test_what_breaks_half_way_leaves_the_file_that_was_there(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a{suffix}"
    path.write_bytes(b"before")
    broken = TextColumn(np.array([0, 9] * 10_000, dtype=np.int64), ("only one",))

    with pytest.raises(IndexError):
        write_focus(path, PROFILE, {"BilledCost": broken})

    assert path.read_bytes() == b"before"
    assert [one.name for one in tmp_path.iterdir()] == [path.name]


def test_a_path_that_cannot_be_written_is_one_clear_error(tmp_path: Path) -> None:
    name = "x" * 250 + ".csv"

    with pytest.raises(DestinationError, match=r"could not be written: File name too long"):
        write_focus(tmp_path / name, PROFILE, COLUMNS)

    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["a.txt", "a", ".csv", "a.gz"])
def test_a_name_without_a_known_suffix_is_refused(name: str) -> None:
    with pytest.raises(FileKindError, match="does not say what kind of file it is"):
        check_suffix(Path(name))


def test_a_folder_that_is_not_there_is_not_made(tmp_path: Path) -> None:
    with pytest.raises(FileKindError, match="There is no folder"):
        check_folder(tmp_path / "missing" / "a.csv")
    with pytest.raises(FileKindError, match="is a folder"):
        check_folder(tmp_path)
