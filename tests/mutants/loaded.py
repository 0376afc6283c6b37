"""What other tests hold and the campaign starts from too: texts, mutations, fixtures."""

from __future__ import annotations

import importlib.util
from functools import cache
from pathlib import Path
from typing import Any, Literal


@cache
def loaded(name: str) -> Any:
    """A test module by its path below tests/."""
    path = Path(__file__).parent.parent / name
    spec = importlib.util.spec_from_file_location(f"loaded_{name.replace('/', '_').removesuffix('.py')}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def value_of(fixture: Any) -> Any:
    """What a fixture without arguments gives; pytest 8.4 and later hide its function elsewhere."""
    if hasattr(fixture, "_get_wrapped_function"):
        return fixture._get_wrapped_function()()
    return fixture.__pytest_wrapped__.obj()


def network(dtype: Literal["float32", "int8"]) -> bytes:
    """A .tflite of 8 x 8 x 3 to 4 classes."""
    import numpy as np

    from mnedge.formats.tflite_write import write_tflite
    from mnedge.graph.graph import Graph, Op, Tensor, constant

    if dtype == "int8":
        return write_tflite(value_of(loaded("conftest.py").small_int8))
    rng = np.random.default_rng(4)
    tensors = [
        Tensor("image", (1, 8, 8, 3), dtype),
        constant("weights", rng.normal(0, 0.3, (4, 3, 3, 3)).astype(np.float32)),
        constant("bias", rng.normal(0, 0.1, 4).astype(np.float32)),
        Tensor("conv", (1, 4, 4, 4), dtype),
        constant("axes", np.array([1, 2], np.int32)),
        Tensor("mean", (1, 4), dtype),
        Tensor("scores", (1, 4), dtype),
    ]
    window = {"stride_h": 2, "stride_w": 2, "dilation_h_factor": 1, "dilation_w_factor": 1, "activation": "RELU"}
    ops = (
        Op("CONV_2D", ("image", "weights", "bias"), ("conv",), {"padding": "SAME", **window}),
        Op("MEAN", ("conv", "axes"), ("mean",), {"keep_dims": False}),
        Op("SOFTMAX", ("mean",), ("scores",), {"beta": 1.0}),
    )
    return write_tflite(Graph({tensor.name: tensor for tensor in tensors}, ops, ("image",), ("scores",)))
