import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from app.units.identity import hash64, mix64


@given(st.lists(st.text(max_size=5), max_size=4), st.lists(st.text(max_size=5), max_size=4))
def test_equal_keys_and_only_equal_keys_share_an_identity(one: list[str], other: list[str]) -> None:
    assert (hash64(*one) == hash64(*other)) == (one == other)


def test_an_identity_is_the_same_on_every_host() -> None:
    assert hash64("cluster", "prod-eu") == hash64("cluster", "prod-eu")
    assert -(2**63) <= hash64("cluster", "prod-eu") < 2**63


def test_a_million_rows_have_a_million_identities() -> None:
    rows = np.arange(1_000_000, dtype=np.int64)

    ids = mix64(7, rows // 1000, rows % 1000)

    assert len(np.unique(ids)) == len(rows)
    assert not np.array_equal(ids, mix64(7, rows % 1000, rows // 1000))
