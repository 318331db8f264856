"""Watch streams as one queue of what was seen and how far it reaches."""

import logging
import threading
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import Enum
from queue import Empty, Full, Queue
from typing import Protocol

from app.sources.kubernetes import KubernetesError, KubernetesForbidden, WatchEvent, WatchExpired

log = logging.getLogger(__name__)

# Pause before a broken stream is opened again; it doubles up to the limit.
_FIRST_PAUSE_SECONDS = 0.5
_LONGEST_PAUSE_SECONDS = 30.0
# So many events unread block the streams, which the API server takes for a slow client.
_QUEUE_LENGTH = 10_000
# How often a stream asks where it should be: the watch's reach trails the present by this and by
# the time between two of the server's bookmarks, which is a minute.
_SOUNDING_MS = 15_000


class Stream(Enum):
    """Which collection a stream follows."""

    NODES = "nodes"
    PODS = "pods"
    CLAIMS = "claims"
    SLICES = "slices"


class WatchSource(Protocol):
    """The part of the Kubernetes source that a watch needs."""

    def watch_nodes(self, resource_version: str) -> Iterator[WatchEvent]:
        """Yield changes of nodes after ``resource_version`` until the server ends the stream."""
        ...

    def watch_pods(self, resource_version: str) -> Iterator[WatchEvent]:
        """Yield changes of pods after ``resource_version`` until the server ends the stream."""
        ...

    def version_of_nodes(self) -> str:
        """Return the version that a list of nodes would have at this moment."""
        ...

    def version_of_pods(self) -> str:
        """Return the version that a list of pods would have at this moment."""
        ...


class ClaimWatchSource(Protocol):
    """The part of the source of claims that a watch needs; each method as in `WatchSource`."""

    def watch_claims(self, resource_version: str) -> Iterator[WatchEvent]:
        """Yield changes of claims."""
        ...

    def watch_slices(self, resource_version: str) -> Iterator[WatchEvent]:
        """Yield changes of slices."""
        ...

    def version_of_claims(self) -> str:
        """Return the version of a list of claims."""
        ...

    def version_of_slices(self) -> str:
        """Return the version of a list of slices."""
        ...


@dataclass(frozen=True, slots=True)
class Seen:
    """Something a stream said.

    ``at_ms`` is when it was received. ``known_ms`` says that with it the stream has said all that
    had happened until then, 0 where that is not known. ``late`` marks what may have waited before
    it was received: a deletion may then be as old as the last known instant. ``expired`` says that
    the stream cannot go on and everything has to be listed again.
    """

    stream: Stream
    at_ms: int
    event: WatchEvent | None = None
    known_ms: int = 0
    late: bool = False
    expired: bool = False


