"""`predict`: what a model says of pictures."""

from __future__ import annotations

import io
import math
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from mnedge import artifact, devices, tasks
from mnedge.data.detections import METADATA as ANCHORS
from mnedge.data.names import read_names
from mnedge.data.preprocess import Preprocessing
from mnedge.data.video import Frame
from mnedge.errors import InputError
from mnedge.foreign import is_file, is_folder, is_there
from mnedge.formats.carried import carried, class_names
from mnedge.formats.heads import head_of_file
from mnedge.graph.heads import answering_output
from mnedge.pixels import Pixels
from mnedge.progress import telling
from mnedge.results.compilation import read_compiled
from mnedge.results.prediction import BrokenPicture, PicturePrediction, Prediction
from mnedge.validation.answers import Question
from mnedge.validation.detect import decoding_of
from mnedge.validation.predict import gives_objects
from mnedge.validation.predict import predict as run
from mnedge.validation.raw_boxes import decoded, read_anchors, scores_and_boxes
from mnedge.workflows.named_pictures import NamedPictures, drawn_at, found_at, path_of
from mnedge.workflows.prepared import prepared

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from mnedge.devices import ModelInfo
    from mnedge.progress import Progress
    from mnedge.results.prediction import Answer
    from mnedge.runtimes import TensorSpec
    from mnedge.tasks import Task
    from mnedge.validation.predict import Predictions
    from mnedge.validation.raw_boxes import ListedAnchors
    from mnedge.workflows.named_pictures import Named

_CORNERS = 4
_STRETCH = "stretch"
_INDICES = ("int32", "int64")
_MOST_NAMED = 5


def predict(
    model: Path | str,
    pictures: Sequence[Path | str],
    *,
    task: str | None = None,
    labels: Path | str | Sequence[str] | None = None,
    top: int | None = None,
    threshold: float | None = None,
    pixels: Pixels | str | None = None,
    crop: float | str | None = None,
    anchors: Path | str | None = None,
    save: Path | str | None = None,
    every_s: float = 1.0,
    device: str = "local",
    runtime: str = "",
    force: bool = False,
    progress: Progress | None = None,
) -> Prediction:
    """Runs a model over pictures and returns its answer to each.

    Args:
        model: A .tflite, .onnx, .ort or folder of C, float or int8.
        pictures: Files, videos, and folders whose pictures are looked for at any depth.
        task: Task of the model: classify, detect, segment, embed; None for what its build or its outputs say.
        labels: A file of class names, one a line, or the names; None for those in the file or beside it.
        top: At most so many classes or objects a picture; None for 3 classes, or all objects.
        threshold: Score, 0..1, from which an answer is yes, and from which classes, objects and shares are said; None
            for 0.5 of a yes, 0.4 of objects and none of the others.
        pixels: Range of the pixels if the file states none, as `Pixels.parse` reads it.
        crop: The part of each picture that the model sees: the share of its side, above 0 and to 1, of a centred crop;
            or "stretch" for the whole picture in the input's proportions. None for what its build or bundle says.
        anchors: JSON of the anchors of a detector with raw boxes that was not built here.
        save: A folder to write the pictures to with the answers drawn into them, as PNG files.
        every_s: Seconds from one frame of a video to the next; 0 for every frame.
        device: URI of the device that runs the model.
        runtime: Name of the runtime; "" for the one that loads such files.
        force: Replace files in `save` that mnedge did not write.
        progress: Called with the name of the stage and the share of it that is done, 0..1.

    Returns:
        The answers, picture by picture; broken pictures are left out and named.

    Raises:
        InputError: The model cannot be run, something about it is known from nowhere and was not told, there are no
            pictures, or none can be read.
        ToolError: The device or the runtime cannot be had.
    """
    path, told = Path(model), telling(progress)
    if not is_there(path):
        raise InputError(f"{path} does not exist; give a .tflite, .onnx or .ort file, or a folder that compile wrote")
    if threshold is not None and not 0 <= threshold <= 1:
        raise InputError(f"--threshold is {threshold}; it is a score, 0 to 1")
    if top is not None and top < 1:
        raise InputError(f"--top is {top}; it is at least 1")
    known = prepared(path)
    names = tuple(read_names(Path(labels))) if isinstance(labels, (str, Path)) else tuple(labels or ())
    listed = None if anchors is None else read_anchors(Path(anchors))
    found = found_at([Path(place) for place in pictures], every_s)
    shown = NamedPictures(tuple(found), _preprocessing(path, crop, known.preprocessing))
    targets = {} if save is None else drawn_at(Path(save), found, pictures, force=force)
    looked = _Looked(path, task or known.task, names, listed)
    board = devices.get(device)
    stage = f"{path.name} on {board.name}"
    try:
        said = run(
            path,
            shown.dataset(),
            np.arange(len(found)),
            device=board,
            runtime=runtime,
            pixels=Pixels.parse(pixels) if isinstance(pixels, str) else pixels,
            classes=len(names or class_names(path, None)[0]) or None,
            opened=looked.check,
            progress=lambda share: told(stage, min(share, 0.999)),
        )
    except InputError as exc:
        if len(shown.broken) < len(found):
            raise
        raise InputError(_all_broken(list(shown.broken.values()))) from exc
    told(stage, 1.0)
    what = looked.task_of(said.info)
    if listed is not None:
        said = decoded(scores_and_boxes(said, listed), listed)
    numbers = said.numbers.tolist()
    views = [shown.seen[number] for number in numbers]
    asked = Question(names or looked.names_of(said), top, threshold)
    assert what.answers is not None, what.name
    answers = what.answers(said, views, asked)
    saved: dict[int, str] = {}
    with artifact.together():
        for place, (number, answer, view) in enumerate(zip(numbers, answers, views, strict=True)):
            if targets:
                target = targets[shown.files[number]]
                artifact.deliver(target, _png(what.draw(shown.upright(number), answer, said, place, view)), force=force)
                saved[number] = str(target)
                told("draw into pictures", (place + 1) / len(numbers))
    return Prediction(
        model=str(path),
        task=what.name,
        runtime=said.info.version,
        device=said.device,
        pictures=tuple(
            PicturePrediction(
                picture=str(path_of(shown.files[number])),
                at_s=_time_of(shown.files[number]),
                width=view.size[0],
                height=view.size[1],
                answer=answer,
                saved=saved.get(number),
            )
            for number, view, answer in zip(numbers, views, answers, strict=True)
        ),
        broken=tuple(
            BrokenPicture(str(path_of(shown.files[number])), why) for number, why in sorted(shown.broken.items())
        ),
        notes=_notes(path, asked, answers),
    )


