"""How a placed pod goes on: containers, start, restarts of its process, end."""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from app.simulator.dice import dice
from app.simulator.hardware import Node
from app.simulator.pods import Container, Outcome, Profile, Run
from app.simulator.population import Wish
from app.simulator.scrapes import scrape_attempts
from app.simulator.spec import HOUR_MS, MINUTE_MS, OPEN_MS, SECOND_MS, FleetSpec

_DAY_MS = 24 * HOUR_MS
_SUCCEEDED_SHARE, _FAILED_SHARE = 0.80, 0.06
# A restart leaves a life of at least this length on both sides of it.
_LEAST_LIFE_MS = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Ending:
    """The instants after scheduling; OPEN_MS where they never come."""

    started_ms: int = OPEN_MS
    delete_requested_ms: int = OPEN_MS
    finished_ms: int = OPEN_MS
    removed_ms: int = OPEN_MS
    outcome: Outcome = Outcome.RUNNING


def containers_of(wish: Wish) -> tuple[Container, ...]:
    """Return the containers; their effective GPU request is always the wish's."""
    if wish.service is None:
        return (Container(name="main", kind="app", image="trainer:2", gpus=wish.gpus),)
    engine = Container(name="vllm", kind="app", image="vllm/vllm-openai:v0.20.0", gpus=wish.gpus)
    proxy = Container(name="proxy", kind="sidecar", image="envoy:1.31", gpus=0)
    if not wish.service.gpu_init:
        return (engine, proxy)
    # The download checks the weights on one device; a pod holds the larger of both requests.
    fetch = Container(name="fetch", kind="init", image="fetch:1", gpus=min(1, wish.gpus))
    return (fetch, engine, proxy)


def ending_of(draw: np.random.Generator, wish: Wish, scheduled: int, node: Node) -> Ending:
    """Return start and end; a drain of the node ends what still runs there."""
    wanted = scheduled + wish.holds_ms if wish.holds_ms < OPEN_MS else OPEN_MS
    started = scheduled + _start_delay(draw, wish)
    if wanted > node.drain_ms:
        finished = max(node.drain_ms, scheduled) + int(draw.integers(2, 28)) * SECOND_MS
        return Ending(
            started_ms=min(started, finished),
            delete_requested_ms=node.drain_ms,
            finished_ms=finished,
            removed_ms=finished + int(draw.integers(0, 3)) * SECOND_MS,
            outcome=Outcome.DELETED,
        )
    if wanted >= OPEN_MS:
        return Ending(started_ms=started)
    return _planned_ending(draw, wish, min(started, wanted), scheduled, wanted, node)


def _start_delay(draw: np.random.Generator, wish: Wish) -> int:
    if wish.profile is Profile.SERVING:
        return int(draw.integers(3, 25)) * SECOND_MS
    if wish.holds_ms < MINUTE_MS:
        return SECOND_MS
    return int(draw.integers(1, 20)) * SECOND_MS


def _planned_ending(
    draw: np.random.Generator,
    wish: Wish,
    started: int,
    scheduled: int,
    finished: int,
    node: Node,
) -> Ending:
    chance = draw.random()
    if wish.profile is not Profile.TRAINING or chance >= _SUCCEEDED_SHARE + _FAILED_SHARE:
        asked = finished - int(draw.integers(1, 20)) * SECOND_MS
        return Ending(
            started_ms=started,
            delete_requested_ms=max(asked, scheduled),
            finished_ms=finished,
            removed_ms=finished + int(draw.integers(0, 3)) * SECOND_MS,
            outcome=Outcome.DELETED,
        )
    short = wish.holds_ms < MINUTE_MS
    stays = int(draw.integers(1, 20) if short else draw.integers(5, 900)) * SECOND_MS
    return Ending(
        started_ms=started,
        finished_ms=finished,
        # With its node a finished pod's object goes, too.
        removed_ms=max(finished, min(finished + stays, node.deleted_ms)),
        outcome=Outcome.SUCCEEDED if chance < _SUCCEEDED_SHARE else Outcome.FAILED,
    )


def runs_of(spec: FleetSpec, wish: Wish, pod_uid: str, ending: Ending) -> tuple[Run, ...]:
    """Return the lives of the pod's process, each strictly after the one before."""
    start, end = ending.started_ms, ending.finished_ms
    if start >= end:
        return ()
    if wish.profile is not Profile.SERVING:
        return (Run(start_ms=start, serving_ms=start, end_ms=end),)
    draw = dice(spec.seed, "runs", wish.key)
    serving = start + int(draw.integers(12_000, 75_000))
    edges = [(OPEN_MS, start + int(draw.integers(0, 900)), serving)]
    for stop, again, ready in sorted(_restarts(spec, draw, pod_uid, ending)):
        if stop >= edges[-1][2] + _LEAST_LIFE_MS and ready + _LEAST_LIFE_MS < end:
            edges.append((stop, again, ready))
    stops = [later[0] for _, later in pairwise(edges)] + [end]
    return tuple(
        Run(start_ms=edge[1], serving_ms=min(edge[2], stop), end_ms=stop)
        for edge, stop in zip(edges, stops, strict=True)
    )


def _restarts(
    spec: FleetSpec, draw: np.random.Generator, pod_uid: str, ending: Ending
) -> list[tuple[int, int, int]]:
    """Return (stop, start, serving) of each restart, at instants that hurt a counter's reader.

    Besides arbitrary ones: a fresh process just before a scrape, a stop just after one, and both
    around one scrape, so that the next scrape shows more than the one before in spite of the reset.
    """
    low = max(ending.started_ms, spec.opens_ms) + 2 * MINUTE_MS
    high = min(ending.finished_ms, spec.closes_ms) - MINUTE_MS
    if low >= high:
        return []
    count = int(draw.poisson(spec.restarts_per_replica_day * (high - low) / _DAY_MS))
    scrapes = scrape_attempts(spec, pod_uid)
    scrapes = scrapes[(scrapes > low) & (scrapes < high)]
    restarts = []
    for form in draw.permutation(count) % 4 if len(scrapes) else []:
        scrape = int(scrapes[int(draw.integers(0, len(scrapes)))])
        nearby = int(draw.integers(1, 20))
        early = nearby if form == 1 else int(draw.integers(3_000, 12_000))
        before = (scrape - early - 1_100, scrape - early - 800, scrape - early)
        after = (scrape + nearby, scrape + nearby + 300, scrape + nearby + 900)
        if form == 0:
            stop = int(draw.integers(low, high))
            start = stop + int(draw.integers(500, 12_000))
            restarts.append((stop, start, start + int(draw.integers(1_000, 45_000))))
        if form in (1, 3):
            restarts.append(before)
        if form in (2, 3):
            restarts.append(after)
    return restarts
