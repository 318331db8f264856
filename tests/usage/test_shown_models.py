import pandas as pd

from app.usage.identity import gpu_model_id
from app.usage.products import UNKNOWN_MODEL
from app.usage.shown_models import shown_models, with_shown_models
from app.usage.states import device_states
from tests.usage.builders import (
    ALWAYS,
    HOUR,
    WINDOW,
    a_count,
    a_hold,
    a_pool,
    counts_of,
    device_samples,
    holds_frame,
    pools_of,
)

UNKNOWN = gpu_model_id(UNKNOWN_MODEL)
T4, L4 = "Tesla-T4", "NVIDIA-L4"
NODES = pd.DataFrame({"node_id": [1, 2], "node_name": pd.Series(["node-1", "node-2"], dtype="str")})


def shown(*devices: tuple[str, str], model: int = UNKNOWN) -> dict[int, str]:
    """What is shown of node 1, whose pool has ``model``; devices are (host, model)."""
    samples = device_samples(
        *(
            ({"device": f"GPU-{number}", "node": "", "hostname": host, "gpu_model": name}, [])
            for number, (host, name) in enumerate(devices)
        )
    )
    return shown_models(pools_of(a_pool(gpu_model_id=model)), NODES, [samples.labels])


def test_a_node_without_a_product_label_has_the_model_that_its_exporter_shows() -> None:
    assert shown(("node-1", T4), ("node-1.internal", T4)) == {1: T4}


def test_what_another_node_shows_says_nothing() -> None:
    assert shown(("node-2", T4)) == {}


def test_devices_of_several_models_name_none() -> None:
    assert shown(("node-1", T4), ("node-1", L4)) == {}


def test_a_series_without_a_model_says_nothing() -> None:
    assert shown(("node-1", T4), ("node-1", "")) == {1: T4}


def test_a_node_that_names_its_model_keeps_it() -> None:
    assert shown(("node-1", T4), model=gpu_model_id(L4)) == {}


def test_counts_and_holds_without_a_model_follow_their_pool() -> None:
    pools = with_shown_models(pools_of(a_pool(gpu_model_id=UNKNOWN)), {1: T4})

    states = device_states(
        WINDOW,
        pools,
        counts_of(a_count(gpu_model_id=UNKNOWN)),
        holds_frame(a_hold(gpu_model_id=UNKNOWN)),
        ALWAYS,
    )

    row = states.pool_usage.iloc[0]
    assert row["gpu_model_id"] == gpu_model_id(T4)
    assert (row["held_ms"], row["unallocated_ms"]) == (HOUR, HOUR)
