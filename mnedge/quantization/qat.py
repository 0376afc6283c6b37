"""Training with fake quantization: READ `quantize_qat` FIRST, it is the sequence."""

from __future__ import annotations

import hashlib
import io
import logging
import time
import zipfile
import zlib
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from mnedge import cache
from mnedge.batch import batch_of
from mnedge.errors import InputError, UnsupportedError
from mnedge.graph.heads import head_of
from mnedge.quantization.interpret import first_output
from mnedge.quantization.learn import Losses, cosine_rate, head_loss, make_step
from mnedge.quantization.outputs import output_heads
from mnedge.quantization.parameters import to_int8
from mnedge.quantization.ptq import DEFAULT, MOST_IMAGES, post_training_parameters
from mnedge.quantization.quantized import Quantized, agreement_of, measured_step
from mnedge.quantization.student import Student

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import tensorflow as tf
    from numpy.typing import NDArray

    from mnedge.batch import Samples
    from mnedge.graph.graph import Graph
    from mnedge.graph.heads import Head
    from mnedge.quantization.parameters import Parameters
    from mnedge.quantization.ptq import PostTraining
    from mnedge.quantization.scheme import Scheme
    from mnedge.untyped import AnyArray, AnyInts

_LOG = logging.getLogger(__name__)
_BATCH = 16
# Half of the default epochs: what training wins is won while the rate falls, too.
_PATIENCE_EPOCHS = 10
_HELD_OUT_FRACTION = 0.15
# In units of the variables of Student; found on the calibration and train splits, and kept for every network. A range
# that moves by a hundredth shifts the rounding of every channel that hardly varies, which costs more than a better
# range brings, so ranges and scales learn slowly. Weights start on their steps and have to move half of one.
_RATES = {"ranges": 1e-6, "biases": 1e-5, "weights": 2e-2, "scales": 1e-6}


@dataclass(frozen=True, eq=False)
class Pictures:
    """Training pictures and those that choose the best epoch.

    Attributes:
        train: float32 (N, H, W, C).
        labels: int32 (N,), -1 where unknown.
        held_out: float32 (M, H, W, C), never trained on.
    """

    train: NDArray[np.float32]
    labels: NDArray[np.int32]
    held_out: NDArray[np.float32]


def quantize_qat(
    graph: Graph,
    images: NDArray[np.float32],
    labels: AnyInts | None = None,
    start: PostTraining = DEFAULT,
    *,
    calibration: Samples | None = None,
    checkpoint_dir: Path,
    epochs: int = 20,
    progress: Callable[[str, float], None] | None = None,
) -> Quantized:
    """Trains weights, biases and ranges of the quantized network, with the float network as teacher.

    Training starts from the post-training result. Weights and ranges are rounded in the forward pass and learned
    through it (Esser et al. 2020, LSQ, arXiv:1902.08153); the loss compares blocks and soft labels with the float
    network (Hinton et al. 2015, arXiv:1503.02531), and true labels where there are any. A checkpoint is
    written after every epoch, and the same call goes on from it; the epoch that agrees best with float on held-out
    pictures is what is exported, and training ends early when ten epochs bring nothing better.

    Args:
        graph: Float graph with one input; lowered for its target already.
        images: float32 (N, H, W, C) to train on.
        labels: Integers (N,), negative where unknown; None for unlabelled pictures. They are learned from where the
            first output is a softmax or logits, a value a class; the float network teaches every other one alone.
        start: The choices of the post-training result that training starts from. Unless they say whether gates may
            become slower ones that can be equalized (see `gates`), all efforts but "fast" take them.
        calibration: float32 (N, H, W, C), or a `Batch` of them, to calibrate with and train on; training pictures by
            default. At most 256 calibrate.
        checkpoint_dir: Folder of checkpoints; one file per graph, data and settings.
        epochs: Passes over the pictures at most.
        progress: Called with the stage and the share of it that is done, 0..1.

    Raises:
        InputError: Fewer than two images, or labels of another number.
        UnsupportedError: The graph has several inputs, or an op has no int8 form and is not allowed to stay float.
    """
    if len(graph.inputs) != 1:
        raise UnsupportedError(
            f"the graph has {len(graph.inputs)} inputs ({', '.join(graph.inputs)}); training with fake quantization "
            "takes one, and quantization after training (--method ptq) takes them all"
        )
    if len(images) < 2:
        raise InputError(f"training needs at least two pictures, got {len(images)}; give more, or use --method ptq")
    if labels is not None and len(labels) != len(images):
        raise InputError(f"{len(labels)} labels for {len(images)} pictures; give one for each, -1 where unknown")
    notify = progress or (lambda _name, _fraction: None)
    started = time.monotonic()
    calibrating = images if calibration is None else batch_of(graph.inputs, calibration).arrays[graph.inputs[0]]
    taught = labels if _tells_classes(graph, start.head) else None
    pictures, calibrating = _split(images, taught, calibrating, start.seed)
    if start.scalable_gates is None:
        start = replace(start, scalable_gates=start.effort != "fast")
    scheme, parameters, log = post_training_parameters(
        graph, calibrating, start, progress=lambda _, share: notify("start from post-training", share)
    )
    # The key stands for all that the training depends on: another call cannot take up this one's checkpoint.
    settings = {
        "epochs": epochs,
        "effort": start.effort,
        "granularity": start.granularity,
        **({} if start.ranges is None else {"ranges": start.ranges}),
        "seed": start.seed,
        "batch": _BATCH,
        "rates": _RATES,
    }
    path = checkpoint_dir / f"{_key(scheme, pictures, calibrating, (settings, start.pixels))}.npz"
    best = _train(scheme, parameters, pictures, path, epochs, start.seed, notify)
    seconds = time.monotonic() - started - sum(step.seconds for step in log.steps)
    int8 = to_int8(scheme, best)
    step = measured_step("trained with fake quantization", seconds, int8, log.head, log.reference, log.images)
    export = _export_agreement(scheme, best, int8, pictures.held_out, log.head)
    path.unlink(missing_ok=True)
    return Quantized(int8, (*log.steps, step), {"method": "qat", **settings, "images": len(images), "export": export})


