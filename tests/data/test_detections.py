from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest

from mnedge.data import detections as d
from mnedge.data.anchors import encode, paper_shapes
from mnedge.errors import InputError

if TYPE_CHECKING:
    from numpy.typing import NDArray


def _boxes(count: int, seed: int) -> NDArray[np.float32]:
    rng = np.random.default_rng(seed)
    centres, halves = rng.uniform(0.2, 0.8, (count, 2)), rng.uniform(0.02, 0.2, (count, 2))
    return np.concatenate([centres - halves, centres + halves], axis=1).astype(np.float32)


@pytest.mark.parametrize("overlap", [0.3, 0.5, 0.75])
def test_suppression_against_tensorflow(overlap: float) -> None:
    import tensorflow as tf

    for seed in range(20):
        boxes = _boxes(200, seed)
        # Few steps, as int8 has them: ties are the rule.
        scores = (np.random.default_rng(seed).integers(1, 40, 200) / 256).astype(np.float32)
        expected = tf.image.non_max_suppression(boxes, scores, 50, overlap).numpy()
        assert d.suppress(boxes, scores, 50, overlap).tolist() == expected.tolist()


def _decoding(**changes: object) -> d.Decoding:
    return d.Decoding(((4, 4), (2, 2)), paper_shapes(2), **changes)  # type: ignore[arg-type]


def test_what_stands_on_anchors_is_found() -> None:
    decoding = _decoding()
    anchors = decoding.anchors
    truth = np.array([[0.1, 0.2, 0.4, 0.5], [0.55, 0.5, 0.8, 1.0]], np.float32)
    boxes, scores = np.zeros((len(anchors), 4), np.float32), np.zeros((len(anchors), 3), np.float32)
    places = [7, 50]
    boxes[places] = encode(truth, anchors[places])
    # A second, less sure box on the first one, and the same box of another class.
    boxes[8] = encode(truth[:1] + np.float32(0.01), anchors[8:9])[0]
    scores[7, 2], scores[8, 2], scores[8, 0], scores[50, 1] = 0.9, 0.8, 0.3, 0.6
    found = d.detect(boxes, scores, decoding)
    assert found.classes.tolist() == [2, 1, 0]
    np.testing.assert_allclose(found.scores, [0.9, 0.6, 0.3])
    np.testing.assert_allclose(found.corners[:2], truth, atol=1e-5)


def test_limits() -> None:
    decoding = _decoding(most=3, least_score=0.5)
    count = len(decoding.anchors)
    scores = np.linspace(0, 1, count, dtype=np.float32)[:, None]
    found = d.detect(np.zeros((count, 4), np.float32), scores, decoding)
    assert len(found.scores) == 3
    assert (np.diff(found.scores) <= 0).all()
    assert found.corners.min() >= 0
    assert found.corners.max() <= 1
    nothing = d.detect(np.zeros((count, 4), np.float32), scores * 0, decoding)
    assert nothing.corners.shape == (0, 4)


def test_metadata_there_and_back() -> None:
    decoding = _decoding(least_score=0.1)
    again = d.of_metadata(d.metadata_of(decoding))
    np.testing.assert_array_equal(again.anchors, decoding.anchors)
    assert again.as_json() == decoding.as_json()
    for damaged in (
        b"{",
        b"{}",
        b'{"sides": [[1, 1]], "shapes": [[[0, 1]]], "least_score": 0, "overlap": 0, "most": 1}',
    ):
        with pytest.raises(InputError, match="anchors of a detector are broken"):
            d.of_metadata(damaged)


def test_reading_the_op_of_tflite() -> None:
    boxes = np.array([[[0.1, -0.2, 0.3, 0.4], [0, 0, 1, 1]]], np.float32)
    found = d.of_postprocess([boxes, np.array([[2.0, 0.0]]), np.array([[0.5, 0.0]]), np.array([1.0])])
    assert found.classes.tolist() == [2]
    np.testing.assert_allclose(found.corners, [[0.1, 0.0, 0.3, 0.4]], atol=1e-7)
