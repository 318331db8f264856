"""The nodes of a simulated fleet: shapes, labels, devices, and when they could be held."""

from dataclasses import dataclass, replace
from fractions import Fraction

from app.simulator.dice import dice, uid
from app.simulator.layouts import Amounts, Layout, Texts
from app.simulator.modes import WHOLE_GPU, Mode
from app.simulator.spec import HOUR_MS, OPEN_MS, SECOND_MS, FleetSpec

# Device plugin and feature discovery register a node's GPUs some time after the node's creation.
ADVERTISING_MS = 40 * SECOND_MS


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeShape:
    """What one kind of machine is: `product` is the label's spelling, `model_name` DCGM's."""

    pool: str
    product: str
    model_name: str
    instance_type: str
    provider: str
    region: str
    zone: str
    capacity_type: str
    labels: tuple[tuple[str, str], ...]
    memory_mib: int
    idle_watts: int
    full_watts: int
    profiling: bool = True
    gpus: int = 8  # that a machine of the instance type has

    def sized(self, gpus: int) -> "NodeShape":
        """Return the machine with so many devices; a size that nobody sells has a type of its own.

        A ledger knows how many devices the types have that are sold: the others it would take for
        lost.
        """
        if gpus == self.gpus:
            return self
        family = self.instance_type.split(".")[0]
        return replace(self, instance_type=f"{family}.{gpus}gpu", gpus=gpus)


H100 = NodeShape(
    pool="h100",
    product="NVIDIA-H100-80GB-HBM3",
    model_name="NVIDIA H100 80GB HBM3",
    instance_type="p5.48xlarge",
    provider="aws",
    region="eu-west-1",
    zone="eu-west-1a",
    capacity_type="on_demand",
    labels=(
        ("eks.amazonaws.com/capacityType", "ON_DEMAND"),
        ("eks.amazonaws.com/nodegroup", "h100"),
    ),
    memory_mib=81_079,
    idle_watts=70,
    full_watts=690,
)
A100 = NodeShape(
    pool="a100",
    product="NVIDIA-A100-SXM4-80GB",
    model_name="NVIDIA A100-SXM4-80GB",
    instance_type="p4de.24xlarge",
    provider="aws",
    region="eu-west-1",
    zone="eu-west-1b",
    capacity_type="spot",
    labels=(("karpenter.sh/capacity-type", "spot"), ("karpenter.sh/nodepool", "a100")),
    memory_mib=80_994,
    idle_watts=55,
    full_watts=400,
)
L40S = NodeShape(
    pool="l40s",
    product="NVIDIA-L40S",
    model_name="NVIDIA L40S",
    instance_type="g6e.48xlarge",
    provider="aws",
    region="us-east-1",
    zone="us-east-1c",
    capacity_type="reserved",
    labels=(("karpenter.sh/capacity-type", "reserved"), ("karpenter.sh/nodepool", "l40s")),
    memory_mib=45_458,
    idle_watts=35,
    full_watts=350,
)
T4 = NodeShape(
    pool="t4",
    product="Tesla-T4",
    model_name="Tesla T4",
    instance_type="n1-standard-32",
    provider="gce",
    region="europe-west4",
    zone="europe-west4-a",
    capacity_type="spot",
    labels=(
        ("cloud.google.com/gke-spot", "true"),
        ("cloud.google.com/gke-accelerator", "nvidia-tesla-t4"),
    ),
    memory_mib=15_360,
    idle_watts=10,
    full_watts=70,
    profiling=False,
)
# The pool that stays mostly unallocated.
QUIET_POOL = "l40s"


@dataclass(frozen=True, slots=True, kw_only=True)
class CountSpan:
    """How many devices of a node may be held during ``[start_ms, end_ms)``.

    ``compute`` counts them by compute slices alone, where instances are of both kinds.
    """

    start_ms: int
    end_ms: int
    allocatable: int | Fraction
    compute: int | Fraction


