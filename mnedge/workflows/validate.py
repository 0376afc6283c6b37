"""`validate`: accuracy and parity of artifacts on one or several devices, side by side."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from mnedge import devices as boards
from mnedge import tasks
from mnedge.choices import DEFAULT_TASK
from mnedge.data.arrays import is_arrays
from mnedge.data.balance import warning
from mnedge.errors import InputError, ToolError
from mnedge.foreign import is_there
from mnedge.formats.pixels import pixels_of
from mnedge.pixels import Pixels
from mnedge.progress import telling
from mnedge.results.validation import Validation
from mnedge.validation.accuracy import accuracy_row
from mnedge.validation.heads import warn_if_inverted
from mnedge.validation.outputs import output_rows
from mnedge.validation.parity import parity_row, same_class
from mnedge.validation.predict import Predictions, predict
from mnedge.validation.raw_samples import is_raw
from mnedge.workflows.executable import executable
from mnedge.workflows.on_boards import on_board, runs_here
from mnedge.workflows.validate_arrays import validate_arrays
from mnedge.workflows.which_pictures import by_model, choose, named_map

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    from mnedge.choices import Task
    from mnedge.data._dataset import Dataset
    from mnedge.devices import Device
    from mnedge.graph.heads import Head
    from mnedge.progress import Progress
    from mnedge.results.accuracy import Figures
    from mnedge.results.outputs import OutputRow
    from mnedge.results.parity import DeviceFailure, ParityRow
    from mnedge.tasks import Task as TaskEntry
    from mnedge.validation.class_map import ClassMap

_MOST_NAMED = 10


def validate(
    artifacts: Sequence[Path | str],
    data: str = "demo",
    *,
    task: Task = DEFAULT_TASK,
    split: str | None = None,
    images: int | None = None,
    class_map: str | None = None,
    positive: str | None = None,
    head: Head | None = None,
    pixels: Pixels | str | None = None,
    anchors: Path | str | None = None,
    devices: Sequence[str] = ("local",),
    runtime: str = "",
    skip_broken: bool = False,
    progress: Progress | None = None,
) -> Validation:
    """Measures the accuracy of artifacts on labelled pictures, and how far they agree.

    Args:
        artifacts: .tflite, .onnx and .ort files, or folders of C; a Keras model or SavedModel is measured as the float
            .tflite that it becomes.
        data: demo, a folder, or a labels.csv, as the task reads them; a .npy, .npz or raw file of samples.
        task: Task of the artifacts.
        split: Split of the data: train, calibration, eval (val), test, or all. None for the data's own test or
            validation split; of data without any, the pictures that the model's training kept apart, or else all.
        images: Use at most so many pictures; None for all.
        class_map: Class of the data for each class of the model, e.g. "8=cat,12=dog,rest=background".
        positive: With one output, yes or no: the class of the data that is the yes.
        head: Kind of the first output; None for what each file shows.
        pixels: Range of the pixels if the file states none, as `Pixels.parse` reads it.
        anchors: JSON of the anchors of a detector with raw boxes that was not built here.
        devices: URIs; several devices run at the same time.
        runtime: Name of the runtime on them, e.g. "tflite-runtime"; "" for the one that loads such files.
        skip_broken: Leave out broken pictures, boxes and masks.
        progress: Called with the artifact and device under way and the share that is done, 0..1.

    Raises:
        InputError: An artifact does not exist or does not fit the data, or the data cannot be read.
        ToolError: No device could be had.
    """
    from mnedge.validation.class_map import in_classes_of, parse_class_map
    from mnedge.validation.detect import check_decodable
    from mnedge.validation.raw_boxes import decoded, read_anchors, scores_and_boxes

    with executable(artifacts) as paths:
        if is_arrays(data) or is_raw(data):
            if len(devices) > 1:
                raise InputError("arrays are measured on one device at a time; name one --device")
            return validate_arrays(paths, Path(data), devices[0], telling(progress), head=head, runtime=runtime)
        what = tasks.get(task)
        if anchors is not None and not what.finds_boxes:
            raise InputError(f"--anchors is for detectors; leave it out of --task {what.name}")
        listed = read_anchors(Path(anchors)) if anchors is not None else None
        chosen = choose(paths, split, images, lambda draw: what.open_dataset(data, skip_broken=skip_broken, draw=draw))
        dataset = chosen.dataset
        classes = parse_class_map(class_map, dataset.classes) if class_map else None
        warnings: list[str] = []
        has_classes = any(metric.key == "balanced_accuracy" for metric in what.metrics)

        def read(said: Predictions, classes: ClassMap | None = classes) -> Predictions:
            if listed is not None:
                return decoded(in_classes_of(scores_and_boxes(said, listed), dataset, classes), listed)
            if what.finds_boxes:
                # Before its boxes are taken for scores of classes.
                check_decodable(said)
            return in_classes_of(said, dataset, classes)

        def agreement(one: Predictions, two: Predictions) -> NDArray[np.float64]:
            return what.agreement(*((one, two) if listed is None else (read(one), read(two))))

        yes = None if positive is None else dataset.class_index(positive)

        def figures(said: Predictions, _pictures: Dataset) -> Figures:
            said = said if yes is None else replace(said, labels=(said.labels == yes).astype(np.int64))
            by_name = class_map is None and yes is None
            made = _figures_by_name(said, dataset, what, read) if by_name else what.accuracy(read(said), dataset)
            if has_classes and "top1" in made.metrics and (told := warning(made.metrics["top1"], said.labels)):
                warnings.append(f"{said.path.name}: {told}")
            warn_if_inverted(said.path.name, made, dataset.classes, 1 if yes is None else yes)
            return made

        measured = measure(
            paths,
            dataset,
            chosen.numbers,
            devices,
            telling(progress),
            figures=figures,
            pixels=Pixels.parse(pixels) if isinstance(pixels, str) else pixels,
            agreement=agreement,
            classes=len(dataset.classes) if what.learns_labels and classes is None else None,
            runtime=runtime,
            head=head,
        )
        return replace(measured, pictures=chosen.words, warnings=tuple(dict.fromkeys(warnings)))


def _figures_by_name(
    said: Predictions,
    dataset: Dataset,
    what: TaskEntry,
    read: Callable[[Predictions, ClassMap | None], Predictions],
) -> Figures:
    """The figures, with the model's classes taken for those of the data that have their names."""
    has_classes = said.head in ("softmax", "logits", "numbers") if dataset.truths is None else True
    if what.classes(dataset) is None or not has_classes:
        return what.accuracy(read(said, None), dataset)
    outputs = said.outputs.shape[-1] if dataset.truths is None else None
    names, found = named_map(said.path, dataset, outputs)
    if found is None or dataset.truths is not None:
        return what.accuracy(read(said, found), dataset)
    there, table = by_model(dataset, names, found)
    return what.accuracy(replace(said, labels=table[said.labels]), there)