def _tells_classes(graph: Graph, head: Head | None) -> bool:
    """Returns whether the first output has a value for each of several classes that exclude each other."""
    output = graph.outputs[0]
    return (head or head_of(graph, output)) in ("softmax", "logits") and graph.tensors[output].shape[-1] > 1


def _split(
    images: NDArray[np.float32], labels: AnyArray | None, calibration: NDArray[np.float32], seed: int
) -> tuple[Pictures, NDArray[np.float32]]:
    """Pictures to train on and to choose by, and pictures to calibrate with.

    Calibration pictures are trained on too, without labels. None of them may be among those that choose: the
    post-training result was fitted to them, and no epoch could ever be better.
    """
    order = np.random.default_rng(seed).permutation(len(images))
    count = min(max(1, round(len(images) * _HELD_OUT_FRACTION)), 128)
    known = np.full(len(images), -1, np.int32) if labels is None else np.asarray(labels, np.int32)
    digests = [_digest(image) for image in images]
    all_digests, chosen_by = set(digests), {digests[index] for index in order[:count]}
    found = [_digest(image) for image in calibration]
    usable = np.array([digest not in chosen_by for digest in found])
    fresh = np.array([digest not in all_digests for digest in found])
    train = np.concatenate([images[order[count:]], calibration[fresh]])
    known_or_not = np.concatenate([known[order[count:]], np.full(int(fresh.sum()), -1, np.int32)])
    calibration = calibration[usable] if usable.any() else train
    return Pictures(train, known_or_not, images[order[:count]]), calibration[:MOST_IMAGES]


def _digest(image: NDArray[np.float32]) -> bytes:
    return hashlib.sha256(image.tobytes()).digest()


def _key(scheme: Scheme, pictures: Pictures, calibration: NDArray[np.float32], settings: object) -> str:
    digest = hashlib.sha256(repr(settings).encode())
    for name, tensor in sorted(scheme.graph.tensors.items()):
        digest.update(name.encode())
        if tensor.data is not None:
            digest.update(np.ascontiguousarray(tensor.data).tobytes())
    for array in (pictures.train, pictures.labels, pictures.held_out, calibration):
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()[:32]