@dataclass(frozen=True, slots=True, kw_only=True)
class Face:
    """What a node's object shows of its devices in ``[start_ms, end_ms)``, once advertised."""

    start_ms: int
    end_ms: int
    labels: Texts
    annotations: Texts
    capacity: Amounts
    allocatable: Amounts
    unschedulable: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """A machine: it exists in ``[created_ms, deleted_ms)`` and is drained from ``drain_ms`` on.

    Where ``layouts`` are given they say, one after the other from ``advertised_ms`` on, how its
    devices are divided.
    """

    name: str
    uid: str
    number: int
    shape: NodeShape
    created_ms: int
    advertised_ms: int
    drain_ms: int
    deleted_ms: int
    uuids: tuple[str, ...]
    unhealthy_from_ms: int = OPEN_MS
    unhealthy_until_ms: int = OPEN_MS
    mode: Mode = Mode.WHOLE
    layouts: tuple[Layout, ...] = ()

    @property
    def devices(self) -> int:
        """How many GPUs are built in."""
        return len(self.uuids)

    def counts(self) -> tuple[CountSpan, ...]:
        """Return the spans in which devices are advertised; an unhealthy one may not be held."""
        if self.layouts:
            return tuple(
                CountSpan(
                    start_ms=one.start_ms,
                    end_ms=one.end_ms,
                    allocatable=one.holdable,
                    compute=one.holdable_compute,
                )
                for one in self.layouts
            )
        whole = (self.advertised_ms, self.deleted_ms)
        sick = (self.unhealthy_from_ms, self.unhealthy_until_ms)
        spans = (
            (whole[0], min(sick[0], whole[1]), self.devices),
            (max(whole[0], sick[0]), min(sick[1], whole[1]), self.devices - 1),
            (max(whole[0], sick[1]), whole[1], self.devices),
        )
        return tuple(
            CountSpan(start_ms=start, end_ms=end, allocatable=allocatable, compute=allocatable)
            for start, end, allocatable in spans
            if start < end
        )

    def faces(self) -> tuple[Face, ...]:
        """Return what the object shows of the devices, from when they are advertised on."""
        if self.layouts:
            return tuple(
                Face(
                    start_ms=one.start_ms,
                    end_ms=one.end_ms,
                    labels=(*self._own_labels(), *one.labels, *self.shape.labels),
                    annotations=one.annotations,
                    capacity=one.capacity,
                    allocatable=one.allocatable,
                    unschedulable=one.unschedulable,
                )
                for one in self.layouts
            )
        return tuple(
            Face(
                start_ms=span.start_ms,
                end_ms=span.end_ms,
                labels=self.labels(),
                annotations=(),
                capacity=((WHOLE_GPU, self.devices),),
                allocatable=((WHOLE_GPU, int(span.allocatable)),),
            )
            for span in self.counts()
        )

    def face_at(self, at_ms: int) -> Face | None:
        """Return what the object shows at an instant, None before devices are advertised.

        The last object of a node that goes shows devices that nobody may hold.
        """
        shown = [face for face in self.faces() if face.start_ms <= at_ms]
        if not shown or at_ms < shown[-1].end_ms:
            return shown[-1] if shown else None
        return replace(shown[-1], allocatable=tuple((n, 0) for n, _ in shown[-1].allocatable))

    def layout_at(self, at_ms: int) -> Layout | None:
        """Return how the devices are divided at an instant, None where nothing divides them."""
        for one in self.layouts:
            if one.start_ms <= at_ms < one.end_ms:
                return one
        return None

    def labels(self) -> tuple[tuple[str, str], ...]:
        """Return the labels of a node of whole devices once they are advertised."""
        shape = self.shape
        return (
            ("kubernetes.io/hostname", self.name),
            ("node.kubernetes.io/instance-type", shape.instance_type),
            ("nvidia.com/gpu.count", str(self.devices)),
            ("nvidia.com/gpu.memory", str(shape.memory_mib)),
            ("nvidia.com/gpu.product", shape.product),
            ("nvidia.com/gpu.replicas", "1"),
            ("nvidia.com/gpu.sharing-strategy", "none"),
            ("nvidia.com/mig.strategy", "single"),
            ("topology.kubernetes.io/region", shape.region),
            ("topology.kubernetes.io/zone", shape.zone),
            *shape.labels,
        )

    def plain_labels(self) -> tuple[tuple[str, str], ...]:
        """Return the labels before anything has told of devices."""
        if self.layouts:
            return (*self._own_labels(), *self.shape.labels)
        return tuple(pair for pair in self.labels() if not pair[0].startswith("nvidia.com/"))

    def _own_labels(self) -> Texts:
        return (
            ("kubernetes.io/hostname", self.name),
            ("node.kubernetes.io/instance-type", self.shape.instance_type),
            ("topology.kubernetes.io/region", self.shape.region),
            ("topology.kubernetes.io/zone", self.shape.zone),
        )

    def provider_id(self) -> str:
        """Return what the cloud's controller writes into ``spec.providerID``."""
        if self.shape.provider == "aws":
            return f"aws:///{self.shape.zone}/i-{self.uid.replace('-', '')[:17]}"
        if self.shape.provider == "azure":
            return f"azure:///subscriptions/sim/virtualMachines/{self.name}"
        return f"gce://sim-project/{self.shape.zone}/{self.name}"

    def address(self) -> str:
        """Return the node's internal address."""
        return f"10.0.{self.number // 250}.{self.number % 250 + 1}"


