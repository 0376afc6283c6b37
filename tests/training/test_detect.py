import numpy as np
import pytest

from mnedge.data.anchors import fitted_shapes, iou, paper_shapes
from mnedge.data.boxes import Boxes
from mnedge.data.detections import Decoding, detect
from mnedge.training import detect as t
from mnedge.training.augment import draw_warps
from mnedge.training.settings import Augmentation

_ALIKE = np.ones(3, np.float32)
_SIDES = ((14, 14), (7, 7), (4, 4), (2, 2), (1, 1), (1, 1))


def _decoding(shapes: np.ndarray | None = None) -> Decoding:
    return Decoding(_SIDES, paper_shapes() if shapes is None else shapes)


def _boxes(corners: list[tuple[float, ...]], crowd: tuple[bool, ...] = ()) -> Boxes:
    flags = np.array(crowd or [False] * len(corners), bool)
    return Boxes(np.array(corners, np.float32).reshape(-1, 4), np.arange(len(corners)) % 3, flags, (100, 100))


def _moved_by_tensorflow(pixels: np.ndarray, warps: np.ndarray, side: int) -> np.ndarray:
    import tensorflow as tf

    return np.asarray(
        tf.raw_ops.ImageProjectiveTransformV3(
            images=pixels[None].astype(np.float32),
            transforms=warps[None],
            output_shape=(side, side),
            fill_value=0.0,
            interpolation="BILINEAR",
            fill_mode="CONSTANT",
        )
    )[0, :, :, 0]


def _ellipse(corners: np.ndarray, side: int) -> np.ndarray:
    y, x = np.meshgrid(np.arange(side) + 0.5, np.arange(side) + 0.5, indexing="ij")
    y1, x1, y2, x2 = corners * side
    inside = ((y - (y1 + y2) / 2) / ((y2 - y1) / 2)) ** 2 + ((x - (x1 + x2) / 2) / ((x2 - x1) / 2)) ** 2 <= 1
    return np.repeat(inside[..., None] * np.uint8(255), 3, axis=2)


def test_boxes_move_as_their_pictures_do() -> None:
    """Draws an ellipse, moves the picture with TensorFlow, and looks where the ellipse has gone."""
    source, side = 280, 224
    rng = np.random.default_rng(0)
    for warp in draw_warps(Augmentation(zoom=(0.7, 1.0), degrees=25.0), 30, (source, side), rng):
        centre, half = rng.uniform(0.45, 0.55, 2), rng.uniform(0.05, 0.15, 2)
        corners = np.concatenate([centre - half, centre + half])
        moved, _, crowd = t.move(_boxes([tuple(corners)]), warp, (source, side))
        seen = _moved_by_tensorflow(_ellipse(corners, source), warp, side) > 127
        rows, columns = np.flatnonzero(seen.any(axis=1)), np.flatnonzero(seen.any(axis=0))
        expected = np.array([rows[0], columns[0], rows[-1] + 1, columns[-1] + 1]) / side
        np.testing.assert_allclose(moved[0], expected, atol=2 / side)
        assert not crowd[0]


def test_what_a_crop_cuts_off() -> None:
    # The right lower quarter of a picture of 100 pixels, as large as the whole.
    warp = np.array([0.5, 0, 50 - 0.25, 0, 0.5, 50 - 0.25, 0, 0], np.float32)
    boxes = _boxes([(0.1, 0.1, 0.2, 0.2), (0.6, 0.6, 0.8, 0.9), (0.4, 0.7, 0.6, 0.8), (0.2, 0.7, 0.55, 0.8)])
    moved, classes, crowd = t.move(boxes, warp, (100, 100))
    assert classes.tolist() == [1, 2, 0]
    np.testing.assert_allclose(moved[0], [0.2, 0.2, 0.6, 0.8], atol=1e-5)
    np.testing.assert_allclose(moved[1], [0.0, 0.4, 0.2, 0.6], atol=1e-5)
    # Half of it is enough to be learned, less is neither learned nor background.
    assert crowd.tolist() == [False, False, True] or crowd.tolist() == [False, True, True]
    assert crowd[2]


@pytest.mark.parametrize("side", [0.02, 0.06, 0.2, 0.5, 0.98])
def test_every_box_gets_anchors_of_its_own(side: float) -> None:
    rng = np.random.default_rng(1)
    centres = rng.uniform(side / 2, 1 - side / 2, (5, 2)) if side < 0.9 else np.full((1, 2), 0.5)
    corners = np.concatenate([centres - side / 2, centres + side / 2], axis=1).astype(np.float32)
    own = t.match(corners, _decoding())
    overlapping = iou(corners, corners) - np.eye(len(corners))
    if overlapping.max(initial=0) < 0.3:
        assert set(np.unique(own)) >= set(range(len(corners)))
    assert (own >= 0).sum() < 100


def test_anchors_of_the_size_of_a_box_are_taken_first() -> None:
    corners = np.array([[0.30, 0.30, 0.65, 0.65]], np.float32)
    decoding = _decoding()
    own = t.match(corners, decoding)
    from mnedge.data.anchors import corners_of

    overlaps = iou(corners_of(decoding.anchors), corners)[:, 0]
    assert own[overlaps.argmax()] == 0
    assert overlaps[own == 0].mean() > 0.4


