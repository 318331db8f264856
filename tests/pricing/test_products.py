import pytest

from app.pricing.products import names_product, product_tokens


@pytest.mark.parametrize(
    ("book", "reported"),
    [
        ("H100", "NVIDIA-H100-80GB-HBM3"),
        ("h100_80gb", "NVIDIA-H100-80GB-HBM3"),
        ("NVIDIA H100 80GB HBM3", "NVIDIA-H100-80GB-HBM3"),
        ("T4", "Tesla-T4"),
        ("Tesla T4", "NVIDIA-T4"),
        ("MI300X", "AMD Instinct MI300X OAM"),
        ("RTX 4090", "NVIDIA-GeForce-RTX-4090"),
        ("", "anything"),
    ],
)
def test_a_book_names_a_product_by_its_leading_words(book: str, reported: str) -> None:
    assert names_product(product_tokens(book), product_tokens(reported))


@pytest.mark.parametrize(
    ("book", "reported"),
    [
        ("A10", "NVIDIA-A10G"),
        ("L40", "NVIDIA-L40S"),
        ("H100 NVL", "NVIDIA-H100-80GB-HBM3"),
        ("A100 80GB", "NVIDIA-A100-SXM4-80GB"),
        ("H100-80GB-HBM3", "NVIDIA-H100"),
        ("Quadro RTX 6000", "NVIDIA-RTX-6000-Ada-Generation"),
        ("H100", ""),
    ],
)
def test_a_book_does_not_name_another_product(book: str, reported: str) -> None:
    assert not names_product(product_tokens(book), product_tokens(reported))


def test_a_makers_name_alone_is_no_product() -> None:
    assert product_tokens("NVIDIA Tesla") == ()
