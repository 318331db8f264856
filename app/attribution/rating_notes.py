"""What a rating could not know, as named lines: no price, no owner, no inventory."""

from collections.abc import Mapping

import numpy as np
import pandas as pd

from app.attribution.contract import UNOWNED
from app.attribution.payers import Payers
from app.usage.identity import namespace_id, team_id
from app.usage.notes import Note, notes_frame


def rating_notes(
    charges: pd.DataFrame,
    node_names: Mapping[int, str],
    gpu_models: Mapping[int, str],
    payers: Payers,
    unknown_nodes: tuple[int, ...],
) -> pd.DataFrame:
    """Return the notes of a rating; quantities are device-milliseconds unless they say else."""
    notes = [
        *_unpriced(charges, node_names, gpu_models),
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


def _unpriced(
    charges: pd.DataFrame, node_names: Mapping[int, str], gpu_models: Mapping[int, str]
) -> list[Note]:
    missing = charges[~charges["priced"]]
    sums = missing.groupby(["node_id", "gpu_model_id"])["gpu_ms"].sum()
    return [
        Note(
            "unpriced",
            f"{node_names.get(int(node), str(node))} {gpu_models.get(int(model), str(model))}",
            int(ms),
            "no row of the price book fits the pool",
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
