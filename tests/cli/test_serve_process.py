"""`gpuledger serve` as a process, asked over HTTP by whoever has a key."""

import csv
import io
import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal

import pytest
import requests

from tests.cli.commands import LONGEST_SECONDS, CommandLine
from tests.cli.stage import SPAN
from tests.real.ports import LOOPBACK, answers, free_port, wait_until

WINDOW = {"start": "2025-11-03T10:00:00Z", "end": "2025-11-03T11:00:00Z"}

pytestmark = pytest.mark.xdist_group("processes")


@dataclass(frozen=True, slots=True)
class Served:
    url: str
    key: str
    here: CommandLine

    def get(self, path: str, key: str | None = None, **options: object) -> requests.Response:
        headers = {"Authorization": f"Bearer {key or self.key}", **options.pop("headers", {})}
        return requests.get(f"{self.url}{path}", headers=headers, timeout=30, **options)


@pytest.fixture(scope="module")
def served(standing: CommandLine) -> Iterator[Served]:
    key = standing.run("keys", "create", "--name", "reader").done().out.strip()
    port = free_port()
    log = standing.folder / "serve.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "app", "serve", "--port", str(port)],
            cwd=standing.folder,
            env=standing.environment(),
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    url = f"http://{LOOPBACK}:{port}"
    try:
        wait_until(
            lambda: process.poll() is not None or answers(f"{url}/readyz"),
            timeout_seconds=LONGEST_SECONDS,
            what="the service becoming ready",
        )
        assert process.poll() is None, log.read_text()
        yield Served(url, key, standing)
        process.send_signal(signal.SIGTERM)
        process.wait(timeout=30)
        said = log.read_text()
        assert f"Serving on {url}" in said
        assert "Traceback" not in said
    finally:
        if process.poll() is None:
            process.kill()
            process.wait(timeout=30)


def test_the_interface_says_what_the_command_line_says(served: Served) -> None:
    asked = {**WINDOW, "group_by": "team,kind"}
    told = served.here.run("costs", *SPAN, "--group-by", "team,kind", "--format", "csv").done()

    as_json = served.get("/v1/costs", params=asked)
    as_csv = served.get("/v1/costs", params=asked, headers={"Accept": "text/csv"})

    assert (as_json.status_code, as_csv.status_code) == (200, 200)
    assert list(csv.DictReader(io.StringIO(as_csv.text))) == told.rows()
    body = as_json.json()
    assert body["complete"] is True
    assert sum(Decimal(row["total_cost"]) for row in body["rows"]) == Decimal(body["total_cost"])
    assert [row["total_cost"] for row in body["rows"]] == [row["total_cost"] for row in told.rows()]


def test_pages_make_the_whole(served: Served) -> None:
    asked = {**WINDOW, "group_by": "charge"}
    whole = served.get("/v1/costs", params=asked).json()

    rows, cursor = [], None
    while True:
        more = {} if cursor is None else {"cursor": cursor}
        page = served.get("/v1/costs", params={**asked, "limit": 4, **more})
        rows += page.json()["rows"]
        cursor = page.json()["next_cursor"]
        if cursor is None:
            break
        assert 'rel="next"' in page.headers["Link"]

    assert rows == whole["rows"]


def test_an_answer_that_the_client_has_is_not_sent_again(served: Served) -> None:
    first = served.get("/v1/costs", params=WINDOW)

    again = served.get("/v1/costs", params=WINDOW, headers={"If-None-Match": first.headers["ETag"]})
    other = served.get("/v1/costs", params=WINDOW, headers={"If-None-Match": '"another"'})

    assert (again.status_code, again.content) == (304, b"")
    assert other.content == first.content


def test_a_charge_found_in_the_costs_is_explained(served: Served) -> None:
    asked = {**WINDOW, "group_by": "charge,team,kind", "limit": 5}

    for row in served.get("/v1/costs", params=asked).json()["rows"]:
        explained = served.get(f"/v1/charges/{row['charge']}/explanation")
        assert explained.status_code == 200
        assert explained.json()["team"] == row["team"]
        assert f"{Decimal(row['total_cost']):.9f} USD" in json.dumps(explained.json())


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/v1/costs", 422),
        ("/v1/costs?start=0001-01-01T00:00:00Z&end=0001-01-02T00:00:00Z", 422),
        ("/v1/costs?start=2197-01-01T00:00:00Z&end=2197-01-02T00:00:00Z", 422),
        ("/v1/costs?start=2025-11-03T10:30:00Z&end=2025-11-03T11:00:00Z", 422),
        ("/v1/costs?start=2025-11-03T11:00:00Z&end=2025-11-03T10:00:00Z", 422),
        ("/v1/costs?start=2001-01-01T00:00:00Z&end=2025-01-02T00:00:00Z", 422),
        ("/v1/charges/00000000000000aa/explanation", 404),
        ("/v1/charges/the-big-one/explanation", 422),
        ("/v1/nothing", 404),
    ],
)
def test_what_cannot_be_answered_is_a_problem_document(
    served: Served, path: str, status: int
) -> None:
    answer = served.get(path)

    assert answer.status_code == status
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert answer.json()["status"] == status
    assert answer.json()["detail"]


def test_only_a_key_in_force_is_let_in(served: Served) -> None:
    made = served.here.run("keys", "create", "--name", "short", "--team", "search").done()
    short = made.out.strip()

    assert requests.get(f"{served.url}/v1/costs", params=WINDOW, timeout=30).status_code == 401
    assert served.get("/v1/costs", key="glk_" + "x" * 43, params=WINDOW).status_code == 401
    rows = served.get("/v1/costs", key=short, params=WINDOW).json()["rows"]
    assert [row["team"] for row in rows] == ["search"]
    other = {**WINDOW, "filter": "team=ml"}
    assert served.get("/v1/costs", key=short, params=other).status_code == 403
    served.here.run("keys", "revoke", "short").done()
    assert served.get("/v1/costs", key=short, params=WINDOW).status_code == 401


@pytest.mark.parametrize(
    "until", ["9999-12-31T23:59:59-05:00", "0001-01-01T00:00:00+05:00", "9999-12-31T00:00:00Z"]
)
def test_a_snooze_until_the_end_of_time_is_refused(served: Served, until: str) -> None:
    writer = served.here.run("keys", "create", "--name", f"w{until}", "--scope", "write").done()
    (finding, *_) = served.get("/v1/findings").json()["rows"]

    answer = requests.post(
        f"{served.url}/v1/findings/{finding['id']}/snooze",
        json={"until": until},
        headers={"Authorization": f"Bearer {writer.out.strip()}", "Idempotency-Key": until},
        timeout=30,
    )

    assert answer.status_code == 422
    assert "years 1970 to 9998" in answer.json()["detail"]


def test_a_port_that_is_taken_is_named(served: Served) -> None:
    port = served.url.rpartition(":")[2]

    served.here.run("serve", "--port", port).refused(
        f"Nothing can listen on 127.0.0.1, port {port}", "Choose another"
    )
    served.here.run("serve", "--host", "no.such.host.invalid").refused("Nothing can listen on")
    demo = served.here.run("demo", "--port", port, GPULEDGER_DATA_DIR="demo")
    demo.refused("Nothing can listen on")
    assert not (served.here.folder / "demo").exists()
