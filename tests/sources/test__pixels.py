"""The range of pixels that the first ops of a graph show."""

import numpy as np
import pytest

from mnedge.graph.graph import Graph, Op, Tensor, constant
from mnedge.sources._pixels import pixels_of_graph


def _graph(*ops: tuple[str, object], channels: int = 3, reverse: bool = False) -> Graph:
    """An input, ops with constants, and a convolution."""
    tensors = [Tensor("image", (1, 8, 8, channels), "float32")]
    made: list[Op] = []
    name = "image"
    if reverse:
        tensors += [Tensor("turned", (1, 8, 8, channels), "float32"), constant("axis", np.array([3], np.int32))]
        made.append(Op("REVERSE_V2", (name, "axis"), ("turned",)))
        name = "turned"
    for place, (kind, value) in enumerate(ops):
        tensors += [
            Tensor(f"t{place}", (1, 8, 8, channels), "float32"),
            constant(f"c{place}", np.asarray(value, np.float32)),
        ]
        made.append(Op(kind, (name, f"c{place}"), (f"t{place}",)))
        name = f"t{place}"
    tensors += [
        constant("w", np.ones((2, 1, 1, channels), np.float32)),
        constant("b", np.zeros(2, np.float32)),
        Tensor("out", (1, 8, 8, 2), "float32"),
    ]
    options = {"padding": "SAME", "stride_h": 1, "stride_w": 1}
    made.append(Op("CONV_2D", (name, "w", "b"), ("out",), options))
    return Graph({tensor.name: tensor for tensor in tensors}, tuple(made), ("image",), ("out",))


_MEAN, _DEVIATION = [123.7, 116.3, 103.5], [58.4, 57.1, 57.4]


@pytest.mark.parametrize(
    ("ops", "words"),
    [
        ([("MUL", 1 / 127.5), ("ADD", -1.0)], "0..255"),
        ([("MUL", 1 / 255)], "0..255"),
        ([("DIV", 255.0)], "0..255"),
        ([("DIV", 256.0)], "0..255"),
        ([("DIV", 255.0), ("SUB", 0.5)], "0..255"),
        ([("SUB", 127.5), ("DIV", 127.5)], "0..255"),
        ([("SUB", 128.0), ("MUL", 1 / 128)], "0..255"),
        ([("SUB", _MEAN), ("DIV", _DEVIATION)], "0..255"),
        ([("DIV", 255.0), ("SUB", [0.485, 0.456, 0.406]), ("DIV", [0.229, 0.224, 0.225])], "0..255"),
        ([("SUB", [103.939, 116.779, 123.68])], "0..255"),
        ([("SUB", [33.3]), ("DIV", [78.6])], "0..255"),
        ([("MUL", 2.0), ("SUB", 1.0)], "0..1"),
        ([("SUB", [0.485, 0.456, 0.406]), ("DIV", [0.229, 0.224, 0.225])], "0..1"),
        ([("SUB", 0.48), ("DIV", 0.23)], "0..1"),
        ([("SUB", [-0.03, -0.09, -0.19]), ("DIV", [0.46, 0.45, 0.45])], "-1..1"),
    ],
)
def test_constants_show_the_range(ops: list[tuple[str, object]], words: str) -> None:
    assert str(pixels_of_graph(_graph(*ops))) == words


@pytest.mark.parametrize(
    "ops",
    [
        [],
        [("MUL", 1.0), ("ADD", 0.0)],
        # An adapted layer that never saw data, and values that pixels of two ranges could have.
        [("SUB", [0.0, 0.0, 0.0]), ("DIV", [1.0, 1.0, 1.0])],
        [("SUB", 0.13), ("DIV", 0.31)],
        [("SUB", 1.5), ("DIV", 1.0)],
        [("SUB", 2000.0), ("DIV", 500.0)],
        [("MUL", -1.0), ("ADD", 1.0)],
        [("MUL", 3.0)],
    ],
)
def test_anything_else_shows_nothing(ops: list[tuple[str, object]]) -> None:
    assert pixels_of_graph(_graph(*ops)) is None


def test_channels_may_be_turned_around_and_counted_otherwise() -> None:
    found = pixels_of_graph(_graph(("SUB", [103.939, 116.779, 123.68]), reverse=True))
    assert str(found) == "0..255"
    assert str(pixels_of_graph(_graph(("DIV", 255.0), channels=1))) == "0..255 GREY"
    assert str(pixels_of_graph(_graph(("DIV", 255.0), channels=4))) == "0..255 RGBA"
    assert pixels_of_graph(_graph(("DIV", 255.0), channels=5)) is None


def test_channels_may_be_sliced_and_stacked_the_other_way_around() -> None:
    graph = _graph(("SUB", [103.939, 116.779, 123.68]))
    slices = [constant(f"{end}{place}", np.array([0, 0, 0, place], np.int32)) for place in range(4) for end in "be"]
    ones = [Tensor(f"s{place}", (1, 8, 8), "float32") for place in range(3)]
    turned = Tensor("turned", (1, 8, 8, 3), "float32")
    options = {"begin_mask": 7, "end_mask": 7, "shrink_axis_mask": 8}
    strides = constant("strides", np.ones(4, np.int32))
    cut = [
        Op("STRIDED_SLICE", ("image", f"b{place}", f"e{place + 1}", "strides"), (f"s{place}",), options)
        for place in range(3)
    ]

    def stacked(*order: str) -> Graph:
        pack = Op("PACK", order, ("turned",), {"axis": 3, "values_count": 3})
        others = [op.with_inputs({"image": "turned"}) for op in graph.ops]
        return graph.replaced(tensors=[*slices, *ones, turned, strides], ops=[*cut, pack, *others])

    assert str(pixels_of_graph(stacked("s2", "s1", "s0"))) == "0..255"
    assert pixels_of_graph(stacked("s1", "s2", "s0")) is None
