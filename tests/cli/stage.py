"""A small simulated cluster behind the commands: its servers, its configuration, its files."""

from collections.abc import Iterator
from contextlib import contextmanager

from app.simulator.exposition import Exposition, Transform
from app.simulator.fleet import Fleet
from app.simulator.prometheus_api import SimulatedPrometheus
from app.simulator.spec import HOUR_MS, FleetSpec
from tests.cli.commands import CommandLine

# 2025-11-03T10:00:00Z: any past hour, since only what has ended can be collected.
TEN_MS = 1_762_164_000_000
START, END = "2025-11-03T10:00Z", "2025-11-03T11:00Z"
SPAN = ("--start", START, "--end", END)
LONG_AGO = ("--start", "2025-11-03T00:00Z", "--end", "2025-11-04T00:00Z")

PRICES = """\
cluster,provider,region,instance_type,gpu_model,capacity_type,node,unit,price,currency,valid_from,valid_to,source
,,,,,,,gpu_hour,3.00,USD,2025-01-01,,round figures
"""
CONTRACT = """\
teams:
  - { name: search, cost_center: CC-1, namespaces: ["search-*"] }
  - { name: ml, cost_center: CC-2, namespaces: ["ml-*"] }
  - { name: ads, cost_center: CC-3, namespaces: ["ads-*"] }
platform: { team: platform, namespaces: [gpu-operator, monitoring] }
"""


def a_fleet(**options: object) -> Fleet:
    """Return two or three nodes of four GPUs over one hour, without outages."""
    given: dict[str, object] = {
        "nodes": 3,
        "gpus_per_node": 4,
        "services": 2,
        "replicas": 1,
        "requests_per_second": 0.3,
        "restarts_per_replica_day": 0.0,
        "rollouts": 0,
        "trainings": 1,
        "jobs_per_gpu_hour": 1.0,
        "unhealthy_devices": 0,
        "util_only": False,
        "node_joins": 0,
        "node_leaves": 0,
        "outages": (),
    }
    return Fleet.build(FleetSpec(seed=5, start_ms=TEN_MS, hours=1, **{**given, **options}))


@contextmanager
def prometheus_of(
    fleet: Fleet, transform: Transform | None = None
) -> Iterator[SimulatedPrometheus]:
    """Serve what the fleet exposes, spoiled by ``transform`` on its way."""
    exposition = Exposition(fleet, transform=transform)
    with SimulatedPrometheus(fleet, lambda: TEN_MS + 2 * HOUR_MS, exposition=exposition) as served:
        yield served


def configuration(*clusters: str, **top: str) -> str:
    """Return a configuration file of cluster blocks."""
    lines = [f'{name} = "{value}"' for name, value in top.items()]
    return "\n".join([*lines, *clusters]) + "\n"


def cluster(name: str, prometheus: str, kubernetes: str = '{ mode = "off" }') -> str:
    """Return the block of one cluster; by default kube-state-metrics is its only inventory."""
    return (
        f'[[clusters]]\nname = "{name}"\n'
        f'prometheus = {{ url = "{prometheus}", timeout_seconds = 5 }}\n'
        f"kubernetes = {kubernetes}\n"
    )


def everything(here: CommandLine) -> tuple[str, ...]:
    """Return all that a user can read of the ledger, to see whether something changed it."""
    grouped = "hour,cluster,node,gpu_model,team,cost_center,namespace,workload,pod,kind,charge"
    asked = (
        ("costs", *LONG_AGO, "--group-by", grouped, "--format", "csv"),
        ("inference", *LONG_AGO, "--group-by", "hour,cluster,service,model", "--format", "csv"),
        ("prices", "list", "--format", "csv"),
        ("findings", "list", "--all", "--format", "csv"),
        ("keys", "list", "--format", "csv"),
    )
    return tuple(here.run(*command).done().out for command in asked)
