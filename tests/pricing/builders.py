"""Prices and pools with round figures."""

from decimal import Decimal

from app.pricing.rows import ModelCount, PricedPool, PriceRow, PriceUnit
from app.units.window import OPEN_MS

H100 = "NVIDIA-H100-80GB-HBM3"
A100 = "NVIDIA-A100-SXM4-80GB"


def a_price(
    price: str = "3.00",
    unit: PriceUnit = PriceUnit.GPU_HOUR,
    valid_from_ms: int = 0,
    valid_to_ms: int = OPEN_MS,
    **columns: str,
) -> PriceRow:
    return PriceRow(
        unit=unit,
        price=Decimal(price),
        currency="USD",
        valid_from_ms=valid_from_ms,
        valid_to_ms=valid_to_ms,
        **columns,
    )


def a_pool(
    gpu_model: str = H100,
    devices: int = 8,
    others: tuple[ModelCount, ...] = (),
    **columns: str,
) -> PricedPool:
    filled = {
        "cluster": "prod-eu",
        "provider": "aws",
        "region": "eu-west-1",
        "instance_type": "p5.48xlarge",
        "capacity_type": "on_demand",
        "node": "node-1",
        **columns,
    }
    return PricedPool(
        gpu_model=gpu_model, on_node=(ModelCount(gpu_model, devices), *others), **filled
    )
