import numpy as np
import pytest

from mnedge.data import anchors as a


def _boxes(count: int, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    ends = np.sort(rng.uniform(0, 1, (count, 2, 2)), axis=1)
    ends[:, 1] += 0.01
    return ends.reshape(count, 4).astype(np.float32)


def test_scales_of_the_paper() -> None:
    # Liu et al., eq. 4, with SSDLite's ends: 0.2, 0.35, 0.5, 0.65, 0.8, 0.95.
    shapes = a.paper_shapes()
    assert shapes.shape == (6, 6, 2)
    np.testing.assert_allclose(shapes[:, 0, 0], [0.2, 0.35, 0.5, 0.65, 0.8, 0.95], rtol=1e-6)
    np.testing.assert_allclose(shapes[:, 0], shapes[:, 0, ::-1])
    # Every ratio keeps the area; the ratio is width to height.
    np.testing.assert_allclose(shapes[:, :5].prod(axis=2), np.repeat(shapes[:, :1, 0] ** 2, 5, axis=1), rtol=1e-5)
    np.testing.assert_allclose(shapes[0, :5, 1] / shapes[0, :5, 0], [1, 2, 0.5, 3, 1 / 3], rtol=1e-5)
    np.testing.assert_allclose(shapes[0, 5], np.sqrt(0.2 * 0.35), rtol=1e-6)


def test_anchors_stand_on_the_cells_in_the_order_of_a_convolution() -> None:
    shapes = a.paper_shapes(2)
    placed = a.place_anchors([(2, 3), (1, 1)], shapes)
    assert placed.shape == ((6 + 1) * 6, 4)
    assert placed.dtype == np.float32
    np.testing.assert_allclose(placed[6, :2], [0.25, 0.5])
    np.testing.assert_allclose(placed[-1, :2], [0.5, 0.5])
    np.testing.assert_allclose(placed[6:12, 2:], shapes[0])


def test_decoding_undoes_encoding() -> None:
    boxes, placed = _boxes(500), a.place_anchors([(25, 20)], a.paper_shapes(1)[:, :1])
    np.testing.assert_allclose(a.decode(a.encode(boxes, placed), placed), boxes, atol=1e-5)


def test_codes_of_a_moved_and_grown_anchor() -> None:
    anchor = np.array([[0.5, 0.5, 0.2, 0.1]], np.float32)
    # Moved down by half its height, and twice as wide.
    box = np.array([[0.5, 0.4, 0.7, 0.6]], np.float32)
    np.testing.assert_allclose(a.encode(box, anchor), [[5.0, 0.0, 0.0, 5 * np.log(2)]], atol=1e-5)


def test_decoding_takes_tensors() -> None:
    tf = pytest.importorskip("tensorflow")
    boxes, placed = _boxes(10), a.place_anchors([(10, 1)], a.paper_shapes(1)[:, :1])
    codes = a.encode(boxes, placed)
    np.testing.assert_allclose(a.decode_tensor(tf.constant(codes[None]), placed)[0], boxes, atol=1e-5)


def test_iou_against_counting_pixels() -> None:
    rng = np.random.default_rng(1)
    ends = np.sort(rng.integers(0, 21, (40, 2, 2)), axis=1).reshape(40, 4)
    ends = ends[(ends[:, 2:] > ends[:, :2]).all(axis=1)]
    masks = np.zeros((len(ends), 20, 20), bool)
    for mask, (y1, x1, y2, x2) in zip(masks, ends, strict=True):
        mask[y1:y2, x1:x2] = True
    flat = masks.reshape(len(ends), -1).astype(float)
    shared = flat @ flat.T
    expected = shared / (flat.sum(1)[:, None] + flat.sum(1)[None] - shared)
    boxes = (ends / 20).astype(np.float32)
    np.testing.assert_allclose(a.iou(boxes, boxes), expected, atol=1e-5)


def test_iou_of_nothing_is_nothing() -> None:
    point = np.array([[0.5, 0.5, 0.5, 0.5]], np.float32)
    assert a.iou(point, point)[0, 0] == 0
    assert a.iou(np.zeros((0, 4), np.float32), point).shape == (0, 1)


def test_fitted_anchors_overlap_small_boxes_that_the_papers_miss() -> None:
    rng = np.random.default_rng(2)
    cells = rng.normal([0.19, 0.17], 0.01, (400, 2))
    platelets = rng.normal([0.08, 0.06], 0.004, (30, 2))
    extents = np.concatenate([cells, platelets])
    fitted, paper = a.fitted_shapes(extents), a.paper_shapes()

    def best(shapes: np.ndarray, boxes: np.ndarray) -> float:
        return float(a.shape_iou(boxes, shapes.reshape(-1, 2)).max(axis=1).mean())

    assert best(fitted, cells) > 0.85
    assert best(fitted, platelets) > 0.75
    assert best(paper, platelets) < 0.25
    # Maps without boxes of their size keep what they had.
    np.testing.assert_array_equal(fitted[3:], paper[3:])


def test_few_boxes_change_nothing() -> None:
    np.testing.assert_array_equal(a.fitted_shapes(np.full((5, 2), 0.1)), a.paper_shapes())
    np.testing.assert_array_equal(a.fitted_shapes(np.zeros((0, 2))), a.paper_shapes())


def test_fitting_equal_boxes_gives_anchors_of_that_size() -> None:
    shapes = a.fitted_shapes(np.full((100, 2), 0.5))
    assert np.isfinite(shapes).all()
    assert (shapes > 0).all()
    assert (np.abs(shapes[2] - 0.5).max(axis=1) < 1e-6).any()