def _train(
    scheme: Scheme,
    parameters: Parameters,
    pictures: Pictures,
    path: Path,
    epochs: int,
    seed: int,
    notify: Callable[[str, float], None],
) -> Parameters:
    import tensorflow as tf

    student = Student(scheme, parameters)
    has_labels = bool(np.any(pictures.labels >= 0))
    losses = Losses(blocks=0.5, outputs=1.0, labels=0.1 if has_labels else 0.0)
    step, state = make_step(student, losses, _RATES)
    variables = [*student.variables.values(), *state]
    head = output_heads(scheme.graph, first_tells_classes=has_labels)[0]
    reference = first_output(scheme.graph.replaced(outputs=[head[0]]), pictures.held_out)
    best, best_score, first, stale = _snapshot(student), _score(student, head, reference, pictures.held_out), 0, 0
    if (kept := _restore(path, variables, list(student.variables))) is not None:
        first, stale, best_score, best = kept
    per_epoch = -(-len(pictures.train) // _BATCH)
    for epoch in range(first, epochs):
        if stale >= _PATIENCE_EPOCHS:
            break
        # Seeded by the epoch, so that a resumed run sees what the whole one would have seen.
        random = np.random.default_rng((seed, epoch))
        order = random.permutation(len(pictures.train))
        for number in range(per_epoch):
            picked = order[number * _BATCH : (number + 1) * _BATCH]
            batch = augment(pictures.train[picked], random)
            done = epoch + number / per_epoch
            rate = cosine_rate(done / epochs, warm_up=0.1)
            step(tf.constant(batch), tf.constant(pictures.labels[picked]), tf.constant(rate, tf.float32))
            notify("train with fake quantization", (done + 1 / per_epoch) / epochs)
        score = _score(student, head, reference, pictures.held_out)
        stale += 1
        if score < best_score:
            best, best_score, stale = _snapshot(student), score, 0
        _save(path, variables, best, (epoch + 1, stale, best_score))
    for kind, value in best.items():
        student.variables[kind].assign(value)
    notify("train with fake quantization", 1.0)
    return student.parameters()


def augment(images: NDArray[np.float32], random: np.random.Generator) -> NDArray[np.float32]:
    """Mirrors half of the pictures and moves each by up to an eighth, repeating its border."""
    height, width = images.shape[1:3]
    result = np.empty_like(images)
    for index, picture in enumerate(images):
        rows = np.clip(np.arange(height) + random.integers(-(height // 8), height // 8 + 1), 0, height - 1)
        columns = np.clip(np.arange(width) + random.integers(-(width // 8), width // 8 + 1), 0, width - 1)
        if random.random() < 0.5:
            columns = columns[::-1]
        result[index] = picture[rows][:, columns]
    return result


def _score(student: Student, head: tuple[str, bool], reference: AnyArray, images: NDArray[np.float32]) -> float:
    """Returns the distance of the int8 network from float on some pictures, as the loss measures it; lower is better.

    Args:
        student: The network so far.
        head: Its first head, see `output_heads`.
        reference: The head's values in the float network for these pictures.
        images: float32 (N, H, W, C).
    """
    made = first_output(to_int8(student.scheme, student.parameters()).replaced(outputs=[head[0]]), images)
    return float(head_loss(reference, made, classes=head[1]))


def _snapshot(student: Student) -> dict[str, NDArray[np.float32]]:
    return {kind: variable.numpy().copy() for kind, variable in student.variables.items()}


def _save(
    path: Path, variables: list[tf.Variable], best: dict[str, NDArray[np.float32]], counts: tuple[int, int, float]
) -> None:
    stream = io.BytesIO()
    arrays: dict[str, AnyArray] = {f"variable_{index}": variable.numpy() for index, variable in enumerate(variables)}
    arrays |= {f"best_{kind}": value for kind, value in best.items()}
    np.savez(stream, counts=np.array(counts, np.float64), **arrays)  # type: ignore[arg-type] # no array is allow_pickle
    cache.keep_file(path, stream.getvalue())


def _restore(
    path: Path, variables: list[tf.Variable], kinds: list[str]
) -> tuple[int, int, float, dict[str, NDArray[np.float32]]] | None:
    """Sets the variables to a checkpoint's and gives its counts and best values; None where there is no whole one."""
    if not path.is_file():
        return None
    try:
        # Opened here: NumPy leaves a damaged archive open.
        with path.open("rb") as stream, np.load(stream, allow_pickle=False) as found:
            values = [found[f"variable_{index}"] for index in range(len(variables))]
            best = {kind: found[f"best_{kind}"] for kind in kinds}
            epoch, stale, score = found["counts"]
        if [value.shape for value in values] != [tuple(variable.shape) for variable in variables]:
            raise ValueError("its arrays have other shapes")  # noqa: TRY301 - told like any other damage
        counts = int(epoch), int(stale), float(score)
    except (
        OSError, ValueError, KeyError, TypeError, AttributeError, EOFError, OverflowError, MemoryError, RuntimeError,
        zipfile.BadZipFile, zlib.error,
    ) as exc:  # fmt: skip
        _LOG.warning("the checkpoint %s is damaged (%s); training begins anew", path.name, exc)
        return None
    for variable, value in zip(variables, values, strict=True):
        variable.assign(value)
    return *counts, best


def _export_agreement(
    scheme: Scheme, parameters: Parameters, int8: Graph, images: NDArray[np.float32], head: Head
) -> dict[str, float | None]:
    """The int8 graph in LiteRT against the fake-quantized network that was trained, over some pictures."""
    import tensorflow as tf

    student = Student(scheme, parameters)
    output = scheme.graph.outputs[0]
    parts = [images[start : start + 32] for start in range(0, len(images), 32)]
    trained = np.concatenate([student.forward(tf.constant(part))[output].numpy() for part in parts])
    shipped = first_output(int8, images)
    quantization = int8.tensors[output].quantization
    step = 1.0 if quantization is None else float(quantization.scale[0])
    return {
        "top1_agreement": agreement_of(head, trained, shipped),
        "max_abs_lsb": float(np.max(np.abs(trained - shipped)) / step),
    }
