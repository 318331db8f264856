"""The fixture of Prometheus serves exactly the history that it was given."""

import json
import urllib.parse
import urllib.request
from pathlib import Path

from tests.real.fixtures import PrometheusStarter
from tests.real.prometheus import running_prometheus

HISTORY = """# TYPE gpu_active gauge
gpu_active{UUID="GPU-1"} 0.5 1790000000
gpu_active{UUID="GPU-1"} 0.75 1790000030
# EOF
"""


def asked(url: str, query: str, at_seconds: int) -> list[dict[str, object]]:
    parameters = urllib.parse.urlencode({"query": query, "time": at_seconds})
    with urllib.request.urlopen(f"{url}/api/v1/query?{parameters}", timeout=10) as answer:
        return list(json.load(answer)["data"]["result"])


def test_a_backfilled_file_is_answered_sample_by_sample(
    prometheus_server: PrometheusStarter, tmp_path: Path
) -> None:
    history = tmp_path / "history.om"
    history.write_text(HISTORY, encoding="utf-8")

    server = prometheus_server(history)

    (series,) = asked(server.url, "gpu_active[2m]", 1_790_000_060)
    assert series["values"] == [[1_790_000_000, "0.5"], [1_790_000_030, "0.75"]]


def test_two_servers_of_one_test_do_not_share_their_history(
    prometheus_server: PrometheusStarter, tmp_path: Path
) -> None:
    history = tmp_path / "history.om"
    history.write_text(HISTORY, encoding="utf-8")

    full, empty = prometheus_server(history), prometheus_server()

    assert len(asked(full.url, "gpu_active", 1_790_000_031)) == 1
    assert asked(empty.url, "gpu_active", 1_790_000_031) == []


def test_the_process_is_gone_when_the_block_ends(tmp_path: Path) -> None:
    with running_prometheus(tmp_path / "data") as server:
        assert Path(f"/proc/{server.pid}").exists()

    assert not Path(f"/proc/{server.pid}").exists()
