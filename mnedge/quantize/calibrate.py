"""What the activations of a float graph look like on calibration images."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from mnedge.graph.executor import execute

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from mnedge.quantize.scheme import Scheme

_SAMPLES_PER_IMAGE = 4096


@dataclass(frozen=True, eq=False)
class Statistics:
    """What was seen of one group.

    Attributes:
        low: Smallest value.
        high: Largest value.
        samples: float32 values drawn evenly from all images and members; at most 4,096 an image and tensor.
    """

    low: float
    high: float
    samples: NDArray[np.float32]


def observe(scheme: Scheme, images: NDArray[np.float32], seed: int = 0, batch: int = 16) -> dict[str, Statistics]:
    """Runs the float graph and collects the statistics of every free group, within the scheme's bounds.

    Args:
        scheme: What is to be quantized.
        images: float32 (N, H, W, C).
        seed: Of the choice of samples.
        batch: Images at a time.
    """
    import tensorflow as tf

    graph = scheme.graph
    free = set(scheme.free_groups)
    made = {name for op in graph.ops for name in op.outputs}
    names = [name for name, group in scheme.group.items() if group in free and name in made]
    random = np.random.default_rng(seed)
    picks = {}
    for name in names:
        elements = int(np.prod(graph.tensors[name].shape[1:]))
        count = min(elements, _SAMPLES_PER_IMAGE)
        picks[name] = np.sort(random.choice(elements, count, replace=False)).astype(np.int32)

    shape = (None, *graph.tensors[graph.inputs[0]].shape[1:])

    @tf.function(input_signature=[tf.TensorSpec(shape, tf.float32)], autograph=False)  # type: ignore[untyped-decorator]
    def run(pictures: Any) -> Any:  # noqa: ANN401 - tensors
        env = execute(graph, {graph.inputs[0]: pictures})
        rows = {name: tf.reshape(env[name], (tf.shape(pictures)[0], -1)) for name in names}
        return {
            name: (tf.reduce_min(row), tf.reduce_max(row), tf.gather(row, picks[name], axis=1))
            for name, row in rows.items()
        }

    seen: dict[str, list[tuple[float, float, NDArray[np.float32]]]] = {name: [] for name in free}
    for start in range(0, len(images), batch):
        for name, (low, high, values) in run(tf.constant(images[start : start + batch])).items():
            seen[scheme.group[name]].append((float(low), float(high), values.numpy().ravel()))
    return {name: _bounded(scheme, name, found) for name, found in seen.items()} | _constants(scheme, seen)


def _bounded(scheme: Scheme, name: str, found: list[tuple[float, float, NDArray[np.float32]]]) -> Statistics:
    low, high = scheme.bounds[name]
    if not found:
        return Statistics(max(low, -1.0), min(high, 1.0), np.zeros(1, np.float32))
    return Statistics(
        float(np.clip(min(item[0] for item in found), low, high)),
        float(np.clip(max(item[1] for item in found), low, high)),
        np.clip(np.concatenate([item[2] for item in found]), low, high).astype(np.float32),
    )


def _constants(scheme: Scheme, seen: Mapping[str, list[Any]]) -> dict[str, Statistics]:
    """Groups of constants alone, such as the 3 of x + 3: all their values are known."""
    known = {}
    for name in scheme.free_groups:
        data = scheme.graph.tensors[name].data
        if data is not None and not seen.get(name):
            values = data.astype(np.float32).ravel()
            known[name] = Statistics(min(float(values.min()), 0.0), max(float(values.max()), 0.0), values)
    return known
