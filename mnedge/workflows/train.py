"""`train`: transfer learning from pictures and a pretrained backbone, or a model of the user's, to a .keras."""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import msgspec

from mnedge import cache, tasks
from mnedge.artifact import check_file, deliver, together
from mnedge.choices import DEFAULT_TASK
from mnedge.data.draw import Draw
from mnedge.errors import InputError
from mnedge.files import sha256, size_bytes
from mnedge.models import Variant
from mnedge.models.build import named_weights
from mnedge.results import stored
from mnedge.results.training import ModelFile, TrainingReport
from mnedge.training.settings import Augmentation
from mnedge.workflows.train_model import OwnClassifier, Stated, resolve_classifier
from mnedge.workflows.train_network import train_network

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import numpy as np
    from numpy.typing import NDArray

    from mnedge.choices import ClassWeights, Strength, TrainingPrecision
    from mnedge.data.dataset import Dataset
    from mnedge.pixels import Pixels
    from mnedge.results.training import Epoch
    from mnedge.tasks import Task
    from mnedge.workflows.train_network import Trained

    Progress = Callable[[str, float], None]
    OnEpoch = Callable[[Epoch], None]
    Notice = Callable[[str], None]

Setting = TypeVar("Setting")

REPORTS = (".report.json", ".report.html")
# Length of an embedding where none is asked for.
_DIMENSIONS = 128


