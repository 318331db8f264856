"""Names of models as pods and engines told them in a window."""

from dataclasses import replace

from sqlalchemy import Connection

from app.store.inventory import InventoryStore
from app.store.served_models import served_models
from app.store.windows import put_notes
from app.units.window import HOUR_MS
from app.usage.models import ModelEntry
from app.usage.notes import notes_frame
from app.usage.published_models import adapter_notes
from app.usage.serving_pods import LORA_ADAPTERS, SERVED_MODELS
from tests.store.builders import CLUSTER, CLUSTER_ID, NOON_MS, a_hold, an_hour


def test_pods_of_the_window_and_engines_name_models(ledger: Connection) -> None:
    told = ((SERVED_MODELS, "llama\n/models/l3"), (LORA_ADAPTERS, "sql"))
    holds = [
        replace(a_hold("a-0"), labels=(("app", "a"), *told)),
        replace(a_hold("a-1"), labels=told),
        replace(a_hold("b-0"), labels=(("gpuledger_io_model", "qwen"),)),
        a_hold("training-0"),
        replace(a_hold("later-0", start_ms=NOON_MS + HOUR_MS), labels=((SERVED_MODELS, "later"),)),
    ]
    InventoryStore(ledger, CLUSTER).holds.put(holds)
    adapters = [ModelEntry(name="qwen", adapters=("chat",))]
    put_notes(ledger, CLUSTER_ID, an_hour(), "collect", notes_frame(adapter_notes(adapters)))

    assert served_models(ledger, an_hour()) == (
        ModelEntry(name="llama", aliases=("/models/l3",), adapters=("sql",)),
        ModelEntry(name="qwen"),
        ModelEntry(name="qwen", adapters=("chat",)),
    )


def test_nothing_is_told_where_nobody_served(ledger: Connection) -> None:
    assert served_models(ledger, an_hour()) == ()
