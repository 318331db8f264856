"""The closed sets of the usage stage; their numbers are what the database stores."""

from enum import IntEnum


class HoldSource(IntEnum):
    """Who said that a pod held a share."""

    WATCH = 1
    KUBE_STATE_METRICS = 2


class Sharing(IntEnum):
    """In which way a hold stands on its devices."""

    EXCLUSIVE = 1
    MIG = 2
    TIME_SLICING = 3
    MPS = 4
    # A declared part of a device: HAMi, KAI and Run:ai, AWS vGPU, consumable capacity of DRA.
    FRACTION = 5
    # A DRA claim that several pods use at once.
    SHARED_CLAIM = 6
    # A slot of a MIG instance.
    SLICED_INSTANCE = 7


class ActivityBasis(IntEnum):
    """Which metric says what a held device did."""

    NONE = 0
    GR_ENGINE_ACTIVE = 1
    GPU_UTIL = 2
    AMD_GFX_ACTIVITY = 3
    AMD_GFX_BUSY = 4
    INTEL_ENGINE = 5
    NEURON_CORE = 6
    DUTY_CYCLE = 7
    TPU_TENSORCORE = 8
    HAMI_HOST = 9
    HAMI_CONTAINER = 10


class ActivityScope(IntEnum):
    """What the samples that speak for a hold were measured on.

    Only `DEVICE` may accuse a holder: a `SHARER` is told apart by software that samples now and
    then, the others not at all.
    """

    NONE = 0
    DEVICE = 1
    SHARED_DEVICE = 2
    SHARED_POOL = 3
    SHARER = 4


class LatencyMetric(IntEnum):
    """Which latency a bucket counts, in seconds."""

    TIME_TO_FIRST_TOKEN = 1
    END_TO_END = 2
    INTER_TOKEN = 3
    QUEUE_TIME = 4


class UsageFlag(IntEnum):
    """Bits of ``hold_usage.flags``."""

    OVERSUBSCRIBED = 1
    UNHEALTHY_HELD = 2
    END_LOST = 4
    EDGE_CUT = 8


class Quantity(IntEnum):
    """What a serving counter counts."""

    PROMPT_TOKENS = 1
    CACHED_PROMPT_TOKENS = 2
    GENERATION_TOKENS = 3
    REQUESTS = 4
    TIME_TO_FIRST_TOKEN_BUCKET = 5
    END_TO_END_BUCKET = 6
    REASONING_TOKENS = 7
    INTER_TOKEN_BUCKET = 8
    QUEUE_TIME_BUCKET = 9
