"""Two watch streams, nodes and pods, as one queue of what was seen and when."""

import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import Enum
from queue import Empty, Full, Queue
from typing import Protocol

from app.sources.kubernetes import KubernetesError, WatchEvent, WatchExpired

# Pause before a broken stream is opened again; it doubles up to the limit.
_FIRST_PAUSE_SECONDS = 0.5
_LONGEST_PAUSE_SECONDS = 30.0
# So many events unread block the streams, which the API server takes for a slow client.
_QUEUE_LENGTH = 10_000


class Stream(Enum):
    """Which collection a stream follows."""

    NODES = "nodes"
    PODS = "pods"


class WatchSource(Protocol):
    """The part of the Kubernetes source that a watch needs."""

    def watch_nodes(self, resource_version: str) -> Iterator[WatchEvent]:
        """Yield changes of nodes after ``resource_version`` until the server ends the stream."""
        ...

    def watch_pods(self, resource_version: str) -> Iterator[WatchEvent]:
        """Yield changes of pods after ``resource_version`` until the server ends the stream."""
        ...


@dataclass(frozen=True, slots=True)
class Seen:
    """Something a stream said. ``event`` is None for a sign of life without a change.

    ``at_ms`` is when it was received. ``late`` marks what was received while the stream caught up
    after a break: a deletion may then be as old as the last sign of life before it. ``expired``
    says that the stream cannot go on and everything has to be listed again.
    """

    stream: Stream
    at_ms: int
    event: WatchEvent | None = None
    late: bool = False
    expired: bool = False


class Streams:
    """Follows nodes and pods in two threads from the versions of a list until it is closed."""

    def __init__(
        self,
        source: WatchSource,
        clock: Callable[[], int],
        versions: dict[Stream, str],
    ) -> None:
        self._source = source
        self._clock = clock
        self._queue: Queue[Seen] = Queue(_QUEUE_LENGTH)
        self._stopped = threading.Event()
        self.failure = ""
        for stream, version in versions.items():
            threading.Thread(
                target=self._follow,
                args=(stream, version),
                name=f"watch-{stream.value}",
                daemon=True,
            ).start()

    def close(self) -> None:
        """Let the threads end; they do so at the latest with their stream's time limit."""
        self._stopped.set()

    def take(self, *, at_most: int, wait_seconds: float) -> list[Seen]:
        """Return what was seen since the last call, in order per stream; [] if nothing came."""
        try:
            taken = [self._queue.get(timeout=wait_seconds)]
        except Empty:
            return []
        while len(taken) < at_most:
            try:
                taken.append(self._queue.get_nowait())
            except Empty:
                break
        return taken

    def _follow(self, stream: Stream, version: str) -> None:
        pause = _FIRST_PAUSE_SECONDS
        late = False
        while not self._stopped.is_set():
            try:
                for event in self._open(stream, version):
                    version = event.resource_version or version
                    late = late and not event.is_bookmark
                    self._put(Seen(stream, self._clock(), event, late=late))
                    pause = _FIRST_PAUSE_SECONDS
                    if self._stopped.is_set():
                        return
                self._put(Seen(stream, self._clock()))
                late = False
            except WatchExpired:
                self._put(Seen(stream, self._clock(), expired=True))
                return
            except KubernetesError as error:
                self.failure = str(error)
                late = True
                self._stopped.wait(pause)
                pause = min(pause * 2, _LONGEST_PAUSE_SECONDS)

    def _open(self, stream: Stream, version: str) -> Iterator[WatchEvent]:
        match stream:
            case Stream.NODES:
                return self._source.watch_nodes(version)
            case Stream.PODS:
                return self._source.watch_pods(version)

    def _put(self, seen: Seen) -> None:
        while not self._stopped.is_set():
            try:
                self._queue.put(seen, timeout=1.0)
            except Full:
                continue
            return