def measure(
    artifacts: Sequence[Path],
    dataset: Dataset,
    numbers: NDArray[np.int64],
    uris: Sequence[str],
    progress: Progress,
    *,
    figures: Callable[[Predictions, Dataset], Figures],
    pixels: Pixels | None = None,
    agreement: Callable[[Predictions, Predictions], NDArray[np.float64]] = same_class,
    classes: int | None = None,
    runtime: str = "",
    head: Head | None = None,
) -> Validation:
    """Runs artifacts over pictures on devices, several devices in parallel.

    Each artifact is held against the first one, and each device against this machine or the first device, picture by
    picture.

    Args:
        artifacts: Their files.
        dataset: Pictures with their labels.
        numbers: Numbers of the pictures.
        uris: URIs of the devices.
        progress: Called with the artifact and device under way and the share that is done, 0..1.
        figures: The figures of an accuracy row, as the task has them.
        pixels: Pixels of a single network, or, of several, those whose files do not state them; None for
            what each file says.
        agreement: Returns the share of each picture on which two predictions agree.
        classes: Number of classes that the data tells apart, where outputs are scores of classes; each output of files
            with several then has a row of its own.
        runtime: Name of the runtime on the devices; "" for the one that loads such files.
        head: Head of the first output; None to read it from each file.

    Raises:
        InputError: An artifact does not exist or has too few outputs for the data.
        ToolError: No device could be had.
    """
    for path in artifacts:
        if not is_there(path):
            raise InputError(f"{path} does not exist; give .tflite or .onnx files that `mnedge build` wrote")

    # The host is what a device's outputs are held against, picture by picture; it is no column of its own then.
    host = "local" not in uris and all(runs_here(path) for path in artifacts)
    results, failed = _run(
        artifacts, dataset, numbers, uris, progress, (pixels, classes, runtime, head), with_host=host
    )
    asked = {name: found for name, found in results.items() if name != "local" or not host}
    if not asked:
        raise ToolError("\n".join(failure.error for failure in failed))
    accuracy = tuple(
        accuracy_row(said, figures(said, dataset), artifact=path.name, dataset=dataset.name)
        for found in asked.values()
        for path, said in zip(artifacts, found, strict=False)
    )
    parity = tuple(_parity(artifacts, dataset, results, agreement))
    outputs: list[OutputRow] = []
    if classes is not None:
        for found in asked.values():
            if found and found[0].others:
                named = [path.name for path in artifacts[: len(found)]]
                outputs += output_rows(list(zip(named, found, strict=True)), dataset.name)
    return Validation(accuracy, parity, tuple(failed), tuple(outputs))


