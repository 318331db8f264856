"""Small simulated fleets that tests share: a few nodes, some minutes, many events."""

from app.simulator.fleet import Fleet
from app.simulator.spec import FleetSpec

# 2026-11-23T00:00:00Z, a Monday.
MONDAY_MS = 1_795_392_000_000
MINUTE_MS = 60_000


def small_spec(*, seed: int = 3, minutes: int = 20) -> FleetSpec:
    """Return three nodes of four GPUs, with restarts every few minutes."""
    return FleetSpec(
        seed=seed,
        start_ms=MONDAY_MS,
        hours=0,
        minutes=minutes,
        nodes=3,
        gpus_per_node=4,
        services=3,
        replicas=1,
        requests_per_second=2.0,
        restarts_per_replica_day=400.0,
        rollouts=1,
        trainings=0,
        jobs_per_gpu_hour=6.0,
        short_job_share=0.8,
        target_outages=2,
    )


def small_fleet(*, seed: int = 3, minutes: int = 20) -> Fleet:
    return Fleet.build(small_spec(seed=seed, minutes=minutes))


def day_fleet(*, seed: int = 7) -> Fleet:
    """Return the default fleet of twelve nodes over one day."""
    return Fleet.build(FleetSpec(seed=seed, start_ms=MONDAY_MS, hours=24))