def build_nodes(spec: FleetSpec) -> tuple[Node, ...]:
    """Return all nodes that ever exist, in the order of their numbers."""
    shapes = _shapes(spec)
    changeable = [number for number, shape in enumerate(shapes) if shape in (H100, A100)][1:]
    joiners = changeable[len(changeable) - min(spec.node_joins, len(changeable) // 2) :]
    rest = [number for number in changeable if number not in joiners]
    leavers = rest[len(rest) - min(spec.node_leaves, len(rest)) :]
    quiet = [n for n, s in enumerate(shapes) if s.pool == QUIET_POOL] or [len(shapes) - 1]
    sick = [*quiet, *(number for number in range(spec.nodes) if number not in quiet)]
    sick = sick[: spec.unhealthy_devices]
    return tuple(
        _node(
            spec,
            number,
            shape,
            joins=number in joiners,
            leaves=number in leavers,
            falls_sick=number in sick,
        )
        for number, shape in enumerate(shapes)
    )


def _shapes(spec: FleetSpec) -> list[NodeShape]:
    cycle = [H100, A100, L40S, H100, T4, H100, A100, H100, H100, A100, H100, H100]
    shapes = [cycle[number % len(cycle)] for number in range(spec.nodes)]
    if spec.util_only:
        return shapes
    return [A100 if shape is T4 else shape for shape in shapes]


def _node(
    spec: FleetSpec,
    number: int,
    shape: NodeShape,
    *,
    joins: bool,
    leaves: bool,
    falls_sick: bool,
) -> Node:
    name = f"{shape.pool}-{number:04d}"
    draw = dice(spec.seed, "node", name)
    length = spec.end_ms - spec.start_ms
    created = spec.opens_ms - int(draw.integers(1, 30 * 24)) * HOUR_MS
    created += int(draw.integers(0, 3_600)) * SECOND_MS
    if joins:
        created = _second(spec.start_ms + length * draw.uniform(0.3, 0.6))
    drain = deleted = OPEN_MS
    if leaves:
        drain = _second(spec.start_ms + length * draw.uniform(0.5, 0.8))
        deleted = drain + int(draw.integers(40, 90)) * SECOND_MS
    sick_from = sick_until = OPEN_MS
    if falls_sick:
        sick_from = _second(spec.start_ms + length * draw.uniform(0.1, 0.4))
        sick_until = sick_from + _second(min(length * 0.3, 5 * HOUR_MS)) + SECOND_MS
    return Node(
        name=name,
        uid=uid(spec.seed, "node", name),
        number=number,
        shape=shape.sized(spec.gpus_per_node),
        created_ms=created,
        advertised_ms=created + ADVERTISING_MS,
        drain_ms=drain,
        deleted_ms=deleted,
        uuids=tuple(
            f"GPU-{uid(spec.seed, 'device', name, str(index))}"
            for index in range(spec.gpus_per_node)
        ),
        unhealthy_from_ms=sick_from,
        unhealthy_until_ms=sick_until,
    )


def _second(at_ms: float) -> int:
    return int(at_ms) // SECOND_MS * SECOND_MS
