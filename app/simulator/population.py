"""Who wants GPUs in a simulated fleet, from when, for how long: the wishes that are then placed."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

from app.simulator.dice import dice, suffix, uid
from app.simulator.pods import Owner, Profile, Service
from app.simulator.spec import HOUR_MS, MINUTE_MS, OPEN_MS, SECOND_MS, FleetSpec


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """A pod before it is placed. ``holds_ms`` is how long it holds devices, OPEN_MS for ever."""

    at_ms: int
    key: str
    namespace: str
    name: str
    team: str
    owner: Owner | None
    profile: Profile
    gpus: int
    pools: tuple[str, ...]
    holds_ms: int = OPEN_MS
    service: Service | None = None


_SERVICES = (
    Service(
        name="ranker",
        namespace="search-prod",
        team="search",
        model="meta-llama/Llama-3.1-8B-Instruct",
        pool="h100",
        replicas=3,
        gpus=1,
    ),
    Service(
        name="chat",
        namespace="ml-chat",
        team="ml",
        model="meta-llama/Llama-3.1-70B-Instruct",
        pool="h100",
        replicas=2,
        gpus=4,
        prompt_tokens=1_400,
        generation_tokens=320,
    ),
    Service(
        name="rewrite",
        namespace="search-rewrite",
        team="search",
        model="Qwen/Qwen2.5-7B-Instruct",
        pool="a100",
        replicas=2,
        gpus=1,
        prompt_tokens=250,
        generation_tokens=60,
    ),
    Service(
        name="code",
        namespace="ml-code",
        team="ml",
        model="Qwen/Qwen2.5-Coder-32B-Instruct",
        pool="h100",
        replicas=2,
        gpus=2,
        gpu_init=True,
        prompt_tokens=2_200,
        generation_tokens=240,
    ),
    Service(
        name="copywriter",
        namespace="ads-serving",
        team="ads",
        model="meta-llama/Llama-3.1-8B-Instruct",
        pool="a100",
        replicas=2,
        gpus=1,
    ),
    Service(
        name="agent",
        namespace="support-bot",
        team="support",
        model="mistralai/Mistral-Small-24B-Instruct-2501",
        pool="h100",
        replicas=1,
        gpus=2,
        engines=2,
        prompt_tokens=3_000,
        generation_tokens=400,
    ),
)
_BATCH = (("ml-train", "ml"), ("ads-batch", "ads"), ("research-lab", "research"))


def services_of(spec: FleetSpec) -> tuple[Service, ...]:
    """Return the services, the first six as named, then further copies with a number."""
    services = []
    for number in range(spec.services):
        service = _SERVICES[number % len(_SERVICES)]
        again = number // len(_SERVICES)
        services.append(
            replace(
                service,
                name=f"{service.name}-{again}" if again else service.name,
                replicas=spec.replicas or service.replicas,
                gpus=min(service.gpus, spec.gpus_per_node),
            )
        )
    return tuple(services)


def wishes(spec: FleetSpec) -> list[Wish]:
    """Return every pod that is wanted, in the order of its creation."""
    wanted = [
        *_replicas(spec),
        *_trainings(spec),
        *_notebooks(spec),
        *_unowned(spec),
        *_jobs(spec),
    ]
    return sorted(wanted, key=lambda wish: (wish.at_ms, wish.key))


def replica(spec: FleetSpec, service: Service, *, number: int, generation: int, at_ms: int) -> Wish:
    """Return the wish for one pod of a service; each generation is a ReplicaSet of its own."""
    deployment = Owner(
        kind="Deployment",
        name=service.name,
        uid=uid(spec.seed, "deployment", service.namespace, service.name),
        created_ms=spec.opens_ms - HOUR_MS,
    )
    template = f"{service.namespace}/{service.name}/{generation}"
    name = f"{service.name}-{suffix(spec.seed, template, length=10)}"
    replica_set = Owner(
        kind="ReplicaSet",
        name=name,
        uid=uid(spec.seed, "replicaset", template),
        created_ms=min(at_ms, spec.opens_ms - HOUR_MS if generation == 0 else at_ms),
        above=deployment,
    )
    key = f"{template}/{number}/{at_ms}"
    return Wish(
        at_ms=at_ms,
        key=key,
        namespace=service.namespace,
        name=f"{name}-{suffix(spec.seed, key)}",
        team=service.team,
        owner=replica_set,
        profile=Profile.SERVING,
        gpus=service.gpus,
        pools=(service.pool, "h100", "a100", "l40s"),
        service=service,
    )


def _replicas(spec: FleetSpec) -> Iterator[Wish]:
    length = spec.end_ms - spec.start_ms
    for order, service in enumerate(services_of(spec)):
        draw = dice(spec.seed, "rollout", service.namespace, service.name)
        rollout = spec.start_ms + _seconds(length * draw.uniform(0.2, 0.8))
        for number in range(service.replicas):
            first = spec.opens_ms - int(draw.integers(2, 50)) * HOUR_MS
            wish = replica(spec, service, number=number, generation=0, at_ms=first)
            if order >= spec.rollouts:
                yield wish
                continue
            change = rollout + number * 3 * MINUTE_MS
            yield replace(wish, holds_ms=change - first)
            yield replica(spec, service, number=number, generation=1, at_ms=change - 40 * SECOND_MS)


def _trainings(spec: FleetSpec) -> Iterator[Wish]:
    length = spec.closes_ms - spec.opens_ms
    for number in range(spec.trainings):
        draw = dice(spec.seed, "training", str(number))
        resident = number % 3 > 0
        at_ms = spec.opens_ms + _seconds(length * draw.uniform(0.0, 0.4))
        holds = _seconds(length * draw.uniform(0.3, 0.7)) + SECOND_MS
        yield _job(
            spec,
            name=f"pretrain-{number}",
            batch=_BATCH[number % len(_BATCH)],
            gpus=min((8, 4, 2, 1, 2, 1)[number % 6], spec.gpus_per_node),
            at_ms=spec.opens_ms - HOUR_MS if resident else at_ms,
            holds_ms=OPEN_MS if resident else holds,
        )


def _jobs(spec: FleetSpec) -> Iterator[Wish]:
    draw = dice(spec.seed, "jobs")
    length = spec.closes_ms - spec.opens_ms
    rate = spec.jobs_per_gpu_hour * spec.nodes * spec.gpus_per_node
    count = int(draw.poisson(rate * length / HOUR_MS))
    arrivals = sorted(draw.integers(0, length // SECOND_MS, count).tolist())
    for number, arrival in enumerate(arrivals):
        if draw.random() < spec.short_job_share:
            holds = int(draw.integers(5, 25)) * SECOND_MS
        else:
            holds = _seconds(min(draw.lognormal(7.1, 1.0) * SECOND_MS, 8 * HOUR_MS)) + SECOND_MS
        yield _job(
            spec,
            name=f"{('embed', 'eval', 'tune')[number % 3]}-{number}",
            batch=_BATCH[int(draw.integers(0, len(_BATCH)))],
            gpus=min(int(draw.choice([1, 1, 1, 2, 2, 4, 8])), spec.gpus_per_node),
            at_ms=spec.opens_ms + arrival * SECOND_MS,
            holds_ms=holds,
        )


def _job(
    spec: FleetSpec, *, name: str, batch: tuple[str, str], gpus: int, at_ms: int, holds_ms: int
) -> Wish:
    namespace, team = batch
    above = None
    if name.startswith("eval"):
        above = Owner(
            kind="CronJob",
            name="eval",
            uid=uid(spec.seed, "cronjob", namespace),
            created_ms=spec.opens_ms - HOUR_MS,
        )
    job = Owner(
        kind="Job",
        name=name,
        uid=uid(spec.seed, "job", namespace, name),
        created_ms=at_ms,
        above=above,
    )
    draw = dice(spec.seed, "pools", name)
    order = ("h100", "a100", "t4") if draw.random() < 0.6 else ("a100", "t4", "h100")  # noqa: PLR2004 - a share of jobs that wants the newest model
    return Wish(
        at_ms=at_ms,
        key=f"{namespace}/{name}",
        namespace=namespace,
        name=f"{name}-{suffix(spec.seed, namespace, name)}",
        team=team,
        owner=job,
        profile=Profile.TRAINING,
        gpus=gpus,
        pools=order,
        holds_ms=holds_ms,
    )


def _notebooks(spec: FleetSpec) -> Iterator[Wish]:
    for number in range(spec.notebooks):
        name = ("anna", "boris", "chen", "dalia")[number % 4] + (f"-{number}" if number > 3 else "")  # noqa: PLR2004 - the names are four
        owner = Owner(
            kind="StatefulSet",
            name=f"notebook-{name}",
            uid=uid(spec.seed, "statefulset", name),
            created_ms=spec.opens_ms - HOUR_MS,
        )
        yield Wish(
            at_ms=spec.opens_ms - 30 * MINUTE_MS,
            key=f"notebook/{name}",
            namespace="research-notebooks",
            name=f"notebook-{name}-0",
            team="research",
            owner=owner,
            profile=Profile.NOTEBOOK,
            gpus=1,
            pools=("a100", "h100", "t4"),
        )


def _unowned(spec: FleetSpec) -> Iterator[Wish]:
    for number in range(spec.unowned_pods):
        yield Wish(
            at_ms=spec.opens_ms - 20 * MINUTE_MS,
            key=f"sandbox/{number}",
            namespace="sandbox",
            name=f"try-{number}",
            team="",
            owner=None,
            profile=Profile.TRAINING,
            gpus=min(2, spec.gpus_per_node),
            pools=("l40s", "a100", "h100"),
        )


def _seconds(duration_ms: float) -> int:
    return int(duration_ms) // SECOND_MS * SECOND_MS