def _run(
    artifacts: Sequence[Path],
    dataset: Dataset,
    numbers: NDArray[np.int64],
    uris: Sequence[str],
    progress: Progress,
    asked: tuple[Pixels | None, int | None, str, Head | None],
    *,
    with_host: bool,
) -> tuple[dict[str, list[Predictions]], list[DeviceFailure]]:
    """Runs artifacts on devices, and on this host in its own runtime; what `devices.side_by_side` returns."""
    pixels, classes, runtime, head = asked

    def on_device(device: Device) -> Iterator[Predictions]:
        first: tuple[int, ...] = ()
        device = on_board(device)
        engine = "" if with_host and device.name == "local" else runtime
        for path in artifacts:
            stage = f"{path.name} on {device.name}"

            def told(share: float, stage: str = stage) -> None:
                progress(stage, min(share, 0.999))

            # What is told of several is for those that do not say it themselves: an int8 file may take other pixels
            # than the float one that it comes from.
            known = pixels if len(artifacts) == 1 else pixels_of(path) or pixels
            said = predict(
                path,
                dataset,
                numbers,
                device=device,
                runtime=engine,
                pixels=known,
                head=head,
                classes=classes,
                progress=told,
            )
            progress(stage, 1.0)
            first = first or said.outputs.shape[1:]
            if said.outputs.shape[1:] != first:
                one, other = ("x".join(map(str, shape)) for shape in (said.outputs.shape[1:], first))
                raise InputError(
                    f"{path} has {one} outputs, {artifacts[0]} has {other}: they cannot agree; validate them one by one"
                )
            yield said

    return boards.side_by_side(["local", *uris] if with_host else uris, on_device)


def _parity(
    artifacts: Sequence[Path],
    dataset: Dataset,
    results: Mapping[str, Sequence[Predictions]],
    agreement: Callable[[Predictions, Predictions], NDArray[np.float64]],
) -> list[ParityRow]:
    """Each artifact against the first one, and each further device against the first one, picture by picture."""
    (name, first), *others = results.items()
    rows = [
        parity_row(first[0], said, names=(artifacts[0].name, path.name), agreement=agreement)
        for path, said in list(zip(artifacts, first, strict=False))[1:]
    ]
    for other, found in others:
        for path, here, there in zip(artifacts, first, found, strict=False):
            names = (f"{path.name} on {name}", f"{path.name} on {other}")
            row = parity_row(here, there, names=names, agreement=agreement)
            differs = agreement(here, there) < 1
            named = tuple(dataset.sources[number] for number in here.numbers[differs][:_MOST_NAMED])
            rows.append(replace(row, differs=named))
    return rows