def train(
    data: str | Path,
    out: Path | str,
    *,
    model: Path | str | None = None,
    pixels: Pixels | str | None = None,
    size: tuple[int, int] | None = None,
    labels: Path | str | None = None,
    positive: str | None = None,
    variant: str | None = None,
    alpha: float | None = None,
    resolution: int | None = None,
    weights: str | Path | None = None,
    task: str = DEFAULT_TASK,
    head: str | None = None,
    dimensions: int | None = None,
    output_stride: int | None = None,
    epochs: int | None = None,
    head_epochs: int | None = None,
    learning_rate: float | None = None,
    from_layer: str | None = None,
    batch_size: int | None = None,
    patience: int | None = None,
    augment: Strength = "default",
    flip: bool = True,
    class_weights: ClassWeights | None = None,
    precision: TrainingPrecision | None = None,
    seed: int | None = None,
    keep_shared: bool = False,
    tensorboard: Path | str | None = None,
    split_seed: int | None = None,
    val_fraction: float | None = None,
    test_fraction: float | None = None,
    group_by: str | None = None,
    skip_broken: bool = False,
    check_data: bool = False,
    force: bool = False,
    progress: Progress | None = None,
    on_epoch: OnEpoch | None = None,
    notice: Notice | None = None,
) -> TrainingReport:
    """Teaches a pretrained MobileNet, or a model of the user's, the classes of a data set.

    Writes a .keras, and its report beside it. `build --weights` takes that of a MobileNet, `build MODEL` that of a
    model.

    The same arguments are never trained twice. A run that was cut off goes on after its last whole epoch.

    Args:
        data: A folder with one folder per class, a labels.csv, demo, or what the task reads.
        out: The .keras to write.
        model: A .keras or .h5 with a whole classifier, to be fine-tuned; None for a variant. Its head is replaced
            where the data has other classes.
        pixels: Range of the model's pixels as `Pixels.parse` reads it; None for what it says or labelled pictures show.
        size: Height and width of the model's input in pixels, where it leaves them open.
        labels: A file of the model's class names, one a line; None for its own.
        positive: Class of the data that is the yes of a model with one output.
        variant: Family; `mnedge variants` lists them; None for v3-small.
        alpha: Width multiplier; None for 1.0.
        resolution: Side of the input, pixels; None for the data set's own.
        weights: Weights that the backbone starts from: imagenet, random, or a file; None for imagenet.
        task: Task of the network.
        head: Head of the task; None for its first.
        dimensions: Length of an embedding; None for 128.
        output_stride: Output stride of the backbone under a head; None for the head's first.
        epochs: Epochs of fine-tuning; None, here and below, for the task's own.
        head_epochs: Epochs of the new head on the frozen backbone.
        learning_rate: Peak rate of fine-tuning.
        from_layer: Name of the Keras layer from which on fine-tuning changes weights; None for all layers.
        batch_size: Pictures a step.
        patience: Epochs without a better score after which fine-tuning stops.
        augment: Strength of cropping, turning and tinting training pictures: none, light or default.
        flip: Mirror training pictures left to right.
        class_weights: balanced, so that every class counts alike, or none.
        precision: dtype policy of Keras: float32, mixed_float16 or mixed_bfloat16.
        seed: Seed of everything random.
        keep_shared: Learn from pictures that the val or test split has too, which makes its accuracy a lie.
        tensorboard: Folder of TensorBoard logs to write.
        split_seed: Seed that draws the validation pictures, of data without splits of its own.
        val_fraction: Share of the pictures that is drawn for validation; None for a fifth.
        test_fraction: Share of the pictures that is drawn for the test; None for no test split.
        group_by: Key that keeps pictures on one side of a drawn split: folder, prefix (of the file name), or a regular
            expression.
        skip_broken: Leave out broken pictures, boxes and masks.
        check_data: Read every picture again, whatever the cache remembers of it.
        force: Replace files that are not mnedge's own, unchanged work.
        progress: Called with the name of a stage and the share of it that is done, 0..1.
        on_epoch: Called with each epoch as it ends.
        notice: Called with notes for the user of `model` before its training begins, a sentence at a time.

    Raises:
        InputError: The data, the weights, a setting or the place to write to cannot be used; the message says why.
        UnsupportedError: The model is no classifier, or cannot be brought in; the message names the way out.
    """
    chosen, out = tasks.get(task), Path(out)
    if head is not None and head not in chosen.heads:
        raise InputError.unknown(f"head for --task {task}", head, chosen.heads)
    if out.suffix != ".keras":
        raise InputError(f"--out {out} does not end in .keras, which is what is written; give e.g. {out.stem}.keras")
    for path in (out, *map(out.with_suffix, REPORTS)):
        check_file(path, force=force)
    own = chosen.schedule
    schedule = replace(
        own,
        epochs=_given(epochs, own.epochs),
        head_epochs=_given(head_epochs, own.head_epochs),
        learning_rate=_given(learning_rate, own.learning_rate),
        from_layer=_given(from_layer, own.from_layer),
        batch_size=_given(batch_size, own.batch_size),
        patience=_given(patience, own.patience),
        class_weights=_given(class_weights, own.class_weights),
        precision=_given(precision, own.precision),
        seed=_given(seed, own.seed),
        augmentation=Augmentation.of(augment, flip=flip),
    )
    source = named_weights("imagenet" if weights is None else str(weights), ("imagenet", "random"))
    told_draw = {"seed": split_seed, "val_fraction": val_fraction, "test_fraction": test_fraction, "group_by": group_by}
    drawn = {name: value for name, value in told_draw.items() if value is not None}
    # Who wants to learn from pictures that both sides have does not want them kept together.
    if keep_shared:
        drawn["keeps_twins"] = False
    network: Variant | OwnClassifier
    if model is not None:
        _check_alone(variant, alpha, resolution, weights, head, output_stride, task)

        def opened(trained_with: Draw | None) -> Dataset:
            return _opened(chosen, data, drawn, trained_with, skip_broken=skip_broken, check_data=check_data)

        stated = Stated(pixels, size, labels, positive)
        notify = notice or (lambda _words: None)
        network, dataset = resolve_classifier(
            Path(model), opened, stated, notify, progress or (lambda _stage, _share: None)
        )
    elif described := [
        f"--{name}"
        for name, value in (("pixels", pixels), ("size", size), ("labels", labels), ("positive", positive))
        if value is not None
    ]:
        raise InputError(f"{described[0]} is of a model; leave {', '.join(described)} out, or give --model FILE")
    else:
        # Wrong sizes are refused before the pictures are looked at.
        standing = (head or chosen.heads[0], output_stride)
        family, width = variant or "v3-small", 1.0 if alpha is None else alpha
        Variant(family, width, resolution or 224, 1000, *standing)
        dataset = _opened(chosen, data, drawn, None, skip_broken=skip_broken, check_data=check_data)
        classes = chosen.classes(dataset)
        if classes is not None and dimensions is not None:
            raise InputError(f"--dimensions is the length of an embedding, and --task {task} makes none; leave it out")
        outputs = classes or dimensions or _DIMENSIONS
        network = Variant(family, width, resolution or dataset.default_resolution, outputs, *standing)
    trained = train_network(
        network,
        dataset,
        schedule,
        task=task,
        weights=source,
        progress=progress,
        on_epoch=_logged(on_epoch, tensorboard),
        keep_shared=keep_shared,
    )
    return publish(trained, dataset, out, force=force)


