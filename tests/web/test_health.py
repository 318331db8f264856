"""Whether the service lives and can answer."""

from tests.web.clients import a_client


def test_a_process_that_answers_is_alive_without_a_key() -> None:
    answer = a_client(key=None, ready=False).get("/healthz")

    assert answer.status_code == 200
    assert answer.json() == {"status": "ok"}


def test_it_is_ready_when_every_check_is() -> None:
    answer = a_client(key=None).get("/readyz")

    assert answer.status_code == 200
    assert answer.json() == {
        "ready": True,
        "checks": [{"name": "database", "ok": True, "detail": ""}],
    }


def test_it_is_not_ready_and_says_why() -> None:
    answer = a_client(key=None, ready=False).get("/readyz")

    assert answer.status_code == 503
    assert answer.json()["ready"] is False
    assert answer.json()["checks"][0]["detail"] == "no connection"


def test_metrics_are_prometheus_text() -> None:
    answer = a_client(key=None).get("/metrics")

    assert answer.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    assert "gpuledger_up 1" in answer.text
