"""`train`: transfer learning from pictures and a pretrained backbone, or a model of the user's, to a .keras."""

from __future__ import annotations

import math
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import msgspec
import numpy as np

from mnedge import cache, tasks
from mnedge.artifact import check_file, deliver, sha256, size_bytes, write_text
from mnedge.data.check import check_left, check_pictures
from mnedge.data.draw import Draw
from mnedge.data.gather import gather
from mnedge.errors import InputError
from mnedge.models import Variant
from mnedge.models.build import named_weights, style_key
from mnedge.pixels import SYMMETRIC
from mnedge.results import stored
from mnedge.results.findings import Suspects
from mnedge.results.training import Account, Images, ModelFile, Network, Settings, TrainingReport
from mnedge.silence import start_tensorflow
from mnedge.tasks._task import DecodedSplit, TrainingData
from mnedge.training.augment import MARGIN
from mnedge.training.settings import Augmentation
from mnedge.workflows.pupil import own_pupil, variants_pupil
from mnedge.workflows.train_model import OwnClassifier, Told, resolve_classifier

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from numpy.typing import NDArray

    from mnedge.data._dataset import Dataset
    from mnedge.models.description import Weights
    from mnedge.pixels import Pixels
    from mnedge.results.findings import Findings, Suspect
    from mnedge.results.training import Epoch, Outcome
    from mnedge.tasks import Task
    from mnedge.training.settings import ClassWeights, Precision, Schedule, Strength
    from mnedge.untyped import AnyArray

    Progress = Callable[[str, float], None]
    OnEpoch = Callable[[Epoch], None]
    Notice = Callable[[str], None]

Setting = TypeVar("Setting")