class Streams:
    """Follows each collection in a thread from the version of its list until it is closed.

    ``claims`` is needed where ``versions`` has claims and slices.
    """

    def __init__(
        self,
        source: WatchSource,
        clock: Callable[[], int],
        versions: dict[Stream, str],
        claims: ClaimWatchSource | None = None,
    ) -> None:
        self._source = source
        self._claims = claims
        self._clock = clock
        self._queue: Queue[Seen | Exception] = Queue(_QUEUE_LENGTH)
        self._stopped = threading.Event()
        for stream, version in versions.items():
            threading.Thread(
                target=self._run, args=(stream, version), name=f"watch-{stream.value}", daemon=True
            ).start()

    def close(self) -> None:
        """Let the threads end; they do so at the latest with their stream's time limit."""
        self._stopped.set()

    def take(self, *, at_most: int, wait_seconds: float) -> list[Seen]:
        """Return what was seen since the last call, in order per stream; [] if nothing came.

        Raises what a stream could not go on from.
        """
        taken: list[Seen] = []
        try:
            while len(taken) < at_most:
                item = self._queue.get(block=not taken, timeout=wait_seconds)
                if isinstance(item, Exception):
                    raise item
                taken.append(item)
        except Empty:
            pass
        return taken

    def _run(self, stream: Stream, version: str) -> None:
        """Follow a stream; hand what nobody foresaw to the thread that takes from the queue."""
        try:
            self._follow(stream, version)
        except Exception as error:  # noqa: BLE001 raised again by `take`
            self._put(error)

    def _follow(self, stream: Stream, version: str) -> None:
        pause = _FIRST_PAUSE_SECONDS
        reach = _Reach(self._version_of(stream), self._clock)
        while not self._stopped.is_set():
            try:
                reach.reopen()
                begun = version
                for event in self._open(stream, version):
                    version = event.resource_version or version
                    pause = _FIRST_PAUSE_SECONDS
                    at_ms = self._clock()
                    known_ms = reach.known_ms(version, at_ms)
                    said = Seen(stream, at_ms, event, known_ms=known_ms, late=reach.late)
                    crowded = self._queue.full()
                    if not self._put(said):
                        return
                    if crowded:
                        # What comes next has waited behind this one.
                        reach.lose()
                        reach.reopen()
                if version == begun:
                    # A server that ends streams at once must not be asked in a tight loop.
                    self._stopped.wait(_FIRST_PAUSE_SECONDS)
            except (WatchExpired, KubernetesForbidden):
                # What was allowed and no longer is will be found out by the next list.
                self._put(Seen(stream, self._clock(), expired=True))
                return
            except KubernetesError as error:
                log.warning("The stream of %s broke off: %s", stream.value, error)
                reach.lose()
                self._stopped.wait(pause)
                pause = min(pause * 2, _LONGEST_PAUSE_SECONDS)

    def _open(self, stream: Stream, version: str) -> Iterator[WatchEvent]:
        match stream:
            case Stream.NODES:
                return self._source.watch_nodes(version)
            case Stream.PODS:
                return self._source.watch_pods(version)
            case Stream.CLAIMS:
                return self._claims_source.watch_claims(version)
            case Stream.SLICES:
                return self._claims_source.watch_slices(version)

    def _version_of(self, stream: Stream) -> Callable[[], str]:
        match stream:
            case Stream.NODES:
                return self._source.version_of_nodes
            case Stream.PODS:
                return self._source.version_of_pods
            case Stream.CLAIMS:
                return self._claims_source.version_of_claims
            case Stream.SLICES:
                return self._claims_source.version_of_slices

    @property
    def _claims_source(self) -> ClaimWatchSource:
        assert self._claims is not None
        return self._claims

    def _put(self, item: Seen | Exception) -> bool:
        """Queue an item; False if nobody wants it any more."""
        while not self._stopped.is_set():
            try:
                self._queue.put(item, timeout=1.0)
            except Full:
                continue
            return True
        return False


class _Reach:
    """Until which instant a stream has said everything.

    When an event comes is no proof: behind it others may wait that are as old. So the API is asked
    now and then for its version (a sounding), and once the stream has come to that version, it has
    said everything that had happened when the API was asked.
    """

    def __init__(self, ask: Callable[[], str], clock: Callable[[], int]) -> None:
        self._ask = ask
        self._clock = clock
        self._soundings: deque[tuple[int, int]] = deque()
        self._asked_ms = 0
        self._lost = False
        self.late = False

    def lose(self) -> None:
        """Forget what was sounded: the stream broke off."""
        self._soundings.clear()
        self._lost = self.late = True

    def reopen(self) -> None:
        """Sound before a broken stream is opened again: up to there it catches up."""
        if self._lost:
            self._sound()
            self._lost = False

    def known_ms(self, version: str, at_ms: int) -> int:
        """Return until when everything is said by a stream at ``version``; 0 if not known."""
        if at_ms - self._asked_ms >= _SOUNDING_MS:
            try:
                self._sound()
            except KubernetesError as error:
                log.warning("The reach of a watch could not be sounded: %s", error)
        known_ms = 0
        while self._soundings and self._soundings[0][0] <= _number(version):
            known_ms = self._soundings.popleft()[1]
        self.late = self.late and not known_ms
        return known_ms

    def _sound(self) -> None:
        self._asked_ms = self._clock()
        version = _number(self._ask())
        if version:
            self._soundings.append((version, self._asked_ms))


def _number(version: str) -> int:
    """Return a resource version as Kubernetes compares them, as a number; 0 if it is none."""
    return int(version) if version.isdecimal() else 0
