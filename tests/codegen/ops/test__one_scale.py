"""Ops that keep the scale: what each refuses where the output has another scale, zero point or dtype."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import numpy as np
import pytest

from mnedge.codegen.lower import lower
from mnedge.errors import UnsupportedError
from mnedge.graph.graph import Graph, Op, Quantization, Tensor, constant

if TYPE_CHECKING:
    from collections.abc import Mapping

_POOL = {"filter_height": 2, "filter_width": 2, "stride_h": 2, "stride_w": 2, "padding": "SAME"}
_CASES: list[tuple[str, Mapping[str, object], list[int] | None, tuple[int, ...], str]] = [
    ("MAX_POOL_2D", _POOL, None, (1, 2, 2, 3), "TFLite pools within one scale"),
    ("AVERAGE_POOL_2D", _POOL, None, (1, 2, 2, 3), "TFLite pools within one scale"),
    ("RESIZE_BILINEAR", {}, [8, 8], (1, 8, 8, 3), "TFLite resizes within one scale"),
    ("TRANSPOSE", {}, [0, 2, 1, 3], (1, 4, 4, 3), "ops that only move bytes keep it"),
]


def _graph(
    case: tuple[str, Mapping[str, object], list[int] | None, tuple[int, ...], str],
    scale: float,
    zero_point: int,
    dtype: Literal["int8", "uint8"],
) -> Graph:
    kind, options, second, shape, _ = case
    tensors = [
        Tensor("x", (1, 4, 4, 3), "int8", Quantization.per_tensor(0.5, 3)),
        Tensor("y", shape, dtype, Quantization.per_tensor(scale, zero_point)),
        *([] if second is None else [constant("c", np.array(second, np.int32))]),
    ]
    inputs = ("x",) if second is None else ("x", "c")
    return Graph(
        ops=(Op(kind, inputs, ("y",), dict(options)),),
        tensors={tensor.name: tensor for tensor in tensors},
        inputs=("x",),
        outputs=("y",),
    )


@pytest.mark.parametrize("case", _CASES, ids=lambda case: case[0])
def test_another_scale_is_refused(
    case: tuple[str, Mapping[str, object], list[int] | None, tuple[int, ...], str],
) -> None:
    lower(_graph(case, 0.5, 3, "int8"))
    for changed in (_graph(case, 0.25, 3, "int8"), _graph(case, 0.5, 4, "int8"), _graph(case, 0.5, 3, "uint8")):
        # Bilinear resizes of uint8 are refused before anybody asks for the scale.
        with pytest.raises(
            UnsupportedError, match=f"{case[0]}.* (changes the scale; {case[-1]}|in another way in uint8)"
        ):
            lower(changed)
