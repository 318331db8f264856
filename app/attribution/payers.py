"""Who pays for every hold and for what nobody held, over time."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from app.attribution.owners import Ownership, OwnerSpan
from app.attribution.schedules import Schedules, Step
from app.attribution.tariffs import Codes

Int64s = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Payers:
    """The teams' names, and by subject and time the number of the one that pays.

    Subject i is row i of the holds; the subject behind the last of them is nobody's time.
    ``namespace`` is the number of each hold's namespace in ``namespaces``.
    """

    teams: tuple[str, ...]
    schedules: Schedules
    namespaces: tuple[str, ...]
    namespace: Int64s
    contested: tuple[tuple[str, OwnerSpan], ...]
    unknown_holds: int


@dataclass(frozen=True, slots=True)
class _Pod:
    namespace: str
    labels: tuple[tuple[str, str], ...]


def payers_of(
    hold_id: Int64s,
    holds: pd.DataFrame,
    ownership: Ownership,
    cluster: str,
    start_ms: int,
    end_ms: int,
) -> Payers:
    """Return who pays for each row of ``hold_id`` over ``[start_ms, end_ms)``.

    A hold that ``holds`` does not know has no namespace, and so no owner; it is counted.
    """
    pods = _pods(holds, ownership)
    teams, namespaces = Codes[str](), Codes[str]()
    profiles = Codes[tuple[Step, ...]]()
    contested: dict[tuple[str, OwnerSpan], None] = {}
    unique, inverse = np.unique(hold_id, return_inverse=True)
    profile = np.zeros(len(unique) + 1, dtype=np.int64)
    namespace = np.zeros(len(unique), dtype=np.int64)
    known: dict[_Pod, int] = {}
    unknown = 0
    for number, one in enumerate(unique.tolist()):
        pod = pods.get(one)
        unknown += pod is None
        pod = pod or _Pod("", ())
        namespace[number] = namespaces.code(pod.namespace)
        if pod not in known:
            spans = ownership.teams_over(cluster, pod.namespace, pod.labels, start_ms, end_ms)
            contested.update(((pod.namespace, span), None) for span in spans if span.contested)
            known[pod] = profiles.code(_steps(spans, teams))
        profile[number] = known[pod]
    nobody = _steps(ownership.payers_over(start_ms, end_ms), teams)
    profile_of = np.append(profile[inverse], profiles.code(nobody))
    return Payers(
        teams=teams.values(),
        schedules=Schedules(profile_of, profiles.values(), start_ms, end_ms),
        namespaces=namespaces.values(),
        namespace=namespace[inverse],
        contested=tuple(contested),
        unknown_holds=unknown,
    )


def _pods(holds: pd.DataFrame, ownership: Ownership) -> dict[int, _Pod]:
    columns = zip(*(holds[name] for name in ("hold_id", "namespace", "labels")), strict=True)
    return {int(one): _Pod(space, ownership.telling(labels)) for one, space, labels in columns}


def _steps(spans: tuple[OwnerSpan, ...], teams: Codes[str]) -> tuple[Step, ...]:
    return tuple(Step(span.from_ms, teams.code(span.team)) for span in spans)
