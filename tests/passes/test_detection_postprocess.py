"""Post-processing in the file, against the reference decoder: LiteRT's kernel and ONNX Runtime's nodes."""

from pathlib import Path

import numpy as np
import pytest

from mnedge import runtimes
from mnedge.data.anchors import paper_shapes
from mnedge.data.detections import METADATA, Decoding, Detections, detect, metadata_of, of_metadata, of_postprocess
from mnedge.errors import UnsupportedError
from mnedge.formats.custom_options import DETECTION, decode_custom_options
from mnedge.formats.onnx_write import write_onnx
from mnedge.formats.tflite_read import parse_tflite
from mnedge.formats.tflite_write import write_tflite
from mnedge.graph.graph import Graph, Op, Quantization, Tensor, constant
from mnedge.passes.detection_postprocess import OUTPUTS, apply

_CLASSES = 3
_DECODING = Decoding(((5, 5), (3, 3)), paper_shapes(2), least_score=0.2, overlap=0.5, most=20)


def _detector(*, int8: bool = False, decoding: Decoding = _DECODING) -> Graph:
    """Takes codes and scores side by side, (1, anchors, 4 + classes), and gives them as a detector would."""
    count = len(decoding.anchors)
    tensors = [Tensor("image", (1, count, 4 + _CLASSES), "float32")]
    ops = []
    for name, start, size, scale in (("boxes", 0, 4, 0.05), ("scores", 4, _CLASSES, 1 / 256)):
        begin, sizes = np.array([0, 0, start], np.int32), np.array([1, count, size], np.int32)
        made = f"{name}_real" if int8 else name
        tensors += [constant(f"{name}_begin", begin), constant(f"{name}_size", sizes)]
        tensors.append(Tensor(made, (1, count, size), "float32"))
        ops.append(Op("SLICE", ("image", f"{name}_begin", f"{name}_size"), (made,)))
        if int8:
            steps = Quantization.per_tensor(scale, -128 if name == "scores" else 3)
            tensors.append(Tensor(name, (1, count, size), "int8", steps))
            ops.append(Op("QUANTIZE", (made,), (name,)))
    table = {tensor.name: tensor for tensor in tensors}
    return Graph(table, tuple(ops), ("image",), ("boxes", "scores"), {METADATA: metadata_of(decoding)})


def _raw(seed: int, decoding: Decoding = _DECODING) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    count = len(decoding.anchors)
    return rng.normal(0, 2, (count, 4)).astype(np.float32), rng.beta(0.5, 2, (count, _CLASSES)).astype(np.float32)


def _found(path: Path, boxes: np.ndarray, scores: np.ndarray) -> Detections:
    session = runtimes.get(runtimes.for_file(path)).open(path, 1)
    outputs = session.run(np.concatenate([boxes, scores], axis=1)[None])
    assert [output.shape for output in outputs] == [(1, 20, 4), (1, 20), (1, 20), (1,)]
    return of_postprocess(outputs)


def _same(one: Detections, other: Detections) -> None:
    np.testing.assert_allclose(one.scores, other.scores, atol=1e-6)
    np.testing.assert_array_equal(one.classes, other.classes)
    np.testing.assert_allclose(one.corners, other.corners, atol=1e-5)


@pytest.mark.parametrize("suffix", [".tflite", ".onnx"])
def test_float_against_the_reference(tmp_path: Path, suffix: str) -> None:
    graph = apply(_detector())
    path = tmp_path / f"d{suffix}"
    path.write_bytes(write_tflite(graph) if suffix == ".tflite" else write_onnx(graph))
    for seed in range(10):
        boxes, scores = _raw(seed)
        expected = detect(boxes, scores, _DECODING)
        assert len(expected.scores) > 5
        _same(_found(path, boxes, scores), expected)


@pytest.mark.parametrize("suffix", [".tflite", ".onnx"])
def test_int8_branches_keep_their_own_ranges(tmp_path: Path, suffix: str) -> None:
    graph = apply(_detector(int8=True))
    assert [op.kind for op in graph.ops].count("DEQUANTIZE") == 2
    path = tmp_path / f"d{suffix}"
    path.write_bytes(write_tflite(graph) if suffix == ".tflite" else write_onnx(graph))
    boxes, scores = _raw(3)
    # Scores with gaps of a step between them, so that no tie may be ranked either way.
    steps = np.random.default_rng(3).permutation(scores.size).reshape(scores.shape) % 255
    scores = (steps / 256).astype(np.float32)
    of_boxes, of_scores = (graph.tensors[name].quantization for name in ("boxes", "scores"))
    assert of_boxes is not None
    assert of_scores is not None
    rounded = (of_boxes.dequantize(of_boxes.quantize(boxes, "int8")),
               of_scores.dequantize(of_scores.quantize(scores, "int8")))  # fmt: skip
    _same(_found(path, boxes, scores), detect(*rounded, _DECODING))


@pytest.mark.parametrize("suffix", [".tflite", ".onnx"])
def test_a_picture_without_objects(tmp_path: Path, suffix: str) -> None:
    graph = apply(_detector())
    path = tmp_path / f"d{suffix}"
    path.write_bytes(write_tflite(graph) if suffix == ".tflite" else write_onnx(graph))
    boxes, scores = _raw(0)
    assert _found(path, boxes, scores * 0).corners.shape == (0, 4)


def test_the_file_says_what_it_does() -> None:
    graph = parse_tflite(write_tflite(apply(_detector())), "a detector")
    assert graph.outputs == OUTPUTS
    assert graph.ops[-1].kind == DETECTION
    options = decode_custom_options(graph.ops[-1].options["custom_options"])
    assert options["num_classes"] == _CLASSES
    assert options["nms_score_threshold"] == pytest.approx(0.2)
    assert of_metadata(graph.metadata[METADATA]).as_json() == _DECODING.as_json()


def test_what_is_no_detector_is_left_alone(small_int8: Graph) -> None:
    assert apply(small_int8) is small_int8
    done = apply(_detector())
    assert apply(done) is done


def test_suppression_across_classes_has_no_onnx_form() -> None:
    graph = apply(_detector())
    from mnedge.formats.custom_options import encode_custom_options

    op = graph.ops[-1]
    options = {**decode_custom_options(op.options["custom_options"]), "use_regular_nms": False}
    changed = graph.replaced(ops=[*graph.ops[:-1], op.with_options(custom_options=encode_custom_options(options))])
    with pytest.raises(UnsupportedError, match="use_regular_nms"):
        write_onnx(changed)
