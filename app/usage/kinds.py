"""The closed sets of the usage stage; their numbers are what the database stores."""

from enum import IntEnum


class HoldSource(IntEnum):
    """Who said that a pod held a share."""

    WATCH = 1
    KUBE_STATE_METRICS = 2


class ActivityBasis(IntEnum):
    """Which metric says what a held device did."""

    NONE = 0
    GR_ENGINE_ACTIVE = 1
    GPU_UTIL = 2


class ActivityScope(IntEnum):
    """What the samples that speak for a hold were measured on."""

    NONE = 0
    DEVICE = 1
    SHARED_DEVICE = 2
    SHARED_POOL = 3


class LatencyMetric(IntEnum):
    """Which latency a bucket counts, in seconds."""

    TIME_TO_FIRST_TOKEN = 1
    END_TO_END = 2


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
