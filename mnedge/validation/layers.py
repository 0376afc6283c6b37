"""Noise of every tensor of an int8 model, and its cost at the output."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from mnedge.batch import batch_of
from mnedge.errors import InputError
from mnedge.graph.executor import execute, simulate
from mnedge.graph.heads import Head, decibels, head_of, same_answers
from mnedge.results.inspection import Agreement, Histogram, LayerNoise, OutputNoise, TensorNoise

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from numpy.typing import NDArray
    from tensorflow.types.experimental import TensorLike

    from mnedge.batch import Samples
    from mnedge.graph.graph import Graph, Op, Tensor
    from mnedge.untyped import AnyArray

_BATCH = 8
_BINS = 48
# 10 dB: as a ratio of powers.
_SAME_WEIGHTS = 10.0


@dataclass
class _Tally:
    """Sums over batches for one tensor."""

    op: str
    tensor: Tensor
    index: int
    real_weights: NDArray[np.float32] | None = None
    signal: float = 0.0
    noise: float = 0.0
    same_class: float = 0.0
    output_noise: float = 0.0
    clipped: int = 0
    count: int = 0
    low: float = math.inf
    high: float = -math.inf
    edges: NDArray[np.float64] = field(default_factory=lambda: np.zeros(0))
    bins: NDArray[np.int64] = field(default_factory=lambda: np.zeros(_BINS, np.int64))


@dataclass
class _Totals:
    """Sums over batches for the output."""

    same: float = 0.0
    same_weights: float = 0.0
    signal: float = 0.0
    noise: float = 0.0
    noise_weights: float = 0.0


def noise_by_tensor(
    graph: Graph,
    reference: Graph,
    images: Samples,
    progress: Callable[[str, float], None],
) -> LayerNoise:
    """Measures the quantization noise of every activation and its effect on the output.

    Three runs are held against each other: the float reference; the quantized graph with its activations rounded;
    and the quantized graph with its weights as they are but no activation rounded. The noise of a tensor is what
    rounding, its own and that before it, adds: SQNR = 10 log10(signal power / noise power) against the third run.
    Then each tensor in turn is left unrounded, alone. Weights are taken from the reference where it has the same
    ones (name, shape, and values within 10 dB, so that weights which a pass has rescaled are left out).

    Args:
        graph: The quantized model, anybody's.
        reference: The float model that it should agree with.
        images: float32 (N, height, width, 3), in the range that both models take, or a `Batch`.
        progress: Called with the share that is done, 0..1.

    Raises:
        InputError: The graph has no quantized activation, or input or outputs of the two models do not fit.
    """
    tallies = _tallies(graph)
    _check(graph, reference, tallies)
    tallies |= _weight_tallies(graph, reference)
    answers = head_of(reference, reference.outputs[0]) not in ("numbers", "map")
    totals = _Totals()
    starts = range(0, len(images), _BATCH)
    for number, start in enumerate(starts):
        for share in _batch(graph, reference, images[start : start + _BATCH], tallies, totals):
            progress("noise by tensor", min(0.999, (number + share) / len(starts)))
    progress("noise by tensor", 1.0)
    count = len(images)
    rows = [_row(tally, totals, count) for tally in tallies.values()]
    rows.sort(key=lambda row: (-row.output_gain_db, -row.agreement_gain, row.index))
    return LayerNoise(
        images=count,
        agreement=Agreement(totals.same / count if answers else None, totals.same_weights / count if answers else None),
        output_sqnr_db=OutputNoise(
            decibels(totals.signal, totals.noise), decibels(totals.signal, totals.noise_weights)
        ),
        tensors=tuple(rows),
    )


def _tallies(graph: Graph) -> dict[str, _Tally]:
    makers: list[tuple[str, Op | None]] = [(name, None) for name in graph.inputs]
    makers += [(op.outputs[0], op) for op in graph.ops]
    found = {}
    for index, (name, op) in enumerate(makers):
        tensor = graph.tensors[name]
        if tensor.quantization is not None and tensor.dtype in ("int8", "uint8", "int16"):
            found[name] = _Tally(op.kind if op else "input", tensor, index)
    return found


def _weight_tallies(graph: Graph, reference: Graph) -> dict[str, _Tally]:
    found = {}
    for index, op in enumerate(graph.ops):
        for name in op.inputs[:2]:
            tensor = graph.tensors[name] if name is not None else None
            other = reference.tensors.get(name) if name is not None else None
            if tensor is None or other is None or tensor.data is None or other.data is None:
                continue
            if tensor.quantization is None or tensor.shape != other.shape:
                continue
            real = other.real()
            tally = _Tally(op.kind, tensor, len(graph.inputs) + index, real)
            _measure(tally, real, tensor.real())
            if tally.signal > _SAME_WEIGHTS * tally.noise:
                found[tensor.name] = tally
    return found


def _check(graph: Graph, reference: Graph, tallies: dict[str, _Tally]) -> None:
    if not tallies:
        raise InputError("the model has no quantized activation; give an int8 model, and the float one as reference")
    if len(graph.inputs) != len(reference.inputs):
        raise InputError(
            f"the model has {len(graph.inputs)} inputs ({', '.join(graph.inputs)}), the reference "
            f"{len(reference.inputs)} ({', '.join(reference.inputs)}); give the float model that the "
            "int8 one was made from"
        )
    ends = [("input", *pair) for pair in zip(graph.inputs, reference.inputs, strict=True)]
    for what, name, counterpart in (*ends, ("output", graph.outputs[0], reference.outputs[0])):
        own, other = graph.tensors[name].shape, reference.tensors[counterpart].shape
        if own[1:] != other[1:]:
            raise InputError(
                f"the {what} of the model is {own}, that of the reference {other}; "
                "give the float model that the int8 one was made from"
            )


def _batch(
    graph: Graph,
    reference: Graph,
    images: Samples,
    tallies: dict[str, _Tally],
    totals: _Totals,
) -> Iterator[float]:
    """Adds one batch to the tallies; yields the share of it that is done."""
    output = graph.outputs[0]
    feeds = batch_of(graph.inputs, images).arrays
    wanted = np.asarray(
        execute(reference, dict(zip(reference.inputs, feeds.values(), strict=True)))[reference.outputs[0]]
    )
    real = execute(graph, feeds)
    rounded = execute(graph, feeds, on_tensor=simulate(graph))
    head = head_of(reference, reference.outputs[0])
    with_all, with_weights = np.asarray(rounded[output]), np.asarray(real[output])
    totals.same += _same(head, with_all, wanted)
    totals.noise += _power(with_all - wanted)
    totals.same_weights += _same(head, with_weights, wanted)
    totals.noise_weights += _power(with_weights - wanted)
    totals.signal += _power(wanted)
    for number, (name, tally) in enumerate(tallies.items()):
        if tally.real_weights is None:
            _measure(tally, np.asarray(real[name]), np.asarray(rounded[name]))
        made = _with_one_real(graph, name, feeds, rounded, tally.real_weights)
        tally.same_class += _same(head, made, wanted)
        tally.output_noise += _power(made - wanted)
        yield (number + 1) / len(tallies)


def _with_one_real(
    graph: Graph,
    name: str,
    inputs: Mapping[str, AnyArray],
    rounded: Mapping[str, TensorLike],
    real_weights: NDArray[np.float32] | None,
) -> AnyArray:
    """The output when one tensor stays real; what comes before it is taken from the rounded run."""
    values = {} if real_weights is None else {name: real_weights}
    if name in graph.inputs:
        feeds, rest = dict(inputs), graph.ops
    else:
        place = next(place for place, op in enumerate(graph.ops) if name in op.outputs or name in op.inputs)
        rest = graph.ops[place:]
        made_later = {output for op in rest for output in op.outputs}
        read = {source for op in rest for source in op.inputs if source is not None} | set(graph.outputs)
        feeds = {source: rounded[source] for source in read - made_later if source in rounded}
    without = simulate(graph, without=frozenset([name]))
    env = execute(graph, feeds, values=values, on_tensor=without, ops=rest)
    return np.asarray(env[graph.outputs[0]])


def _measure(tally: _Tally, real: NDArray[np.float32], rounded: NDArray[np.float32]) -> None:
    tally.signal += _power(real)
    tally.noise += _power(rounded - real)
    tally.count += real.size
    tally.low, tally.high = min(tally.low, float(real.min())), max(tally.high, float(real.max()))
    if tally.real_weights is None:
        low, high = _limits(tally.tensor)
        half_step = 0.5 * _scale(tally.tensor)
        tally.clipped += int(((real < low - half_step) | (real > high + half_step)).sum())
    if tally.edges.size == 0:
        bottom, top = float(real.min()), float(real.max())
        tally.edges = np.linspace(bottom, top if top > bottom else bottom + 1.0, _BINS + 1)
    inside = np.clip(real.ravel(), tally.edges[0], tally.edges[-1])
    tally.bins += np.histogram(inside, tally.edges)[0]


def _row(tally: _Tally, totals: _Totals, images: int) -> TensorNoise:
    is_activation = tally.real_weights is None
    # The scales of weights may differ from channel to channel.
    low, high = _limits(tally.tensor) if is_activation else (None, None)
    before, after = totals.noise, tally.output_noise
    gain_db = 10 * math.log10(before / after) if before > 0 and after > 0 else 0.0
    return TensorNoise(
        index=tally.index,
        tensor=tally.tensor.name,
        op=tally.op,
        what="activation" if is_activation else "weights",
        dtype=tally.tensor.dtype,
        sqnr_db=decibels(tally.signal, tally.noise),
        agreement_gain=(tally.same_class - totals.same) / images,
        output_gain_db=gain_db,
        low=low,
        high=high,
        min=tally.low,
        max=tally.high,
        clipped_fraction=tally.clipped / tally.count if is_activation else None,
        histogram=Histogram(float(tally.edges[0]), float(tally.edges[-1]), tuple(tally.bins.tolist())),
    )


def _limits(tensor: Tensor) -> tuple[float, float]:
    assert tensor.quantization is not None
    limits = np.iinfo(tensor.dtype)
    zero_point, scale = int(tensor.quantization.zero_point[0]), _scale(tensor)
    return (limits.min - zero_point) * scale, (limits.max - zero_point) * scale


def _scale(tensor: Tensor) -> float:
    assert tensor.quantization is not None
    return float(tensor.quantization.scale[0])


def _same(head: Head, made: AnyArray, wanted: AnyArray) -> float:
    """Over pictures, the sum of the shares of answers that are those of the reference; 0 where there are none."""
    same = same_answers(head, wanted, made)
    return 0.0 if same is None else float(same.sum())


def _power(values: AnyArray) -> float:
    return float(np.square(values, dtype=np.float64).sum())
