"""A server of 3.x that has a simulated fleet's histograms as native ones, without classic series.

It stands in front of the simulated Prometheus and writes what that answers in the documented form:
histograms with the bounds of the classic buckets, ranges that leave out their left border.
"""

import json
import re
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, cast

from tests.sources.scripted_server import (
    Reply,
    Request,
    ScriptedServer,
    json_reply,
    scripted_server,
)

_PARTS = ("_bucket", "_sum", "_count")
_ASKED = re.compile(r'\{__name__=~"(?P<metric>[^"|]+)\|(?P<native>[^"|]+)"(?:,(?P<rest>.*))?\}')
_RANGE = re.compile(r"\[(\d+)ms\]")

Row = dict[str, Any]


@dataclass(slots=True)
class NativeServer:
    """Answers in the place of the server at ``url``."""

    url: str
    histograms: tuple[str, ...]
    # Targets whose histograms are also scraped as classic ones.
    both: frozenset[str] = frozenset()
    questions: list[str] = field(default_factory=list)

    def __call__(self, request: Request) -> Reply:
        if request.path.endswith("/buildinfo"):
            build = {"version": "3.5.0", "revision": "r", "goVersion": "go1.24"}
            return json_reply({"status": "success", "data": build})
        if request.path.endswith("/label/__name__/values"):
            names = cast("list[str]", self._ask(request.path, request.form)["data"])
            return json_reply({"status": "success", "data": sorted(map(self._known, names))})
        form = dict(request.form)
        if "match[]" in form:
            form["match[]"] = self._classic(form["match[]"], "_bucket")
            return json_reply(self._ask(request.path, form))
        self.questions.append(form["query"])
        return json_reply(self._answer(request.path, form))

    def _known(self, name: str) -> str:
        for histogram in self.histograms:
            if name in {*(f"{histogram}{part}" for part in _PARTS), f"{histogram}_created"}:
                return histogram
        return name

    def _answer(self, path: str, form: dict[str, str]) -> Row:
        query = form["query"]
        asked = _ASKED.search(query)
        if asked is None:
            return self._left_open(form, self._ask(path, form))
        if query.startswith("resets("):
            return self._ask(path, {**form, "query": self._classic(query, "_count")})
        parts = {
            part: self._ask(path, {**form, "query": self._classic(query, part)}) for part in _PARTS
        }
        rows = _native(
            asked["native"],
            *(parts[part]["data"]["result"] for part in _PARTS),
        )
        wanted = asked["metric"].removeprefix(asked["native"])
        rows += [
            row for row in parts[wanted]["data"]["result"] if row["metric"]["pod"] in self.both
        ]
        data = {"resultType": "matrix", "result": rows}
        return self._left_open(form, {"status": "success", "data": data})

    def _classic(self, text: str, part: str) -> str:
        return _ASKED.sub(lambda found: f"{found['native']}{part}{{{found['rest'] or ''}}}", text)

    def _ask(self, path: str, form: dict[str, str]) -> Row:
        address = f"{self.url}{path}?{urllib.parse.urlencode(form)}"
        with urllib.request.urlopen(address, timeout=30) as answer:
            return cast("Row", json.load(answer))

    @staticmethod
    def _left_open(form: dict[str, str], document: Row) -> Row:
        length = _RANGE.search(form["query"])
        if length is not None:
            border_ms = round(float(form["time"]) * 1000) - int(length[1])
            for row in document["data"]["result"]:
                for name in ("values", "histograms"):
                    if name in row:
                        row[name] = [at for at in row[name] if round(at[0] * 1000) > border_ms]
        return document


def _native(name: str, buckets: list[Row], sums: list[Row], counts: list[Row]) -> list[Row]:
    """Write classic series as native histograms of custom buckets; empty buckets are left out."""
    total = {_key(row): dict(row["values"]) for row in sums}
    bounds: dict[frozenset[tuple[str, str]], list[tuple[float, dict[float, str]]]] = {}
    for row in buckets:
        bound = float(row["metric"]["le"])
        bounds.setdefault(_key(row), []).append((bound, dict(row["values"])))
    rows = []
    for row in counts:
        key = _key(row)
        own = sorted(bounds.get(key, []), key=lambda one: one[0])
        points = [
            [at, {"count": count, "sum": total[key][at], "buckets": _inside(own, at)}]
            for at, count in row["values"]
        ]
        rows.append({"metric": {"__name__": name, **dict(key)}, "histograms": points})
    return rows


def _inside(bounds: list[tuple[float, dict[float, str]]], at: float) -> list[list[object]]:
    found: list[list[object]] = []
    left, before = "-Inf", 0.0
    for bound, values in bounds:
        right = "+Inf" if bound == float("inf") else repr(bound)
        up_to = float(values[at])
        if up_to > before:
            found.append([0, left, right, str(int(up_to - before))])
        left, before = right, up_to
    return found


def _key(row: Row) -> frozenset[tuple[str, str]]:
    return frozenset(
        (name, value) for name, value in row["metric"].items() if name not in {"__name__", "le"}
    )


@contextmanager
def native_server(
    url: str, histograms: tuple[str, ...], both: frozenset[str] = frozenset()
) -> Iterator[tuple[ScriptedServer, NativeServer]]:
    """Serve what ``url`` has with these histograms as native ones."""
    answer = NativeServer(url, histograms, both)
    with scripted_server(cast("Callable[[Request], Reply]", answer)) as server:
        yield server, answer
