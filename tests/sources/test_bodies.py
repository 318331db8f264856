"""Matrix answers taken apart without decoding every sample."""

import json

import numpy as np
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.sources.bodies import matrix_text
from app.sources.matrices import Gatherer, Matrix, SeriesJson

# What label values may do to a parser that looks for brackets and quotes.
TEXTS = st.text(max_size=8) | st.sampled_from(
    ['"values":[', ',"values":[[1,"2"]]', "]]", '\\"', "\\", '"values":[[']
)
VALUES = st.floats(allow_nan=False, allow_infinity=False)
SERIES = st.lists(
    st.tuples(
        st.dictionaries(TEXTS, TEXTS, max_size=3),
        st.lists(st.tuples(st.integers(0, 2**41), VALUES), min_size=1, max_size=4),
    ),
    min_size=1,
    max_size=4,
)


def a_body(result: list[SeriesJson], **envelope: object) -> bytes:
    data = {"resultType": "matrix", "result": result}
    document = {"status": "success", "data": data, **envelope}
    return json.dumps(document, separators=(",", ":"), ensure_ascii=False).encode()


def a_series(labels: dict[str, str], *points: tuple[float, str]) -> SeriesJson:
    return {"metric": labels, "values": [*points]}


def gathered(body: bytes) -> Matrix:
    """Decode the whole body, every sample of it."""
    gatherer = Gatherer()
    gatherer.add(orjson.loads(body)["data"]["result"], 0, 2**62)
    return gatherer.finish()


@given(series=SERIES)
def test_the_parts_say_what_the_whole_says(
    series: list[tuple[dict[str, str], list[tuple[int, float]]]],
) -> None:
    body = a_body(
        [
            a_series(labels, *((at_ms / 1000, repr(value)) for at_ms, value in points))
            for labels, points in series
        ],
        warnings=["slow"],
    )

    taken = matrix_text(body)

    assert taken is not None
    envelope = orjson.loads(taken.envelope)
    assert envelope["warnings"] == ["slow"]
    labels = [one["metric"] for one in envelope["data"]["result"]]
    gatherer = Gatherer()
    gatherer.add_pairs(labels, taken.lengths, taken.pairs, 0, 2**62)
    found, whole = gatherer.finish(), gathered(body)
    assert found.labels == whole.labels
    for name in ("first", "at_ms", "value"):
        np.testing.assert_array_equal(getattr(found, name), getattr(whole, name))


def test_nan_is_a_sample_too() -> None:
    taken = matrix_text(a_body([a_series({}, (1.5, "1"), (2.5, "NaN"), (3.5, "2"))]))

    assert taken is not None
    np.testing.assert_array_equal(taken.pairs, [1.5, 1.0, 2.5, np.nan, 3.5, 2.0])


@pytest.mark.parametrize(
    "value", ["+Inf", "-Inf", "nan", "NaN1", "-NaN", "0x1p-2", "1 2", "", "]]"]
)
def test_what_is_no_plain_number_is_left_to_the_decoder(value: str) -> None:
    assert matrix_text(a_body([a_series({}, (1.5, "1"), (2.5, value))])) is None


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>",
        b'{"status":"error","error":"no"}',
        a_body([{"metric": {}, "value": (1.5, "2")}]),
        a_body([a_series({})]),
        a_body([a_series({}, (1.5, "2"))]).replace(b"1.5", b"NaN"),
        a_body([a_series({}, (1.5, "2"))])[:-12],
        json.dumps({"data": {"result": [a_series({}, (1.5, "2"))]}}).encode(),
    ],
)
def test_a_body_of_another_form_is_left_to_the_decoder(body: bytes) -> None:
    assert matrix_text(body) is None


def test_a_body_that_is_cut_behind_its_samples_shows_in_the_envelope() -> None:
    taken = matrix_text(a_body([a_series({}, (1.5, "2"))])[:-1])

    assert taken is not None
    with pytest.raises(orjson.JSONDecodeError):
        orjson.loads(taken.envelope)
