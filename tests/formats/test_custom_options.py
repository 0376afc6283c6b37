"""Options of custom ops, against FlatBuffers' own builder."""

import numpy as np
import pytest
from flatbuffers import flexbuffers

from mnedge.formats.custom_options import DETECTION, decode_custom_options, detection_order, detection_shapes
from mnedge.graph.graph import Graph, Op, Tensor


def _packed(**options: object) -> bytes:
    builder = flexbuffers.Builder()
    with builder.Map():
        for name, value in options.items():
            builder.Key(name)
            if isinstance(value, float):
                # The converter writes float32.
                builder.Float(value, byte_width=4)
            else:
                builder.Add(value)
    return bytes(builder.Finish())


def test_numbers_flags_and_texts_come_back() -> None:
    data = _packed(max_detections=10, nms_iou_threshold=0.6, use_regular_nms=True, name="a")
    assert decode_custom_options(data) == {
        "max_detections": 10,
        "name": "a",
        "nms_iou_threshold": 0.6,
        "use_regular_nms": True,
    }


@pytest.mark.parametrize("data", [b"", b"\x01", b"no flexbuffer at all", bytes(100), b"\xff" * 64, bytes(1 << 17)])
def test_what_is_no_map_has_no_options(data: bytes) -> None:
    assert decode_custom_options(data) == {}


def test_damage_is_no_crash(request: pytest.FixtureRequest) -> None:
    data = _packed(max_detections=10, nms_iou_threshold=0.6, use_regular_nms=True, num_classes=90, y_scale=10.0)
    rng = np.random.default_rng(3)
    for _ in range(request.config.getoption("--fuzz")):
        damaged = bytearray(data)
        for place in rng.integers(0, len(data), 3):
            damaged[place] = rng.integers(0, 256)
        assert isinstance(decode_custom_options(bytes(damaged)), dict)


def test_the_shapes_of_detections_follow_from_the_options() -> None:
    outputs = ("boxes", "classes", "scores", "count")
    op = Op(DETECTION, ("a", "b", "c"), outputs, {"custom_options": _packed(max_detections=7)})
    assert detection_shapes(op) == [(1, 7, 4), (1, 7), (1, 7), (1,)]
    twice = _packed(max_detections=7, max_classes_per_detection=2)
    assert detection_shapes(op.with_options(custom_options=twice))[0] == (1, 14, 4)
    assert detection_shapes(op.with_options(custom_options=b"")) == []


def test_the_order_of_detections_is_that_of_the_op() -> None:
    names = ("boxes", "classes", "scores", "count")
    tensors = {name: Tensor(name, (), "float32") for name in (*names, "other")}
    tensors["x"] = Tensor("x", (1, 4), "float32")
    op = Op(DETECTION, ("x",), names, {"custom_options": b""})
    assert detection_order(Graph(tensors, (op,), ("x",), names)) == (0, 1, 2, 3)
    assert detection_order(Graph(tensors, (op,), ("x",), ("scores", "boxes", "count", "classes"))) == (1, 3, 0, 2)
    assert detection_order(Graph(tensors, (op,), ("x",), ("scores", "boxes"))) == ()