REPORTS = (".report.json", ".report.html")
_SUSPECTS = b"suspects"
_ACCOUNT, _TEST = "account.json", "test.npz"
# Version of what a training keeps in the cache.
_KEPT = 3


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
    task: str = "classify",
    head: str | None = None,
    dimensions: int = 128,
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
    precision: Precision | None = None,
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
        weights: What the backbone starts from: imagenet, random, or a file; None for imagenet.
        task: What the network is for.
        head: Which of the task's heads; None for its first.
        dimensions: Length of an embedding.
        output_stride: Output stride of the backbone under a head; None for the head's first.
        epochs: Epochs of fine-tuning; None, here and below, for the task's own.
        head_epochs: Epochs of the new head on the frozen backbone.
        learning_rate: Peak rate of fine-tuning.
        from_layer: Name of the Keras layer from which on fine-tuning changes weights; None for all layers.
        batch_size: Pictures a step.
        patience: Epochs without a better score after which fine-tuning stops.
        augment: How far training pictures are cropped, turned and tinted: none, light or default.
        flip: Mirror training pictures left to right.
        class_weights: balanced, so that every class counts alike, or none.
        precision: dtype policy of Keras: float32, mixed_float16 or mixed_bfloat16.
        seed: Seed of everything random.
        keep_shared: Learn from pictures that the validation split has too, which makes its accuracy a lie.
        tensorboard: Folder of TensorBoard logs to write.
        split_seed: Seed that draws the validation pictures, of data without splits of its own.
        val_fraction: Share of the pictures that is drawn for validation; None for a fifth.
        test_fraction: Share of the pictures that is drawn for the test; None for no test split.
        group_by: What joins pictures that stay on one side of a drawn split: folder, prefix (of the file name), or a
            regular expression.
        skip_broken: Leave out broken pictures, boxes and masks.
        check_data: Read every picture again, whatever the cache remembers of it.
        force: Replace files that are not mnedge's own, unchanged work.
        progress: Called with the name of a stage and the share of it that is done, 0..1.
        on_epoch: Called with each epoch as it ends.
        notice: Told what a user should know of `model` before its training begins, a sentence at a time.

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

        told = Told(pixels, size, labels, positive)
        heard = notice or (lambda _words: None)
        network, dataset = resolve_classifier(
            Path(model), opened, told, heard, progress or (lambda _stage, _share: None)
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
        network = Variant(
            family, width, resolution or dataset.default_resolution, chosen.classes(dataset) or dimensions, *standing
        )
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
    if task != "classify":
        raise InputError(f"--model takes classifiers, and --task is {task}; leave --task out, or give --variant")


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
    """What hears of each epoch: `on_epoch`, and TensorBoard's logs where they are wanted."""
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


@dataclass(frozen=True, eq=False)
class Trained:
    """A trained network in the cache.

    Attributes:
        path: The .keras with the best weights and the class names; copy it to where it ships from.
        task: Name of the task.
        score: The task's headline on the validation (eval) split with the best weights, 0..1.
        predictions: Predictions for the validation split, as arrays of the task.
        numbers: int64, picture numbers of the validation split in the data set.
        outcome: How the validation split was met.
        account: How the training went; it is not complete where the run paused at `until_epoch`.
        test: How the test split was met; None where there is none.
    """

    path: Path
    task: str
    score: float
    predictions: dict[str, AnyArray]
    numbers: NDArray[np.int64]
    outcome: Outcome
    account: Account
    test: Outcome | None = None


def train_network(
    variant: Variant | OwnClassifier,
    dataset: Dataset,
    schedule: Schedule,
    *,
    task: str = "classify",
    weights: Weights = "imagenet",
    progress: Progress | None = None,
    on_epoch: OnEpoch | None = None,
    keep_shared: bool = False,
) -> Trained:
    """Trains a network with a new head on a data set; the same arguments are never trained twice.

    The result stands in the cache. A run that was cut off, or paused by `schedule.until_epoch`, goes on from its last
    whole epoch.

    Args:
        variant: The network, with one of the task's heads; its classes are those of the data set. Or a model of the
            user's, which starts from its own weights.
        dataset: Labelled pictures with a train and an eval split, as the task opens them.
        schedule: How.
        task: What the network is for.
        weights: What the backbone starts from: "imagenet", "random", or a file with or without classifier.
        progress: Called with the name of a stage and the share of it that is done, 0..1.
        on_epoch: Called with each epoch as it ends.
        keep_shared: Learn from pictures that the validation split has too, which makes its accuracy a lie.

    Raises:
        InputError: The data or the weights cannot be used; the message says why.
    """
    chosen = tasks.get(task)
    chosen.check(dataset)
    own = variant if isinstance(variant, OwnClassifier) else None
    run = _Run(
        chosen,
        None if isinstance(variant, OwnClassifier) else _fitted(variant, chosen, dataset),
        own,
        dataset,
        schedule,
        weights if own is None else own.path,
        keep_shared,
        progress or (lambda _stage, _fraction: None),
        on_epoch or (lambda _epoch: None),
    )
    key = {**run.key(), **schedule.horizon()}
    work = cache.resumable("transfer-work", {**key, "tools": cache.tool_versions()})
    until = schedule.epochs if schedule.until_epoch is None else schedule.until_epoch
    folder = cache.stage("transfer", {**key, "until": until}, lambda made: _make(made, run, work))
    trained = _trained(folder, chosen, dataset)
    if trained.account.is_complete:
        cache.forget(work)
    return trained


def _fitted(variant: Variant, task: Task, dataset: Dataset) -> Variant:
    return replace(variant, classes=task.classes(dataset) or variant.classes)


@dataclass(frozen=True, eq=False)
class _Run:
    """The arguments of `train_network`; a variant or a model of the user's."""

    task: Task
    variant: Variant | None
    own: OwnClassifier | None
    dataset: Dataset
    schedule: Schedule
    weights: Weights
    keep_shared: bool
    progress: Progress
    on_epoch: OnEpoch

    @property
    def network(self) -> Variant:
        """The variant of a training that has one."""
        assert self.variant is not None, "a model of the user's is no variant"
        return self.variant

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of the input, pixels."""
        return (self.network.resolution,) * 2 if self.own is None else self.own.size

    def key(self) -> dict[str, object]:
        """All that a result depends on besides the schedule, as JSON values."""
        return {
            "kept": _KEPT,
            "task": self.task.name,
            **({"variant": asdict(self.network)} if self.own is None else {"model": self.own.key()}),
            "data": self.dataset.fingerprint,
            "classes": self.dataset.classes,
            "labels": None if self.own is None else self.dataset.labels.tolist(),
            "skip_broken": self.dataset.skip_broken,
            "weights": sha256(self.weights) if isinstance(self.weights, Path) else self.weights,
            "style": None if self.own is not None else style_key(self.weights),
            "keep_shared": self.keep_shared,
        }


def _decoded(run: _Run, split: str, size: tuple[int, int]) -> DecodedSplit:
    dataset = run.dataset
    key = {"data": dataset.fingerprint, "split": split, "size": size, "skip_broken": dataset.skip_broken}

    def make(folder: Path) -> None:
        def notify(done: float) -> None:
            run.progress(f"read {split} pictures", done)

        np.save(folder / "numbers.npy", gather(dataset, dataset.split(split), size, folder / "pixels.npy", notify))

    folder = cache.stage("pixels", key, make)
    return DecodedSplit(np.load(folder / "pixels.npy", mmap_mode="r"), np.load(folder / "numbers.npy"))


def _make(folder: Path, run: _Run, work: Path) -> None:
    """Fills an empty folder with the result of a run: model.keras, validation.npz, account.json."""
    started = time.monotonic(), time.process_time()
    start_tensorflow()
    import keras

    from mnedge.models.transfer import save_trained
    from mnedge.training.learner import check_layer, strategy
    from mnedge.training.phases import train_in_phases

    schedule, dataset = run.schedule, run.dataset
    keras.utils.set_random_seed(schedule.seed)
    # Wrong weights and layers are refused before the pictures are read.
    pupil = variants_pupil(run.network, run.weights, schedule) if run.own is None else own_pupil(run.own, schedule)
    check_layer(pupil.layers, schedule.from_layer)
    data, findings = _training_data(run, pupil.new_layers, work)
    objective = run.task.objective(data)
    with strategy().scope():
        learner, give_back = pupil.learner()
        states = train_in_phases(
            learner,
            objective,
            schedule,
            from_scratch=pupil.from_scratch,
            new_layers=pupil.new_layers,
            work=work,
            progress=run.progress,
            on_epoch=run.on_epoch,
        )
    give_back()
    save_trained(pupil.model, folder / "model.keras", _description(run))
    predictions = objective.predict_all(learner)
    np.savez(folder / "validation.npz", numbers=data.held.numbers, **predictions)  # type: ignore[arg-type]
    tested = None
    if dataset.measured == "test":
        tested = _decoded(run, "test", run.size)
        # Nothing was chosen by these pictures; the weights are those that are shipped.
        said = run.task.objective(replace(data, held=tested)).predict_all(learner)
        np.savez(folder / _TEST, numbers=tested.numbers, **said)  # type: ignore[arg-type]
    account = Account(
        is_complete=states[-1].has_stopped or schedule.until_epoch in (None, schedule.epochs),
        best=states[-1].best,
        images=Images(
            int(data.rows.size), int(data.held.numbers.size), None if tested is None else int(tested.numbers.size)
        ),
        chosen_by=objective.metric,
        seconds=round(time.monotonic() - started[0], 1),
        cpu_seconds=round(time.process_time() - started[1], 1),
        history=tuple(epoch for state in states for epoch in state.history),
        findings=findings,
        suspects=_suspects(work),
        settings=Settings(
            variant=None if run.variant is None else Network(**asdict(run.variant)),
            model=None if run.own is None else run.own.noun(),
            data=dataset.name,
            draw=None if dataset.draw is None else asdict(dataset.draw),
            weights=str(run.weights),
            keep_shared=run.keep_shared,
            schedule=schedule.as_json(),
        ),
    )
    write_text(folder / _ACCOUNT, stored.to_json(account))


def _training_data(run: _Run, new_layers: frozenset[str], work: Path) -> tuple[TrainingData, Findings]:
    dataset, (height, width) = run.dataset, run.size
    # Crops need more detail than the input shows.
    train = _decoded(run, "train", (math.ceil(MARGIN * height), math.ceil(MARGIN * width)))
    held = _decoded(run, "eval", run.size)
    findings, fresh = check_pictures(dataset, min(run.size), (train.pixels, train.numbers), (held.pixels, held.numbers))
    rows = np.arange(train.numbers.size) if run.keep_shared else np.flatnonzero(fresh)
    check_left(dataset, train.numbers[rows])

    def keep_suspects(found: Sequence[Suspect]) -> None:
        cache.keep(work, _SUSPECTS, stored.to_json(Suspects(tuple(found))).encode())

    return TrainingData(
        dataset=dataset,
        variant=run.variant,
        schedule=run.schedule,
        train=train,
        rows=rows,
        held=held,
        new_layers=new_layers,
        keep_suspects=keep_suspects,
        progress=run.progress,
    ), findings


def _suspects(work: Path) -> tuple[Suspect, ...] | None:
    kept = cache.recall(work, _SUSPECTS)
    return None if kept is None else stored.from_json(kept, Suspects, "the cache's list of suspects").suspects


def _description(run: _Run) -> dict[str, object]:
    """What `build --weights` has to know of a .keras to build the same network and find the same validation split."""
    common = {
        "task": run.task.name,
        "classes": list(run.dataset.classes),
        "draw": None if run.dataset.draw is None else asdict(run.dataset.draw),
    }
    if run.own is not None:
        return {**common, "pixels": run.own.pixels.to_bytes().decode()}
    return {
        **common,
        "head": run.network.head,
        "output_stride": run.network.output_stride,
        "outputs": run.network.classes,
        "pixels": SYMMETRIC.to_bytes().decode(),
        "pytorch": style_key(run.weights),
        **run.task.describe(run.dataset, run.network),
    }


def _trained(folder: Path, task: Task, dataset: Dataset) -> Trained:
    with np.load(folder / "validation.npz") as arrays:
        predictions = dict(arrays)
    numbers = predictions.pop("numbers")
    outcome, test = task.outcome(predictions, numbers, dataset), None
    if (folder / _TEST).is_file():
        with np.load(folder / _TEST) as arrays:
            said = dict(arrays)
        test = task.outcome(said, said.pop("numbers"), dataset)
    return Trained(
        path=folder / "model.keras",
        task=task.name,
        score=outcome.figures[task.metric],
        predictions=predictions,
        numbers=numbers,
        outcome=outcome,
        account=stored.read(folder / _ACCOUNT, Account),
        test=test,
    )


def publish(trained: Trained, dataset: Dataset, out: Path, *, force: bool = False) -> TrainingReport:
    """Writes the .keras to its place, and beside it the report: OUT.report.json and OUT.report.html.

    Args:
        trained: What `train_network` returned.
        dataset: What it was trained on.
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

    texts = (stored.to_json(report), render_training(report, task.metrics, show))
    for ending, text in zip(REPORTS, texts, strict=True):
        deliver(out.with_suffix(ending), text, force=force)
    return report
