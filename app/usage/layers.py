"""One authoritative layer for each quantity: who counts for the total, and who only repeats."""

from collections.abc import Collection

import numpy as np
import numpy.typing as npt
import pandas as pd

from app.usage.kinds import Quantity
from app.usage.notes import Note

Bools = npt.NDArray[np.bool_]

ENGINE_LAYER = "engine"
FRONTEND_LAYER = "frontend"

# In a disaggregated service both sides of a request pass through counters. The prompt is computed
# by the prefill pods (and what they found in a cache is the cached part), up to the first token;
# the rest is the decode pods', who also finish the request.
_PREFILL_SAYS = frozenset(
    {
        Quantity.PROMPT_TOKENS.name,
        Quantity.CACHED_PROMPT_TOKENS.name,
        Quantity.TIME_TO_FIRST_TOKEN_BUCKET.name,
        Quantity.QUEUE_TIME_BUCKET.name,
    }
)
_DECODE_SAYS = frozenset(
    {
        Quantity.GENERATION_TOKENS.name,
        Quantity.REASONING_TOKENS.name,
        Quantity.REQUESTS.name,
        Quantity.END_TO_END_BUCKET.name,
        Quantity.INTER_TOKEN_BUCKET.name,
    }
)
_GROUP = ["namespace", "model", "quantity"]
# Triton counts a request for the pipeline and again for each of its steps. These are the names
# that the TensorRT-LLM back end's own model repository has.
_STEP_LAYER = "step"
_STEPS = ("preprocessing", "tensorrt_llm", "postprocessing")
_PIPELINES = ("ensemble", "tensorrt_llm_bls")


def authoritative(labels: pd.DataFrame) -> Bools:
    """Say for each row of `COUNTER_LABELS`, under canonical models, whether its quantity counts.

    In a namespace, for a model and quantity: where any engine publishes it, only engines count,
    else frontends; routers and steps of a pipeline never do. Of those, a quantity of the prompt is
    left to prefill replicas and any other to decode replicas, where there are such; a replica
    without a role does all of the work itself and always counts. Frontends whose namespace is not
    known give way to any engine of the model.
    """
    layer, role = labels["layer"], labels["role"]
    engine = layer == ENGINE_LAYER
    if engine.all() and (role == "").all():
        return np.ones(len(labels), dtype=bool)
    told = _any_in_group(labels, engine)
    nowhere = labels["namespace"] == ""
    told |= nowhere.to_numpy() & _any_in_group(labels, engine, by=("model", "quantity"))
    counts = engine.to_numpy() | ((layer == FRONTEND_LAYER).to_numpy() & ~told)
    for quantities, says, silent in (
        (_PREFILL_SAYS, "prefill", "decode"),
        (_DECODE_SAYS, "decode", "prefill"),
    ):
        mine = labels["quantity"].isin(quantities).to_numpy() & counts
        others = _any_in_group(labels, pd.Series(mine, index=labels.index) & (role == says))
        counts &= ~(mine & others & (role == silent).to_numpy())
    return counts


def with_steps(labels: pd.DataFrame) -> "pd.Series[str]":
    """Return the layer of each row, a layer of its own for steps beside their pipeline.

    ``labels`` are rows of `COUNTER_LABELS` under the models that were published.
    """
    triton = (labels["engine"] == "triton") & (labels["layer"] == ENGINE_LAYER)
    pipeline = triton & labels["model"].isin(_PIPELINES)
    beside = _any_in_group(labels, pipeline, by=("namespace", "pod", "target", "quantity"))
    steps = triton & labels["model"].isin(_STEPS) & beside
    return labels["layer"].where(~steps, _STEP_LAYER)


def repeated(counters: pd.DataFrame, counts: Bools) -> list[Note]:
    """Return a note for every replica's growth (`GROWTH`) that does not count, by quantity."""
    rows = counters.loc[~counts & (counters["growth"] > 0)]
    replica = rows["pod"].where(rows["pod"] != "", rows["target"])
    subject = rows["namespace"] + "/" + replica + " " + rows["quantity"]
    said_by = rows["layer"].where(rows["layer"] != ENGINE_LAYER, rows["role"] + " replica")
    told = pd.DataFrame({"subject": subject, "by": said_by, "growth": rows["growth"]})
    summed = told.groupby(["subject", "by"], as_index=False)["growth"].sum()
    return [
        Note("reexported", str(who), int(much), f"Said by a {layer}; counted once elsewhere.")
        for who, layer, much in summed.to_numpy().tolist()
    ]


def _any_in_group(
    labels: pd.DataFrame, chosen: "pd.Series[bool]", by: Collection[str] = tuple(_GROUP)
) -> Bools:
    """Say for each row whether any row of its group is chosen."""
    if not chosen.any():
        return np.zeros(len(labels), dtype=bool)
    found: Bools = (
        chosen.groupby([labels[name] for name in by])
        .transform("any")
        .to_numpy(dtype=bool, copy=True)
    )
    return found
