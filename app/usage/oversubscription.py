"""Pools whose holders claimed more than there was: named, since their shares were scaled."""

import pandas as pd

from app.usage.notes import Note

_DETAIL = (
    "The holders' shares added up to more than the devices; each was scaled by the same factor for"
    " so many device-milliseconds too much."
)


def notes_on_oversubscription(pool_usage: pd.DataFrame, nodes: pd.DataFrame) -> list[Note]:
    """Return one note a node whose pools were oversubscribed at any instant (`POOL_USAGE`).

    ``nodes`` has node_id and node_name.
    """
    excess = pool_usage["claimed_ms"] - pool_usage["held_ms"]
    # Held time is rounded to the millisecond in every span.
    over = pool_usage.assign(excess=excess).loc[excess > 1]
    names = dict(zip(nodes["node_id"].tolist(), nodes["node_name"].tolist(), strict=True))
    amounts = over.groupby("node_id")["excess"].sum()
    return [
        Note("oversubscribed", names.get(node, ""), int(amount), _DETAIL)
        for node, amount in zip(amounts.index.tolist(), amounts.tolist(), strict=True)
    ]
