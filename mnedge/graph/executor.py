"""A Graph as a differentiable TensorFlow function over a batch of images.

The graph's own batch is 1; here the first dimension of every activation may be any number. What is trained
through this executor is what is shipped: the same ops, on the same constants, in the same order.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from mnedge.batch import batch_of, fed_dtype
from mnedge.errors import UnsupportedError
from mnedge.graph.arithmetic import PIXEL_NUDGE
from mnedge.graph.kernels import KERNELS, activated

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from numpy.typing import NDArray
    from tensorflow.types.experimental import TensorLike

    from mnedge.batch import Samples
    from mnedge.graph.graph import Graph, Op, Tensor
    from mnedge.untyped import AnyArray

OnTensor: TypeAlias = "Callable[[str, TensorLike], TensorLike]"


def execute(
    graph: Graph,
    feeds: Mapping[str, TensorLike],
    *,
    values: Mapping[str, TensorLike] | None = None,
    on_tensor: OnTensor | None = None,
    ops: Iterable[Op] | None = None,
) -> dict[str, TensorLike]:
    """Runs ops in real arithmetic and returns every activation.

    Quantized constants take part as the real numbers they stand for; QUANTIZE and DEQUANTIZE pass through, so
    an int8 graph runs as the float graph that it approximates, unless `on_tensor` rounds (see `simulate`).

    Args:
        graph: The graph, float or quantized.
        feeds: Activations by name that the ops start from, float32, first dimension the batch.
        values: Real values that stand in for constants, by name (shape and layout of the constant).
        on_tensor: Called with the name and value of every activation that an op makes; its result takes
            the value's place. Feeds are given to it too.
        ops: The ops to run, in order; all by default.

    Returns:
        Activations by name, feeds included.

    Raises:
        UnsupportedError: An op that has no real-valued form here, or that mixes pictures of a batch.
    """
    import tensorflow as tf

    # As an array, a feed would pass for a constant, which kernels repeat for each picture of a batch.
    fed = {
        name: value if graph.tensors[name].is_constant else tf.convert_to_tensor(value) for name, value in feeds.items()
    }
    env: dict[str, TensorLike] = {
        name: value if on_tensor is None else on_tensor(name, value) for name, value in fed.items()
    }
    constants = dict(values or {})
    for op in graph.ops if ops is None else ops:
        kernel = KERNELS.get(op.kind)
        if kernel is None:
            raise UnsupportedError(
                f"{op.kind} cannot be executed in TensorFlow (it makes {op.outputs[0]}); "
                f"these can: {', '.join(KERNELS)}; export the model without it"
            )
        for name in op.inputs:
            if name is not None and name not in env and name not in constants:
                constants[name] = _constant(graph.tensors[name])
        arguments = [None if name is None else env.get(name, constants.get(name)) for name in op.inputs]
        made = kernel(op, arguments, graph)
        results = made if isinstance(made, list) else [activated(made, op)]
        for name, result in zip(op.outputs, results, strict=True):
            env[name] = result if on_tensor is None else on_tensor(name, result)
    return env


def compiled(
    graph: Graph, outputs: Sequence[str] | None = None, *, on_tensor: OnTensor | None = None
) -> Callable[[Samples], list[AnyArray]]:
    """Builds a function from samples (see `Batch`) to some activations of the graph.

    Args:
        graph: The graph, float or quantized.
        outputs: Names of what the function returns; the graph's outputs by default.
        on_tensor: See `execute`.
    """
    import tensorflow as tf

    names = tuple(graph.outputs if outputs is None else outputs)
    inputs = [graph.tensors[name] for name in graph.inputs]
    signature = [tf.TensorSpec((None, *tensor.shape[1:]), fed_dtype(tensor)) for tensor in inputs]

    @tf.function(input_signature=signature, autograph=False)  # type: ignore[untyped-decorator]
    def run(*values: TensorLike) -> list[TensorLike]:
        env = execute(graph, dict(zip(graph.inputs, values, strict=True)), on_tensor=on_tensor)
        return [env[name] for name in names]

    def made(samples: Samples) -> list[AnyArray]:
        values = batch_of(graph.inputs, samples).arrays.values()
        return [value.numpy() for value in run(*(tf.constant(value) for value in values))]

    return made


def predict(
    graph: Graph, images: Samples, *, on_tensor: OnTensor | None = None, batch: int = 32
) -> NDArray[np.float32]:
    """The first output of a graph for many samples, computed in batches.

    Args:
        graph: The graph, float or quantized.
        images: float32 (N, height, width, channels), or a `Batch` of N samples.
        on_tensor: See `execute`.
        batch: Samples at a time.

    Returns:
        (N, …) as the graph's first output.
    """
    run = compiled(graph, graph.outputs[:1], on_tensor=on_tensor)
    return np.concatenate([run(images[start : start + batch])[0] for start in range(0, len(images), batch)])


def simulate(graph: Graph, *, without: frozenset[str] = frozenset()) -> OnTensor:
    """Rounds every quantized activation of an int8 or uint8 graph to its own steps; for `execute(on_tensor=…)`.

    Together with `execute` this is the integer model in real arithmetic (Jacob et al. 2018, eq. 1,
    arXiv:1712.05877): it differs from integer kernels only where a kernel's own rounding does.

    Args:
        graph: The quantized graph.
        without: Names of activations that stay real.
    """
    import tensorflow as tf

    limits = {"int8": (-128, 127), "uint8": (0, 255), "int16": (-32768, 32767)}

    def on_tensor(name: str, value: TensorLike) -> TensorLike:
        tensor = graph.tensors[name]
        if tensor.quantization is None or tensor.dtype not in limits or name in without:
            return value
        scale, zero_point = tensor.quantization.broadcast(len(tensor.shape))
        low, high = limits[tensor.dtype]
        nudge = PIXEL_NUDGE if name in graph.inputs else 0.0
        steps = tf.floor(value / scale + (0.5 + nudge)) if nudge else tf.round(value / scale)
        steps = tf.clip_by_value(steps + zero_point.astype(np.float32), float(low), float(high))
        return (steps - zero_point.astype(np.float32)) * scale

    return on_tensor


def _constant(tensor: Tensor) -> AnyArray:
    assert tensor.data is not None, f"{tensor.name} is neither fed, made nor constant"
    if tensor.quantization is None and not tensor.dtype.startswith("float"):
        return tensor.data
    return tensor.real()