def test_targets_say_what_is_there() -> None:
    decoding = _decoding()
    corners = np.array([[0.1, 0.1, 0.4, 0.5], [0.5, 0.5, 0.9, 0.9]], np.float32)
    scores, codes = t.targets(corners, np.array([2, 0]), np.array([False, False]), _ALIKE, decoding)
    found = detect(codes[:, :4] * codes[:, 4:], scores, decoding)
    assert sorted(found.classes.tolist()) == [0, 2]
    np.testing.assert_allclose(found.corners[found.classes == 2][0], corners[0], atol=1e-5)
    assert ((scores == 1).sum(axis=1) == codes[:, 4]).all()
    none, nothing = t.targets(corners[:0], np.zeros(0, np.int64), np.zeros(0, bool), _ALIKE, decoding)
    assert not nothing.any()
    assert not none.any()


def test_anchors_on_a_crowd_do_not_count() -> None:
    scores, codes = t.targets(
        np.array([[0.0, 0.0, 1.0, 0.5], [0.1, 0.6, 0.3, 0.8]], np.float32),
        np.array([1, 1]),
        np.array([True, False]),
        _ALIKE,
        _decoding(),
    )
    assert (scores == t.IGNORED).any(axis=1).sum() > 50
    assert codes[:, 4].sum() >= 1
    assert not (scores[codes[:, 4] == 1] == t.IGNORED).any()


def test_focal_loss_against_keras() -> None:
    import keras

    rng = np.random.default_rng(2)
    truth = (rng.random((4, 50, 3)) < 0.1).astype(np.float32)
    scores = rng.uniform(0.01, 0.99, truth.shape).astype(np.float32)
    expected = keras.losses.BinaryFocalCrossentropy(apply_class_balancing=True, alpha=0.5, gamma=2.0, reduction="sum")(
        truth.reshape(-1, 1), scores.reshape(-1, 1)
    )
    np.testing.assert_allclose(float(np.sum(t.score_loss(_ALIKE)(truth, scores))), float(expected), rtol=1e-4)
    ignored = np.where(truth > 0, truth, t.IGNORED).astype(np.float32)
    assert float(np.sum(t.score_loss(_ALIKE)(ignored, scores))) < float(np.sum(t.score_loss(_ALIKE)(truth, scores)))


def test_generalized_iou() -> None:
    one = np.array([[0.0, 0.0, 0.4, 0.4]], np.float32)
    apart = np.array([[0.6, 0.6, 1.0, 1.0]], np.float32)
    half = np.array([[0.0, 0.0, 0.4, 0.2]], np.float32)
    assert float(t.generalized_iou(one, one)[0]) == pytest.approx(1.0, abs=1e-5)
    assert float(t.generalized_iou(one, half)[0]) == pytest.approx(0.5, abs=1e-5)
    # The hull is 1, the union 0.32.
    assert float(t.generalized_iou(one, apart)[0]) == pytest.approx(-0.68, abs=1e-5)


def test_the_loss_of_right_codes_is_nothing() -> None:
    decoding = _decoding()
    corners = np.array([[0.1, 0.1, 0.4, 0.5], [0.5, 0.5, 0.9, 0.9]], np.float32)
    _, codes = t.targets(corners, np.array([2, 0]), np.array([False, False]), _ALIKE, decoding)
    loss = t.box_loss(decoding.anchors)
    assert float(loss(codes[None], codes[None, :, :4])[0]) == pytest.approx(0.0, abs=1e-3)
    off = codes[None, :, :4] + np.float32(1)
    assert float(loss(codes[None], off)[0]) > 0.1


def test_batches_hold_targets_of_moved_boxes() -> None:
    extents = np.full((60, 2), 0.15)
    decoding = _decoding(fitted_shapes(extents))
    pixels = np.zeros((2, 280, 280, 3), np.uint8)
    boxes = [_boxes([(0.3, 0.3, 0.45, 0.45)]), _boxes([])]
    pictures = t.Pictured(pixels, boxes, np.array([0, 1]))
    feed = t.box_feed(pictures, _ALIKE, decoding, Augmentation.of("none"), 224)
    drawn = feed.draw(np.array([0, 1]), np.random.default_rng(0))
    images, (scores, codes), weights = feed.prepare(*drawn)
    assert tuple(images.shape) == (2, 224, 224, 3)
    found = detect(np.asarray(codes)[0, :, :4], np.asarray(scores)[0], decoding)
    np.testing.assert_allclose(found.corners, [[0.3, 0.3, 0.45, 0.45]], atol=0.003)
    assert not np.asarray(scores)[1].any()
    # Summed over the batch, each matched anchor counts once.
    assert float(np.asarray(weights)[0]) * float(np.asarray(codes)[0, :, 4].sum()) / 2 == pytest.approx(1.0)


def test_rare_classes_count_as_much_as_frequent_ones() -> None:
    boxes = [_boxes([(0.1, 0.1, 0.2, 0.2)] * 3), _boxes([(0.1, 0.1, 0.2, 0.2)])]
    weights = t.class_weights(boxes, 4)
    np.testing.assert_allclose(weights, [4 / 6, 4 / 3, 4 / 3, 1.0], rtol=1e-6)
    _, codes = t.targets(boxes[1].corners, np.array([1]), np.array([False]), weights, _decoding())
    assert set(np.unique(codes[:, 4]).tolist()) == {0.0, float(weights[1])}