@dataclass(frozen=True, eq=False)
class _Looked:
    """A model, and what was told of it.

    Attributes:
        path: Its file.
        task: Name of its task, as told or as its build says; "" if it is unknown.
        names: Class names as told; () for none.
        listed: Anchors as told.
    """

    path: Path
    task: str
    names: tuple[str, ...]
    listed: ListedAnchors | None

    def check(self, info: ModelInfo) -> None:
        """Refuses, before the first picture is read, what nothing could be said with.

        Raises:
            InputError: It takes more than a picture, or something told does not fit it.
        """
        if info.others:
            named = ", ".join(spec.name for spec in info.inputs)
            raise InputError(f"{self.path} has several inputs ({named}); predict runs models of one, a picture")
        what = self.task_of(info)
        if what.answers is None:
            raise InputError(f"{what.name} says nothing of single pictures; measure it with `mnedge validate`")
        if self.listed is not None and not what.finds_boxes:
            raise InputError(f"--anchors is for detectors; leave it out of --task {what.name}")
        found_inside = gives_objects(info.outputs)
        if what.finds_boxes and self.listed is None and not found_inside:
            decoding_of(self.path)
        widths = {spec.shape[-1] for spec in info.outputs if spec.shape}
        # With two names for one output, the second one is the yes.
        widths |= {2} if 1 in widths else set()
        is_open = found_inside or info.outputs[0].dtype in _INDICES
        if self.names and not is_open and len(self.names) not in widths:
            outputs = ", ".join("x".join(map(str, spec.shape)) for spec in info.outputs)
            raise InputError(
                f"--labels has {len(self.names)} names, and {self.path} gives {outputs}; give one name a class, in the "
                "model's order"
            )

    def task_of(self, info: ModelInfo) -> Task:
        """Returns the task of a model: as stated, as its build states it, or as its anchors or outputs show.

        Raises:
            InputError: No such task, or nothing shows it.
        """
        if self.task:
            return tasks.get(self.task)
        specs = info.outputs
        if self.listed is not None or gives_objects(specs) or _gives_raw_boxes(specs) or _has_anchors(self.path):
            return next(task for task in tasks.every() if task.finds_boxes)
        heads = [head_of_file(self.path, spec.shape, spec.quantization, spec.name) for spec in specs]
        widths = [spec.shape[-1] if spec.shape else 1 for spec in specs]
        first = answering_output(list(zip(heads, widths, strict=True)), len(self.names)) if self.names else 0
        shape = specs[first].shape
        shown = next((task for task in tasks.every() if heads[first] in task.output_heads), None)
        is_map = len(shape) == (3 if specs[first].dtype in _INDICES else 4)
        if shown is None or (heads[first] == "map" and not is_map):
            raise InputError(
                f"{self.path} gives {'x'.join(map(str, shape))} ({heads[first]}), which does not show what it is for; "
                f"say it with --task: {', '.join(tasks.names())}"
            )
        return shown

    def names_of(self, said: Predictions) -> tuple[str, ...]:
        """Class names that the file carries or that lie beside it; () for none."""
        if said.gives_indices or gives_objects(said.info.outputs):
            return class_names(self.path, None)[0]
        columns = said.outputs.shape[-1]
        names, _ = class_names(self.path, columns)
        return names or (class_names(self.path, 2)[0] if columns == 1 else ())


