"""A simulated day whose watcher and collector are killed at instants that a test names."""

import random
import time
from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from sqlalchemy.engine import URL

from app.simulator.fleet import Fleet
from app.simulator.kubernetes_api import SimulatedKubernetes
from app.simulator.kubernetes_events import Event, Resource
from app.simulator.pods import Pod
from app.simulator.prometheus_api import SimulatedPrometheus
from app.simulator.spec import HOUR_MS, MINUTE_MS
from tests.workflows.killable import Board, follow, gather
from tests.workflows.nursery import Nursery

# Virtual time between two looks, and between the last look and a death: a watch whose streams are
# open learns at each look how far it is.
_STEP_MS = 1_200_000
_LAST_STEP_MS = 120_000
# An hour is collected once the watch has surely passed its end, or has surely missed it.
_SETTLE_MS = 20 * MINUTE_MS
_LIMIT_SECONDS = 30.0
_PACE_TURNS = 50


@dataclass(frozen=True, slots=True)
class Death:
    """The watcher dies at ``at_ms`` and its successor lists at ``back_ms``."""

    at_ms: int
    back_ms: int


class CountedKubernetes(SimulatedKubernetes):
    """Counts how often it was asked for a stream: a stream's bookmarks begin where it does."""

    watches = 0

    def answer(self, path: str, form: dict[str, str], authorization: str) -> object:
        answer = super().answer(path, form, authorization)
        self.watches += "watch" in form
        return answer


class Day:
    """Runs a fleet's life past a watcher and a collector in processes of their own."""

    def __init__(
        self, fleet: Fleet, nursery: Nursery, database: URL, folder: Path, *, name: str
    ) -> None:
        self.fleet = fleet
        self._nursery = nursery
        self._board_path = folder / f"{name}.board"
        self.board = Board(self._board_path)
        self.board.write("clock_ms", fleet.spec.opens_ms)
        self.kubernetes = CountedKubernetes(fleet, self.board.clock)
        self.prometheus = SimulatedPrometheus(fleet, lambda: fleet.spec.closes_ms)
        self._database = database.render_as_string(hide_password=False)
        self._listed = 0
        self._watcher = 0
        self._dice = random.Random(name)
        self.cut_short = 0

    def run(self, deaths: Sequence[Death]) -> None:
        """Live through the day; then collect all hours in peace."""
        spec = self.fleet.spec
        with self.kubernetes, self.prometheus:
            self._begin()
            for death in deaths:
                self._live_until(death.at_ms)
                self._die(death.at_ms)
                self.board.write("clock_ms", death.back_ms)
                self._begin()
            self._live_until(spec.closes_ms)
            self._nursery.kill(self._watcher)
            hours = [*range(spec.start_ms, spec.end_ms, HOUR_MS)]
            child = self._nursery.start(gather, **self._arguments(), hours=hours)
            assert self._nursery.wait(child) == 0

    def _arguments(self) -> dict[str, str]:
        return {
            "database": self._database,
            "prometheus": self.prometheus.url,
            "kubernetes": self.kubernetes.url,
            "board": str(self._board_path),
        }

    def _begin(self) -> None:
        for name in ("until_ms", "events", "lists"):
            self.board.write(name, 0)
        watches = self.kubernetes.watches
        self._listed = self.kubernetes.history.version_at(self.board.clock())
        self._watcher = self._nursery.start(follow, **self._arguments())
        self._wait(lambda: self.kubernetes.watches >= watches + 2, "the streams of a new watch")

    def _live_until(self, at_ms: int) -> None:
        """Move the clock, and stop at every change of a node until the watch has it.

        A node does not tell when it changed: the watch takes the instant at which it learns of it.
        At the last instant nobody waits: what is on its way then may be lost.
        """
        due = [one for one in self.kubernetes.history.events if one.version > self._listed]
        turns = [one.at_ms for one in due if one.resource is Resource.NODES]
        counted = [one.at_ms for one in due if _is_counted(one)]
        while (now_ms := self.board.clock()) < at_ms:
            wanted = bisect_right(counted, now_ms)
            self._wait(partial(self._has, wanted), "the watch having what was sent")
            self._pace(now_ms)
            later = (turn for turn in turns if turn > now_ms)
            goal_ms = at_ms if now_ms >= at_ms - _LAST_STEP_MS else at_ms - _LAST_STEP_MS
            self.board.write("clock_ms", min(now_ms + _STEP_MS, goal_ms, *later))

    def _has(self, events: int) -> bool:
        return self.board.read("events") >= events

    def _pace(self, now_ms: int) -> None:
        """Give the watch a moment to learn how far it is: a quiet hour would pass in no time."""
        for _ in range(_PACE_TURNS):
            if self.board.read("until_ms") >= now_ms - _LAST_STEP_MS:
                return
            time.sleep(0.002)

    def _die(self, at_ms: int) -> None:
        """Kill the watcher amid what was sent last, and a collector amid the hour settled last."""
        spec = self.fleet.spec
        last_ms = (min(at_ms - _SETTLE_MS, spec.end_ms) // HOUR_MS - 1) * HOUR_MS
        collector = 0
        if last_ms >= spec.start_ms:
            collector = self._nursery.start(gather, **self._arguments(), hours=[last_ms])
        time.sleep(self._dice.uniform(0.0, 0.04))
        self._nursery.kill(self._watcher)
        if collector:
            time.sleep(self._dice.uniform(0.0, 0.4))
            self.cut_short += self._nursery.kill(collector)

    def _wait(self, done: Callable[[], bool], what: str) -> None:
        deadline = time.monotonic() + _LIMIT_SECONDS
        while not done():
            assert time.monotonic() < deadline, f"{what}: not within {_LIMIT_SECONDS:g} s"
            time.sleep(0.002)


def _is_counted(event: Event) -> bool:
    """Say whether a watch takes notice: pods without devices are left out by their source."""
    subject = event.subject
    return not isinstance(subject, Pod) or any(one.gpus for one in subject.containers)


def random_deaths(fleet: Fleet, *, seed: int, count: int) -> tuple[Death, ...]:
    """Return deaths at random instants of the day, each over before the next."""
    dice = random.Random(seed)
    spec = fleet.spec
    instants = sorted(dice.sample(range(spec.start_ms, spec.end_ms, 1_000), count))
    limits = [*instants[1:], spec.end_ms]
    return tuple(
        Death(at_ms, min(at_ms + dice.randrange(5_000, 360_000), limit - 1))
        for at_ms, limit in zip(instants, limits, strict=True)
    )
