import pytest

from app.sources.instance_types import devices_of_type, with_told_devices
from tests.usage.builders import a_node


@pytest.mark.parametrize(
    ("provider", "instance_type", "devices"),
    [
        ("aws", "p5.48xlarge", 8),
        ("aws", "g5.12xlarge", 4),
        ("gcp", "a2-megagpu-16g", 16),
        ("azure", "Standard_NC24ads_A100_v4", 1),
        ("", "a3-highgpu-8g", 8),
        # A sixth of a device is no device, and GPUs are attached to these at will.
        ("azure", "Standard_NV6ads_A10_v5", 0),
        ("gcp", "n1-standard-32", 0),
        ("gcp", "p5.48xlarge", 0),
        ("aws", "", 0),
    ],
)
def test_devices_of_an_instance_type(provider: str, instance_type: str, devices: int) -> None:
    assert devices_of_type(provider, instance_type) == devices


def test_what_a_person_tells_of_a_node_or_its_type_adds_to_what_is_known() -> None:
    node = a_node("gpu-7")

    assert with_told_devices(node, {}).instance_devices == 0
    assert with_told_devices(node, {"gpu-7": 4, "gpu-8": 16}).instance_devices == 4
    assert with_told_devices(node, {"gpu-7": 4, "p5.48xlarge": 8}).instance_devices == 8
