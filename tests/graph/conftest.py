"""LiteRT's reference kernels as the judge of single ops."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from mnedge.formats.tflite_write import write_tflite

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mnedge.graph.graph import Graph


def _reference(graph: Graph, feeds: Mapping[str, np.ndarray[Any, Any]]) -> np.ndarray[Any, Any]:
    """First output of BUILTIN_REF for a batch, picture by picture; feeds have the dtype of their tensors."""
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    # BUILTIN_REF of ai-edge-litert 2.3 gives an int8 SUM below zero as -1 and above 127 as something else.
    # It has no CEIL, ELU and ROUND.
    lacking = any(op.kind in ("CEIL", "ELU", "ROUND", "SUM") for op in graph.ops)
    kernels = OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES if lacking else OpResolverType.BUILTIN_REF
    interpreter = Interpreter(model_content=write_tflite(graph), experimental_op_resolver_type=kernels)
    interpreter.allocate_tensors()
    places = {detail["name"]: detail["index"] for detail in interpreter.get_input_details()}
    output = interpreter.get_output_details()[0]["index"]
    results = []
    for number in range(len(next(iter(feeds.values())))):
        for name, value in feeds.items():
            interpreter.set_tensor(places[name], value[number : number + 1])
        interpreter.invoke()
        results.append(interpreter.get_tensor(output))
    return np.concatenate(results)


@pytest.fixture(name="judge", scope="session")
def judge_fixture() -> Any:
    return _reference