def _check_alone(
    variant: str | None,
    alpha: float | None,
    resolution: int | None,
    weights: str | Path | None,
    head: str | None,
    output_stride: int | None,
    task: str,
) -> None:
    """Refuses what describes a variant beside a model, which is one network already."""
    given = {
        "variant": variant,
        "alpha": alpha,
        "resolution": resolution,
        "weights": weights,
        "head": head,
        "output-stride": output_stride,
    }
    if named := [f"--{name}" for name, value in given.items() if value is not None]:
        raise InputError(f"{named[0]} is of a variant, and --model is a network already; leave {', '.join(named)} out")
    if not tasks.get(task).takes_models:
        known = ", ".join(known.name for known in tasks.every() if known.takes_models)
        raise InputError(f"--model is for the task {known}, and --task is {task}; leave --task out, or give --variant")


def _opened(
    task: Task,
    data: str | Path,
    asked: Mapping[str, object],
    trained_with: Draw | None,
    *,
    skip_broken: bool,
    check_data: bool,
) -> Dataset:
    """The data, with splits drawn as asked for, or as those that a model was trained with."""
    known = {} if trained_with is None else asdict(trained_with)
    draw = msgspec.convert({**known, **asked}, Draw)
    dataset = task.open_dataset(str(data), skip_broken=skip_broken, draw=draw)
    if check_data:
        dataset = dataset.read_again()
    named = [name.replace("_", "-") for name in asked if name != "keeps_twins"]
    if named and dataset.draw is None:
        options = ", ".join(f"--{'split-seed' if name == 'seed' else name}" for name in named)
        raise InputError(f"{data} comes with its own splits, so {options} changes nothing; leave it out")
    return dataset


def _given(value: Setting | None, own: Setting) -> Setting:
    return own if value is None else value


def _logged(on_epoch: OnEpoch | None, folder: Path | str | None) -> OnEpoch | None:
    """Returns the listener of each epoch: `on_epoch`, and TensorBoard's logs if a folder is given."""
    if folder is None:
        return on_epoch
    from mnedge.training.tensorboard import tensorboard_log

    written: list[OnEpoch] = []

    def both(epoch: Epoch) -> None:
        if on_epoch is not None:
            on_epoch(epoch)
        if not written:
            written.append(tensorboard_log(Path(folder)))
        written[0](epoch)

    return both


@together()
def publish(trained: Trained, dataset: Dataset, out: Path, *, force: bool = False) -> TrainingReport:
    """Writes the .keras to its place, and beside it the report: OUT.report.json and OUT.report.html.

    Args:
        trained: Result of `train_network`.
        dataset: Data set of the training.
        out: The .keras to write.
        force: Replace files that are not mnedge's own, unchanged work.

    Raises:
        InputError: The folder cannot be written.
    """
    from mnedge.report.training_page import render_training

    deliver(out, trained.path.read_bytes(), force=force)
    task = tasks.get(trained.task)
    report = TrainingReport(
        task=task.name,
        metric=task.metric,
        model=ModelFile(out.name, size_bytes(out), sha256(out)),
        outcome=trained.outcome,
        account=trained.account,
        test=trained.test,
        tools=cache.tool_versions(),
    )
    numbers = {dataset.sources[number]: number for split in ("train", "eval") for number in dataset.split(split)}

    def show(source: str) -> NDArray[np.uint8] | None:
        return task.show(trained.predictions, trained.numbers, dataset, numbers[source]) if source in numbers else None

    texts = (stored.to_json(report), render_training(report, task.metrics, show, list(trained.augmented)))
    for ending, text in zip(REPORTS, texts, strict=True):
        deliver(out.with_suffix(ending), text, force=force)
    return report