def _has_anchors(path: Path) -> bool:
    if is_folder(path):
        return is_file(path / "manifest.json") and ANCHORS in read_compiled(path).metadata
    return carried(path, ANCHORS) is not None


def _gives_raw_boxes(specs: Sequence[TensorSpec]) -> bool:
    """Returns whether outputs are scores and codes of boxes, (1, anchors, …) both."""
    shapes = [spec.shape for spec in specs]
    is_pair = len(shapes) == 2 and all(len(shape) == 3 for shape in shapes) and shapes[0][1] == shapes[1][1]
    return is_pair and _CORNERS in (shapes[0][2], shapes[1][2])


def _preprocessing(path: Path, crop: float | str | None, known: Preprocessing | None) -> Preprocessing:
    """Returns the preprocessing of the pictures: as stated, or as the model's build states it.

    Raises:
        InputError: Neither, or what is told is no part of a picture.
    """
    if crop is None:
        if known is None:
            raise InputError(
                f"{path} does not say which part of a picture it sees, and nothing is assumed; state it with --crop: "
                f"{_STRETCH} for the whole picture in the input's proportions, as detectors and segmenters mostly "
                "take it, or the share of its side of a centred crop, e.g. 0.875, as classifiers do"
            )
        return known
    if crop == _STRETCH:
        return replace(known or Preprocessing(), crop_fraction=1.0, fit="stretch")
    try:
        share = float(crop)
    except ValueError:
        share = math.nan
    if not 0 < share <= 1:
        raise InputError(f"--crop is {crop!r}; it is {_STRETCH}, or a share above 0 and at most 1, e.g. 0.875")
    return replace(known or Preprocessing(), crop_fraction=share, fit="crop")


def _time_of(named: Named) -> float | None:
    return round(named.at_s, 3) if isinstance(named, Frame) else None


def _png(pixels: NDArray[np.uint8]) -> bytes:
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


def _all_broken(said: Sequence[str]) -> str:
    more = [f"… and {len(said) - _MOST_NAMED:,} more"] if len(said) > _MOST_NAMED else []
    return "none of the pictures can be read:\n" + "\n".join([*said[:_MOST_NAMED], *more])


def _notes(path: Path, asked: Question, answers: Sequence[Answer]) -> tuple[str, ...]:
    """Describes what is not known, and how to state it."""
    if asked.labels or all(answer.vector is not None for answer in answers):
        return ()
    return (f"the names of {path.name}'s classes are not known; give them with --labels FILE, one a line",)
