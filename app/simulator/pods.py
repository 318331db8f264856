"""Pods of a simulated fleet: what they asked for, where they ran, when things happened to them."""

from dataclasses import dataclass
from enum import Enum

from app.simulator.hardware import Node
from app.simulator.layouts import Amounts, Part, Texts
from app.simulator.modes import WHOLE_GPU
from app.simulator.spec import OPEN_MS

GPU_RESOURCE = WHOLE_GPU


class Profile(Enum):
    """What a pod does with its devices."""

    SERVING = "serving"
    TRAINING = "training"
    NOTEBOOK = "notebook"
    NONE = "none"


class Outcome(Enum):
    """How a pod ended: its last phase, and whether somebody deleted it while it ran."""

    RUNNING = "running"
    SUCCEEDED = "Succeeded"
    FAILED = "Failed"
    DELETED = "deleted"


@dataclass(frozen=True, slots=True, kw_only=True)
class Owner:
    """A controller; ``above`` is its own controller, if any."""

    kind: str
    name: str
    uid: str
    created_ms: int
    above: "Owner | None" = None

    def top(self) -> "Owner":
        """Return the highest controller."""
        return self.above.top() if self.above else self


@dataclass(frozen=True, slots=True, kw_only=True)
class Container:
    """A container; ``kind`` is ``app``, ``init`` or ``sidecar`` (an init container that stays).

    ``asks`` is what it requests besides whole GPUs, ``claims`` by which claims of its pod.
    """

    name: str
    kind: str
    image: str
    gpus: int
    asks: Amounts = ()
    claims: tuple[str, ...] = ()

    def requests(self) -> Amounts:
        """Return the extended resources that it requests."""
        return (*(((GPU_RESOURCE, self.gpus),) if self.gpus else ()), *self.asks)


@dataclass(frozen=True, slots=True, kw_only=True)
class PodClaim:
    """A claim as a pod names it; ``template`` is empty where the claim is there by itself."""

    name: str
    claim: str
    template: str = ""
    # The container's resource that a claim was made for by the scheduler, if it was.
    extended: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """A deployment that serves one model with several replicas."""

    name: str
    namespace: str
    team: str
    model: str
    pool: str
    replicas: int
    gpus: int
    engines: int = 1
    gpu_init: bool = False
    prompt_tokens: int = 600
    generation_tokens: int = 180


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One life of the app container's process: its counters live in ``[serving_ms, end_ms)``."""

    start_ms: int
    serving_ms: int
    end_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Pod:
    """A pod. It holds its devices in ``[scheduled_ms, finished_ms)``, both whole seconds.

    Its object exists in ``[created_ms, removed_ms)``. ``node`` is None while it never was placed;
    the instants that never came are OPEN_MS. Restarts lie between the ``runs``, to the millisecond.
    """

    uid: str
    namespace: str
    name: str
    labels: tuple[tuple[str, str], ...]
    owner: Owner | None
    containers: tuple[Container, ...]
    profile: Profile
    node: Node | None
    devices: tuple[int, ...]
    created_ms: int
    scheduled_ms: int
    started_ms: int
    runs: tuple[Run, ...]
    delete_requested_ms: int
    grace_seconds: int
    finished_ms: int
    removed_ms: int
    outcome: Outcome
    address: str
    service: Service | None = None
    annotations: Texts = ()
    claims: tuple[PodClaim, ...] = ()
    # Of shared devices: what it really held, one part a device and span.
    parts: tuple[Part, ...] = ()
    # It keeps a device for others, which are those that hold it.
    reserves: bool = False

    def resource(self) -> str:
        """Return the resource by which the pod holds devices, '' where claims or notes do."""
        asked = [name for one in self.containers for name, _ in one.requests()]
        return asked[0] if asked else ""

    def serving_at(self, at_ms: int) -> Run | None:
        """Return the run whose endpoint answers at an instant."""
        for run in self.runs:
            if run.serving_ms <= at_ms < run.end_ms:
                return run
        return None

    def phase_at(self, at_ms: int) -> str:
        """Return the phase that the API shows at an instant."""
        if at_ms < self.started_ms:
            return "Pending"
        if at_ms < self.finished_ms:
            return "Running"
        # A process that was killed leaves a failed pod, like one that exited with an error.
        return "Succeeded" if self.outcome is Outcome.SUCCEEDED else "Failed"

    def exists_at(self, at_ms: int) -> bool:
        """Say whether the API shows the pod at an instant."""
        return self.created_ms <= at_ms < self.removed_ms

    def placed(self) -> bool:
        """Say whether the pod ever was bound to a node."""
        return self.node is not None and self.scheduled_ms < OPEN_MS
