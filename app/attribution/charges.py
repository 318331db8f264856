"""The ledger's lines: charge kinds and the frame of charges."""

from enum import IntEnum

import pandera.pandas as pa

_INT = "int64"


class ChargeKind(IntEnum):
    """What a line is for; the numbers are what the database stores."""

    USED = 1
    IDLE = 2
    UNMEASURED = 3
    UNALLOCATED = 4
    STRANDED = 5
    UNOBSERVED = 6
    COMMITMENT_UNUSED = 7
    REDISTRIBUTED = 8
    TRUE_UP = 9
    ADJUSTMENT = 10
    ROUNDING = 11


class LineStep(IntEnum):
    """By what a line was made, as ``step`` of a charge says; 0 is first-hand.

    1 to 3 are the redistribution, in its order. The rest are lines that no holder's time carries.
    """

    FIRST_HAND = 0
    NOBODY = 1
    PLATFORM = 2
    CONSUMERS = 3
    COMMITMENT = 10
    TRUE_UP = 11
    CREDIT = 12
    CARD_VARIANCE = 13


# What a holder's time is charged as, as the database stores it.
HELD_KINDS = (int(ChargeKind.USED), int(ChargeKind.IDLE), int(ChargeKind.UNMEASURED))


# One row a line: a hold's used, idle or unmeasured time, or a pool's time that nobody held, of one
# window, one payer, one price. `gpu_ms` is device-milliseconds, `cost_nanos` the money, 0 where
# `priced` is false (stored as null). `team_id`, `namespace_id`, `workload_id`, `hold_id` and
# `price_id` are 0 where there is none; `start_ms`/`end_ms` span the segments that the line unites.
CHARGES = pa.DataFrameSchema(
    {
        **dict.fromkeys(
            (
                "charge_id",
                "window_start_ms",
                "node_id",
                "gpu_model_id",
                "hold_id",
                "workload_id",
                "namespace_id",
                "team_id",
                "kind",
                "price_id",
                "step",
                "start_ms",
                "end_ms",
                "gpu_ms",
                "cost_nanos",
            ),
            pa.Column(_INT),
        ),
        "priced": pa.Column("bool"),
    },
    strict=True,
    coerce=False,
)
