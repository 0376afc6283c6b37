"""What the activations of a float graph look like on calibration images."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from mnedge.graph.executor import execute

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from mnedge.quantize.scheme import Interval, Scheme

_SAMPLES_PER_IMAGE = 2048


@dataclass(frozen=True, eq=False)
class Statistics:
    """What was seen of one group.

    Attributes:
        low: Smallest value.
        high: Largest value.
        samples: float32 (pixels, channels) by member: pixels drawn evenly from all images, about 2,048 values an
            image.
    """

    low: float
    high: float
    samples: Mapping[str, NDArray[np.float32]]

    @property
    def values(self) -> NDArray[np.float32]:
        """All samples of all members, flat."""
        return np.concatenate([part.ravel() for part in self.samples.values()])


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
        channels = _channels(graph.tensors[name].shape)
        pixels = max(1, int(np.prod(graph.tensors[name].shape[1:])) // channels)
        count = min(pixels, max(1, _SAMPLES_PER_IMAGE // channels))
        picks[name] = np.sort(random.choice(pixels, count, replace=False)).astype(np.int32)

    shape = (None, *graph.tensors[graph.inputs[0]].shape[1:])

    @tf.function(input_signature=[tf.TensorSpec(shape, tf.float32)], autograph=False)  # type: ignore[untyped-decorator]
    def run(pictures: Any) -> Any:  # noqa: ANN401 - tensors
        env = execute(graph, {graph.inputs[0]: pictures})
        found = {}
        for name in names:
            rows = tf.reshape(env[name], (tf.shape(pictures)[0], -1, _channels(graph.tensors[name].shape)))
            found[name] = (tf.reduce_min(rows), tf.reduce_max(rows), tf.gather(rows, picks[name], axis=1))
        return found

    ends: dict[str, list[Interval]] = {name: [] for name in free}
    samples: dict[str, list[NDArray[np.float32]]] = {name: [] for name in names}
    for start in range(0, len(images), batch):
        for name, (low, high, values) in run(tf.constant(images[start : start + batch])).items():
            ends[scheme.group[name]].append((float(low), float(high)))
            samples[name].append(values.numpy().reshape(-1, values.shape[-1]))
    result = {}
    for group in free:
        members = {name: np.concatenate(samples[name]) for name in names if scheme.group[name] == group}
        result[group] = _bounded(scheme, group, ends[group], members)
    return result


def _channels(shape: tuple[int, ...]) -> int:
    return shape[-1] if len(shape) > 1 else 1


def _bounded(scheme: Scheme, group: str, ends: list[Interval], members: dict[str, NDArray[np.float32]]) -> Statistics:
    data = scheme.graph.tensors[group].data
    if not members:
        # A group of constants alone, such as the 3 of x + 3: all its values are known.
        values = np.zeros((1, 1), np.float32) if data is None else data.astype(np.float32).reshape(-1, 1)
        return Statistics(min(float(values.min()), 0.0), max(float(values.max()), 0.0), {group: values})
    low, high = scheme.bounds[group]
    return Statistics(
        float(np.clip(min(end[0] for end in ends), low, high)),
        float(np.clip(max(end[1] for end in ends), low, high)),
        {name: np.clip(values, low, high).astype(np.float32) for name, values in members.items()},
    )
