"""Reads what a workbook holds from its XML, without the library that wrote it."""

import io
import re
import zipfile
from dataclasses import dataclass
from xml.etree import ElementTree as ET

_MAIN = "{http://schemas.openxmlformats.org/spreadsheetml/2006/main}"


@dataclass(frozen=True)
class SheetCell:
    """A cell: ``kind`` is n for numbers (and dates), s for text, b for true and false."""

    kind: str
    text: str
    style: int


class Workbook:
    """The parts of an XLSX file."""

    def __init__(self, content: bytes) -> None:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            self.parts = {name: archive.read(name) for name in archive.namelist()}
            self.dates = {info.date_time for info in archive.infolist()}
        self._texts = [
            "".join(part.text or "" for part in item.iter(f"{_MAIN}t"))
            for item in self._tree("xl/sharedStrings.xml").iter(f"{_MAIN}si")
        ]
        styles = self._tree("xl/styles.xml")
        self.number_formats = {
            one.attrib["numFmtId"]: one.attrib["formatCode"]
            for one in styles.iter(f"{_MAIN}numFmt")
        }
        (formats,) = styles.iter(f"{_MAIN}cellXfs")
        self.formats = [dict(one.attrib) for one in formats]

    def sheet(self, number: int) -> ET.Element:
        return self._tree(f"xl/worksheets/sheet{number}.xml")

    def rows(self, number: int) -> list[dict[str, SheetCell]]:
        """The rows of a sheet, by the letters of the column."""
        return [
            {_letters(cell): self._cell(cell) for cell in row}
            for row in self.sheet(number).iter(f"{_MAIN}row")
        ]

    def records(self) -> list[dict[str, SheetCell]]:
        """The rows of the first sheet under its headings."""
        heading, *rows = self.rows(1)
        return [{heading[place].text: cell for place, cell in row.items()} for row in rows]

    def has(self, number: int, tag: str) -> bool:
        return next(self.sheet(number).iter(f"{_MAIN}{tag}"), None) is not None

    def attributes(self, number: int, tag: str) -> dict[str, str]:
        (found,) = self.sheet(number).iter(f"{_MAIN}{tag}")
        return dict(found.attrib)

    def number_format(self, cell: SheetCell) -> str:
        identity = self.formats[cell.style]["numFmtId"]
        return self.number_formats.get(identity, f"built-in {identity}")

    def _cell(self, cell: ET.Element) -> SheetCell:
        kind = cell.attrib.get("t", "n")
        value = cell.findtext(f"{_MAIN}v") or ""
        text = self._texts[int(value)] if kind == "s" else value
        return SheetCell(kind, text, int(cell.attrib.get("s", "0")))

    def _tree(self, name: str) -> ET.Element:
        return ET.fromstring(self.parts[name])


def _letters(cell: ET.Element) -> str:
    (letters,) = re.findall(r"^[A-Z]+", cell.attrib["r"])
    return str(letters)
