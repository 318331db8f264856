"""The real parts as fixtures: Prometheus and Slack, each on a free port of the loopback."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.real.prometheus import RunningPrometheus, backfill, running_prometheus
from tests.real.slack import SlackServer, running_slack

PrometheusStarter = Callable[..., RunningPrometheus]


@pytest.fixture
def prometheus_server(tmp_path: Path) -> Iterator[PrometheusStarter]:
    """Give a function that serves an OpenMetrics file: ``prometheus_server(path).url``.

    It may be called more than once and takes the keywords of `running_prometheus`. For a server
    that many tests share, use `running_prometheus` in a fixture of a wider scope.
    """
    with ExitStack() as servers:
        count = 0

        def start(openmetrics: Path | None = None, **options: object) -> RunningPrometheus:
            nonlocal count
            count += 1
            data = tmp_path / f"prometheus-{count}"
            if openmetrics is not None:
                backfill(openmetrics, data)
            return servers.enter_context(running_prometheus(data, **options))  # type: ignore[arg-type]  # passed on as given

        yield start


@pytest.fixture
def slack_server() -> Iterator[SlackServer]:
    """Give a loopback Slack that answers as the real one documents."""
    with running_slack() as slack:
        yield slack
