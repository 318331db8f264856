"""A ledger that stands, for tests of commands that must not change it, or that read it."""

from collections.abc import Iterator

import pytest
from sqlalchemy.engine import URL

from tests.cli.commands import CommandLine, shell
from tests.cli.stage import CONTRACT, END, PRICES, SPAN, a_fleet, cluster, configuration
from tests.cli.stage import prometheus_of as served

# Thresholds that make findings of the one hour that the ledger has.
_WASTE = "[waste]\nevidence_hours = 1\nidle_minimum_held_hours = 0.5\nunallocated_ratio = 0.01\n"


@pytest.fixture(scope="module")
def standing(
    module_database_url: URL, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[CommandLine]:
    """One hour of the cluster `small`: collected, priced, owned, rated, looked through."""
    here = shell(tmp_path_factory.mktemp("standing"), module_database_url)
    here.file("prices.csv", PRICES)
    here.file("teams.yaml", CONTRACT)
    with served(a_fleet()) as prometheus:
        here.file("gpuledger.toml", configuration(cluster("small", prometheus.url), _WASTE))
        for command in (
            ("collect", *SPAN),
            ("rate", *SPAN),
            ("prices", "import", "prices.csv"),
            ("contract", "apply", "teams.yaml"),
            ("detect", "--at", END),
            ("keys", "create", "--name", "finance"),
        ):
            here.run(*command).done()
        yield here


@pytest.fixture
def empty(database_url: URL, tmp_path_factory: pytest.TempPathFactory) -> CommandLine:
    """A shell in a folder of its own, on an upgraded database without rows."""
    return shell(tmp_path_factory.mktemp("empty"), database_url)
