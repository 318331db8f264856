from fractions import Fraction

import pytest

from app.usage.mig import mig_share, most_instances

A100_40 = "NVIDIA-A100-SXM4-40GB"
A100_80 = "NVIDIA-A100-SXM4-80GB"
H100 = "NVIDIA-H100-80GB-HBM3"
H200 = "NVIDIA-H200"
GB300 = "NVIDIA-GB300"
RTX = "NVIDIA-RTX-PRO-6000-Blackwell-Server-Edition"


@pytest.mark.parametrize(
    ("product", "profile", "compute", "memory", "most"),
    [
        ("NVIDIA-A30", "1g.6gb", (1, 4), (1, 4), 4),
        ("NVIDIA-A30", "2g.12gb", (2, 4), (2, 4), 2),
        ("NVIDIA-A30", "4g.24gb", (4, 4), (4, 4), 1),
        (A100_40, "1g.5gb", (1, 7), (1, 8), 7),
        (A100_40, "1g.10gb", (1, 7), (2, 8), 4),
        (A100_40, "2g.10gb", (2, 7), (2, 8), 3),
        (A100_40, "3g.20gb", (3, 7), (4, 8), 2),
        (A100_40, "4g.20gb", (4, 7), (4, 8), 1),
        (A100_40, "7g.40gb", (7, 7), (8, 8), 1),
        (A100_80, "1g.10gb", (1, 7), (1, 8), 7),
        (H100, "3g.40gb", (3, 7), (4, 8), 2),
        ("NVIDIA-H100-PCIe", "1g.20gb", (1, 7), (2, 8), 4),
        ("NVIDIA-H100-NVL", "3g.47gb", (3, 7), (4, 8), 2),
        ("NVIDIA-GH200-480GB", "4g.48gb", (4, 7), (4, 8), 1),
        ("NVIDIA-H20", "1g.24gb", (1, 7), (2, 8), 4),
        (H200, "1g.35gb", (1, 7), (2, 8), 4),
        (H200, "7g.141gb", (7, 7), (8, 8), 1),
        ("NVIDIA-B200", "2g.45gb", (2, 7), (2, 8), 3),
        ("NVIDIA-GB200", "3g.93gb", (3, 7), (4, 8), 2),
        ("NVIDIA-B300-SXM6-AC", "1g.34gb", (1, 7), (1, 8), 7),
        (GB300, "1g.35gb", (1, 7), (1, 8), 7),
        (GB300, "4g.139gb", (4, 7), (4, 8), 1),
        (RTX, "1g.24gb", (1, 4), (1, 4), 4),
        (RTX, "2g.48gb", (2, 4), (2, 4), 2),
        ("nvidia-a100-80gb", "2g.20gb", (2, 7), (2, 8), 3),
        ("nvidia-tesla-a100", "2g.10gb", (2, 7), (2, 8), 3),
    ],
)
def test_a_share_is_told_by_product_and_profile_together(
    product: str, profile: str, compute: tuple[int, int], memory: tuple[int, int], most: int
) -> None:
    found = mig_share(product, profile)

    assert found is not None
    assert found.compute == Fraction(*compute)
    assert found.share == max(Fraction(*compute), Fraction(*memory))
    assert found.most == most


@pytest.mark.parametrize("suffix", ["+me", ".me", "+me.all", ".me.all", "+gfx", ".gfx", "-me"])
def test_media_and_graphics_change_no_slices(suffix: str) -> None:
    told, plain = mig_share(RTX, f"2g.48gb{suffix}"), mig_share(RTX, "2g.48gb")
    assert told is not None
    assert plain is not None
    assert (told.compute, told.memory) == (plain.compute, plain.memory)


def test_compute_instances_divide_their_gpu_instance() -> None:
    whole = mig_share(A100_40, "3g.20gb")
    third = mig_share(A100_40, "1c.3g.20gb")

    assert whole is not None
    assert third is not None
    assert third.share * 3 == whole.share == Fraction(1, 2)
    assert third.compute == Fraction(1, 7)
    assert third.most == 6


@pytest.mark.parametrize(
    ("product", "profile"),
    [
        (A100_40, "1g.35gb"),
        (A100_40, "9g.99gb"),
        (A100_40, "4c.3g.20gb"),
        (A100_40, "nonsense"),
        ("NVIDIA-H20-3e", "1g.18gb"),
        ("NVIDIA-L40S", "1g.5gb"),
        ("unknown", "1g.5gb"),
    ],
)
def test_what_no_table_has_is_no_share(product: str, profile: str) -> None:
    assert mig_share(product, profile) is None


def test_instances_of_an_unknown_product_are_counted_by_their_name() -> None:
    assert [most_instances(one) for one in ("1g.5gb", "2g.10gb", "3g.20gb", "7g.40gb", "x")] == [
        7,
        3,
        2,
        1,
        1,
    ]
