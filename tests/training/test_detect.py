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


def _split(wanted: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    return wanted[..., :3], wanted[..., 3:7], wanted[..., 7]


def test_targets_say_what_is_there() -> None:
    decoding = _decoding()
    corners = np.array([[0.1, 0.1, 0.4, 0.5], [0.5, 0.5, 0.9, 0.9]], np.float32)
    scores, codes, counts = _split(t.targets(corners, np.array([2, 0]), np.array([False, False]), _ALIKE, decoding))
    found = detect(codes, scores, decoding)
    assert sorted(found.classes.tolist()) == [0, 2]
    np.testing.assert_allclose(found.corners[found.classes == 2][0], corners[0], atol=1e-5)
    assert ((scores == 1).sum(axis=1) == counts).all()
    assert not t.targets(corners[:0], np.zeros(0, np.int64), np.zeros(0, bool), _ALIKE, decoding).any()


def test_anchors_on_a_crowd_do_not_count() -> None:
    scores, _, counts = _split(
        t.targets(
            np.array([[0.0, 0.0, 1.0, 0.5], [0.1, 0.6, 0.3, 0.8]], np.float32),
            np.array([1, 1]),
            np.array([True, False]),
            _ALIKE,
            _decoding(),
        )
    )
    assert (scores == t.IGNORED).any(axis=1).sum() > 50
    assert counts.sum() >= 1
    assert not (scores[counts == 1] == t.IGNORED).any()


def test_background_loss_against_keras() -> None:
    """Where nothing is marked, varifocal loss is the focal loss of Keras."""
    import keras

    decoding = _decoding()
    count = len(decoding.anchors)
    said = np.zeros((2, count, 7), np.float32)
    said[..., :3] = np.random.default_rng(2).uniform(0.01, 0.99, (2, count, 3))
    nothing = np.zeros((2, count, 8), np.float32)
    found = np.asarray(t.detection_loss(decoding, _ALIKE)(nothing, said))
    focal = keras.losses.BinaryFocalCrossentropy(apply_class_balancing=True, alpha=0.5, gamma=2.0, reduction="sum")
    for place in range(2):
        expected = float(focal(nothing[place, :, :3].reshape(-1, 1), said[place, :, :3].reshape(-1, 1)))
        assert float(found[place]) == pytest.approx(expected, rel=1e-3)
    ignored = nothing.copy()
    ignored[..., :3] = t.IGNORED
    assert np.abs(np.asarray(t.detection_loss(decoding, _ALIKE)(ignored, said))).max() == 0


def test_plain_and_generalized_iou() -> None:
    one = np.array([[0.0, 0.0, 0.4, 0.4]], np.float32)
    apart = np.array([[0.6, 0.6, 1.0, 1.0]], np.float32)
    half = np.array([[0.0, 0.0, 0.4, 0.2]], np.float32)
    assert [float(iou[0]) for iou in t.overlaps_of(one, one)] == pytest.approx([1.0, 1.0], abs=1e-5)
    assert [float(iou[0]) for iou in t.overlaps_of(one, half)] == pytest.approx([0.5, 0.5], abs=1e-5)
    # The hull is 1, the union 0.32.
    assert [float(iou[0]) for iou in t.overlaps_of(one, apart)] == pytest.approx([0.0, -0.68], abs=1e-5)


def test_a_score_should_be_the_iou_of_its_box() -> None:
    """Of all scores of a matched anchor, the one that equals the IoU of the anchor's box loses least."""
    decoding = _decoding()
    corners = np.array([[0.1, 0.1, 0.4, 0.5]], np.float32)
    wanted = t.targets(corners, np.array([2]), np.array([False]), _ALIKE, decoding)
    scores, codes, _ = _split(wanted)
    place = int(scores[:, 2].argmax())
    loss = t.detection_loss(decoding, _ALIKE)
    tried = np.linspace(0.05, 0.95, 19)
    said = np.zeros((tried.size, len(scores), 7), np.float32)
    said[..., 3:] = codes + np.array([0.0, 0.0, 5 * np.log(0.8), 0.0], np.float32)
    said[:, place, 2] = tried
    losses = np.asarray(loss(np.repeat(wanted[None], tried.size, axis=0), said))
    assert tried[losses.argmin()] == pytest.approx(0.8, abs=0.03)
    # Right boxes, surely scored, lose next to nothing.
    right = np.concatenate([scores, codes], axis=1)[None]
    assert float(np.asarray(loss(wanted[None], right))[0]) < 0.01


def test_batches_hold_targets_of_moved_boxes() -> None:
    extents = np.full((60, 2), 0.15)
    decoding = _decoding(fitted_shapes(extents))
    pixels = np.zeros((2, 280, 280, 3), np.uint8)
    boxes = [_boxes([(0.3, 0.3, 0.45, 0.45)]), _boxes([])]
    pictures = t.Pictured(pixels, boxes, np.array([0, 1]))
    feed = t.box_feed(pictures, _ALIKE, decoding, Augmentation.of("none"), 224)
    drawn = feed.draw(np.array([0, 1]), np.random.default_rng(0))
    images, wanted, weights = feed.prepare(*drawn)
    scores, codes, counts = _split(np.asarray(wanted))
    assert tuple(images.shape) == (2, 224, 224, 3)
    found = detect(codes[0], scores[0], decoding)
    np.testing.assert_allclose(found.corners, [[0.3, 0.3, 0.45, 0.45]], atol=0.003)
    assert not scores[1].any()
    # Summed over the batch, each matched anchor counts once.
    assert float(np.asarray(weights)[0]) * float(counts[0].sum()) / 2 == pytest.approx(1.0)


def test_rare_classes_count_more() -> None:
    boxes = [_boxes([(0.1, 0.1, 0.2, 0.2)] * 3), _boxes([(0.1, 0.1, 0.2, 0.2)])]
    weights = t.class_weights(boxes, 4)
    np.testing.assert_allclose(weights, np.sqrt([4 / 6, 4 / 3, 4 / 3, 1.0]), rtol=1e-6)
    wanted = t.targets(boxes[1].corners, np.array([1]), np.array([False]), weights, _decoding())
    assert set(np.unique(wanted[:, -1]).tolist()) == {0.0, float(weights[1])}


@pytest.mark.slow
def test_scores_and_codes_meet_in_the_joined_outputs() -> None:
    from mnedge.models import Variant
    from mnedge.models.build import build_model

    model = build_model(Variant("v2", 0.35, 96, 3, head="ssdlite"), "random")
    pixels = np.random.default_rng(0).integers(0, 256, (1, 96, 96, 3)).astype(np.uint8)
    said = t.predictor(t.with_joined_outputs(model))(pixels)
    scores, boxes = model(pixels.astype(np.float32) / 127.5 - 1, training=False)
    np.testing.assert_allclose(said, np.concatenate([scores, boxes], axis=2), rtol=1e-3, atol=1e-3)
