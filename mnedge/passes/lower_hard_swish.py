"""HARD_SWISH to ADD, MUL and a scale: XNNPACK takes no int8 HARD_SWISH."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from mnedge.graph.graph import Graph, Op, Quantization, Tensor
from mnedge.passes._pass import scalar, scaled

if TYPE_CHECKING:
    from collections.abc import Mapping


def apply(graph: Graph) -> Graph:
    """Rewrites y = HARD_SWISH(x) as r = RELU6(x + 3), p = x * r, y = p / 6.

    Exact by definition: hard_swish(x) = x * relu6(x + 3) / 6 (Howard et al. 2019, section 5.2, arXiv:1905.02244).
    The RELU6 is fused into the ADD, and `fold-scale` moves the division into whatever consumes y. In an int8 or
    uint8 graph no calibration is needed: r lies in 0..6, and p takes y's steps with 6 times y's scale, so that the
    division changes no byte.
    """
    ops: list[Op] = []
    tensors: dict[str, Tensor] = {}
    for op in graph.ops:
        if op.kind != "HARD_SWISH":
            ops.append(op)
            continue
        added = _lowered(op, graph.tensors)
        tensors.update(added[0])
        ops += added[1]
    return graph.replaced(tensors=tensors.values(), ops=ops)


def _lowered(op: Op, table: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], list[Op]]:
    source, result = table[str(op.inputs[0])], table[op.outputs[0]]
    three = scalar("three" if source.quantization is None else f"three/{source.dtype}", 3.0, source)
    sixth = scalar("sixth" if source.quantization is None else f"sixth/{source.dtype}", 1 / 6, source)
    gate = Tensor(f"{result.name}/relu6", source.shape, source.dtype)
    product = Tensor(f"{result.name}/times6", source.shape, source.dtype)
    if source.quantization is not None:
        assert result.quantization is not None, result.name
        lowest = int(np.iinfo(source.dtype).min)
        gate = Tensor(gate.name, gate.shape, gate.dtype, Quantization.per_tensor(6 / 255, lowest))
        product = Tensor(product.name, product.shape, product.dtype, scaled(result.quantization, 6.0))
    none = {"activation": "NONE"}
    return {tensor.name: tensor for tensor in (three, sixth, gate, product)}, [
        Op("ADD", (source.name, three.name), (gate.name,), {"activation": "RELU6"}),
        Op("MUL", (source.name, gate.name), (product.name,), none),
        Op("MUL", (product.name, sixth.name), (result.name,), none),
    ]
