import csv
import io

import pytest

from app.units.identity import id_text
from app.web.routes.prices import LARGEST_FILE_BYTES
from tests.web.clients import a_client
from tests.web.fake_ledger import READ_KEY, SEARCH_KEY, WRITE_KEY, a_ledger
from tests.web.fake_prices import CARD, CORRECTED, OLD, OTHER

FILE = "header\nfirst\nsecond\n"
CSV = {"Content-Type": "text/csv"}
ONCE = {**CSV, "Idempotency-Key": "one"}


def test_prices_are_listed_with_their_identity_and_plain_decimals() -> None:
    answer = a_client().get("/v1/prices")

    assert answer.status_code == 200
    first, second = answer.json()["rows"]
    assert (first["price_id"], first["price"], first["list_price"]) == (
        id_text(CORRECTED.price_id),
        "2.50",
        "4",
    )
    assert first["valid_from"] == "1970-01-01T00:00:00Z"
    assert (first["valid_to"], second["list_price"]) == ("", None)
    assert second["price_id"] == id_text(OTHER.price_id)


def test_every_version_and_the_card_can_be_read() -> None:
    client = a_client()

    old = client.get("/v1/prices?version=1").json()["rows"]
    card = client.get("/v1/prices?book=rate_card").json()["rows"]

    assert id_text(OLD.price_id) in [row["price_id"] for row in old]
    assert [row["price_id"] for row in card] == [id_text(CARD.price_id)]
    missing = client.get("/v1/prices?version=9")
    assert (missing.status_code, missing.headers["content-type"]) == (
        404,
        "application/problem+json",
    )


def test_filters_choose_rows_and_pages_follow_each_other() -> None:
    client = a_client()

    only = client.get("/v1/prices?filter=provider=gcp").json()["rows"]
    first = client.get("/v1/prices?limit=1")
    second = client.get(first.headers["link"].split(">")[0].lstrip("<"))

    assert [row["gpu_model"] for row in only] == ["T4"]
    assert [one.json()["rows"][0]["gpu_model"] for one in (first, second)] == ["H100", "T4"]
    assert second.json()["next_cursor"] is None
    assert client.get("/v1/prices?filter=price=3").status_code == 422


def test_prices_are_a_file_that_can_be_imported() -> None:
    answer = a_client().get("/v1/prices", headers={"Accept": "text/csv"})

    rows = list(csv.DictReader(io.StringIO(answer.text)))
    assert [(row["gpu_model"], row["price"], row["list_price"]) for row in rows] == [
        ("H100", "2.50", "4"),
        ("T4", "0.35", ""),
    ]
    again = {"Accept": "text/csv", "If-None-Match": answer.headers["etag"]}
    assert a_client().get("/v1/prices", headers=again).status_code == 304


def test_versions_say_who_corrected_what_and_why() -> None:
    rows = a_client().get("/v1/prices/versions").json()["rows"]

    assert [(row["version"], row["reason"], row["author"]) for row in rows] == [
        (1, "", "ada"),
        (2, "mistyped", "ada"),
    ]
    assert rows[0]["imported_at"] == "2026-11-23T10:00:00Z"


def test_an_import_says_the_money_it_moves() -> None:
    ledger = a_ledger()
    client = a_client(ledger, key=WRITE_KEY)

    answer = client.post("/v1/prices?kind=terms&reason=mistyped", content=FILE, headers=ONCE)

    assert answer.status_code == 200
    body = answer.json()
    assert (body["version"], body["added"], body["hours"], body["closed_hours"]) == (3, 2, 4, 2)
    assert body["moved"] == [
        {"team": "search", "before": "3.00", "after": "2.50", "moved": "-0.50"}
    ]
    assert (body["dry_run"], body["currency"], body["warnings"]) == (False, "USD", ["a gap"])
    assert ledger.taken is not None
    asked = ledger.taken["one"]
    assert (asked.kind, asked.text, asked.reason) == ("terms", FILE, "mistyped")
    assert asked.author == "writer"


def test_a_dry_run_is_asked_for_in_the_address() -> None:
    client = a_client(key=WRITE_KEY)

    answer = client.post("/v1/prices?dry_run=true", content=FILE, headers=ONCE)

    assert answer.json()["dry_run"] is True


@pytest.mark.parametrize(
    ("key", "headers", "content", "status"),
    [
        (WRITE_KEY, CSV, b"x", 400),
        (READ_KEY, ONCE, b"x", 403),
        (SEARCH_KEY, ONCE, b"x", 403),
        (WRITE_KEY, ONCE, b"a\n\xff", 422),
        (WRITE_KEY, ONCE, b"x" * (LARGEST_FILE_BYTES + 1), 413),
    ],
    ids=["no key of the request", "a reader", "a team", "no UTF-8", "too large"],
)
def test_an_import_is_refused(
    key: str, headers: dict[str, str], content: bytes, status: int
) -> None:
    answer = a_client(key=key).post("/v1/prices", content=content, headers=headers)

    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"


def test_a_file_of_the_largest_size_is_taken() -> None:
    client = a_client(key=WRITE_KEY)

    answer = client.post("/v1/prices", content=b"x" * LARGEST_FILE_BYTES, headers=ONCE)

    assert answer.status_code == 200


def test_a_key_of_a_request_is_for_one_request() -> None:
    client = a_client(a_ledger(), key=WRITE_KEY)
    client.post("/v1/prices", content=FILE, headers=ONCE)

    assert client.post("/v1/prices", content=FILE, headers=ONCE).status_code == 200
    assert client.post("/v1/prices", content="other", headers=ONCE).status_code == 422
