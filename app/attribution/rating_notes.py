"""What a rating could not know, as named lines: no price, no owner, no inventory."""

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt
import pandas as pd

from app.attribution.contract import UNOWNED
from app.attribution.energy import EnergyCosts
from app.attribution.payers import Payers
from app.attribution.tariffs import Pools
from app.usage.identity import namespace_id, team_id
from app.usage.notes import Note, notes_frame

Int64s = npt.NDArray[np.int64]

_MJ_PER_JOULE = 1000


def rating_notes(
    charges: pd.DataFrame,
    node_names: Mapping[int, str],
    gpu_models: Mapping[int, str],
    payers: Payers,
    unknown_nodes: tuple[int, ...],
    more: Sequence[Note] = (),
    reasons: Mapping[tuple[int, int], str] | None = None,
) -> pd.DataFrame:
    """Return the notes of a rating and ``more``; quantities are device-milliseconds by default.

    ``reasons`` say why pools are unpriced, by node and model.
    """
    notes = [
        *more,
        *_unpriced(charges, node_names, gpu_models, reasons or {}),
        *_unowned(charges, payers),
        *(
            Note(
                "contested",
                namespace,
                int(span.to_ms - span.from_ms),
                f"{' and '.join(span.contested)} claim it equally ({span.because});"
                " it is unowned for these milliseconds",
            )
            for namespace, span in payers.contested
        ),
        *(
            Note("unknown_node", str(node), 1, "the node's price attributes are not known")
            for node in unknown_nodes
        ),
    ]
    if payers.unknown_holds:
        detail = "holds without a namespace in the inventory; they are unowned"
        notes.append(Note("unknown_holds", "", payers.unknown_holds, detail))
    return notes_frame(notes)


def card_notes(
    unpriced_ms: Int64s, pools: Pools, node_names: Mapping[int, str], gpu_models: Mapping[int, str]
) -> list[Note]:
    """Return what only the rate card prices, by pool: what it cost is not known."""
    detail = "no row of the price book fits the pool; its teams pay the rate card"
    found = _by_pool(unpriced_ms, pools, node_names, gpu_models)
    return [Note("unpriced", subject, ms, detail) for subject, ms in found.items()]


def rated_notes(
    energy: EnergyCosts, pools: Pools, node_names: Mapping[int, str], gpu_models: Mapping[int, str]
) -> list[Note]:
    """Return by pool how much time was charged by the rated power of boards."""
    detail = "no counter tells the energy; it is charged by the boards' rated power"
    found = _by_pool(energy.rated_ms, pools, node_names, gpu_models)
    return [Note("energy_rated", subject, ms, detail) for subject, ms in found.items()]


def unplaced_notes(
    energy: EnergyCosts, pools: Pools, node_names: Mapping[int, str], gpu_models: Mapping[int, str]
) -> list[Note]:
    """Return by pool where the energy of boards and of their holders contradict, in joules."""
    more = "boards drew more than the time of the pool can carry; the rest is charged to nobody"
    less = "holders drew more than the boards of the pool; other time is charged by rated power"
    joules = energy.unplaced_mj // _MJ_PER_JOULE
    return [
        Note("energy_contradiction", subject, quantity, detail)
        for part, detail in ((np.maximum(joules, 0), more), (np.maximum(-joules, 0), less))
        for subject, quantity in _by_pool(part, pools, node_names, gpu_models).items()
    ]


def _by_pool(
    ms: Int64s, pools: Pools, node_names: Mapping[int, str], gpu_models: Mapping[int, str]
) -> dict[str, int]:
    """Return milliseconds by node and model; ``ms`` has one value a pool and hour."""
    sums: dict[str, int] = {}
    for pool in np.flatnonzero(ms).tolist():
        node, model = int(pools.node_id[pool]), int(pools.gpu_model_id[pool])
        subject = f"{node_names.get(node, str(node))} {gpu_models.get(model, str(model))}"
        sums[subject] = sums.get(subject, 0) + int(ms[pool])
    return sums


def _unpriced(
    charges: pd.DataFrame,
    node_names: Mapping[int, str],
    gpu_models: Mapping[int, str],
    reasons: Mapping[tuple[int, int], str],
) -> list[Note]:
    missing = charges[~charges["priced"]]
    sums = missing.groupby(["node_id", "gpu_model_id"])["gpu_ms"].sum()
    return [
        Note(
            "unpriced",
            f"{node_names.get(int(node), str(node))} {gpu_models.get(int(model), str(model))}",
            int(ms),
            reasons.get((int(node), int(model)), "no row of the price book fits the pool"),
        )
        for (node, model), ms in zip(sums.index, sums, strict=True)
    ]


def _unowned(charges: pd.DataFrame, payers: Payers) -> list[Note]:
    names = {namespace_id(name): name for name in payers.namespaces}
    missing = charges[charges["team_id"] == np.int64(team_id(UNOWNED))]
    sums = missing.groupby("namespace_id")["gpu_ms"].sum()
    return [
        Note("unowned", names.get(int(one), ""), int(ms), "no team owns the namespace")
        for one, ms in zip(sums.index, sums, strict=True)
    ]
