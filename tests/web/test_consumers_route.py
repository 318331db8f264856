"""GET /v1/consumers: tokens, money and the ratio by day, service and consumer."""

from dataclasses import replace

import pandas as pd

from app.web.reading import Consumers, ConsumersQuestion
from tests.web.clients import SPAN, a_client
from tests.web.fake_ledger import SEARCH_KEY, FakeLedger


def test_each_consumer_of_a_day_has_a_row() -> None:
    body = a_client().get(f"/v1/consumers?{SPAN}").json()

    nobody, search = body["rows"]
    assert (nobody["consumer"], nobody["gateway_to_engine_ratio"]) == ("no identity", None)
    assert search["consumer"] == "search-web"
    assert search["generation_tokens"] == 400
    assert search["weighted_tokens"] == "1655"
    assert search["gateway_to_engine_ratio"] == "0.8000"
    assert search["reassigned_cost"] == "3.00"
    assert body["columns"][:3] == ["day", "cluster", "namespace"]


def test_a_team_key_sees_its_own_consumers_only() -> None:
    body = a_client(key=SEARCH_KEY).get(f"/v1/consumers?{SPAN}").json()

    assert [row["consumer"] for row in body["rows"]] == ["search-web"]


def test_rows_can_be_filtered_and_paged_and_are_offered_as_csv() -> None:
    client = a_client()

    filtered = client.get(f"/v1/consumers?{SPAN}&filter=team=ml").json()
    page = client.get(f"/v1/consumers?{SPAN}&limit=1").json()
    csv = client.get(f"/v1/consumers?{SPAN}", headers={"Accept": "text/csv"})

    assert [row["team"] for row in filtered["rows"]] == ["ml"]
    assert len(page["rows"]) == 1
    assert page["next_cursor"]
    assert csv.text.splitlines()[0].startswith("day,cluster,namespace,service,gateway,consumer")


def test_what_does_not_exist_is_refused() -> None:
    client = a_client()

    assert client.get(f"/v1/consumers?{SPAN}&filter=node=gpu-1").status_code == 422
    assert client.get(f"/v1/consumers?{SPAN}&group_by=team").status_code == 422


class _Alike(FakeLedger):
    """Consumers that are called alike, by long names."""

    def consumers(self, question: ConsumersQuestion) -> Consumers:
        told = super().consumers(question)
        rows = pd.concat([told.rows.assign(consumer="鍵" * 1_001)] * 3, ignore_index=True)
        return replace(told, rows=rows.assign(team="ml"))


def test_pages_lose_no_row_of_consumers_that_are_called_alike() -> None:
    client = a_client(_Alike())
    cursor, seen = "", 0
    for _ in range(6):
        page = client.get(f"/v1/consumers?{SPAN}&limit=1{cursor}")
        assert page.status_code == 200
        seen += len(page.json()["rows"])
        cursor = f"&cursor={page.json()['next_cursor']}"

    assert (seen, cursor) == (6, "&cursor=None")
