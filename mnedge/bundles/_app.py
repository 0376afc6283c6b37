"""App: what apps, boards and firmwares do with the models of a task. One task = one file in _apps/."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, cast

from mnedge import registry
from mnedge.errors import UnsupportedError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from mnedge.bundles._bundle import Parts
    from mnedge.bundles._metadata import Description

_APPS = "mnedge.bundles._apps"
_TWO = 2
# The folder of the programs that ship as they are.
SHIPPED = Path(__file__).parent


@dataclass(frozen=True)
class AndroidApp:
    """The Android app of a task.

    Attributes:
        noun: Noun for the model in texts.
        takers: Readers of the metadata.
        model: The Kotlin class that the app asks: _kotlin/MODEL.kt, and _kotlin/TasksMODEL.kt on MediaPipe Tasks.
        show: Members of CameraActivity, in Kotlin, that show a picture on the camera's screen.
        described: Adds metadata and labels to a .tflite with uint8 ends.
        finds_boxes: Whether the app finds objects, and decodes them by anchors outside MediaPipe Tasks.
    """

    noun: str
    takers: str
    model: str
    show: str
    described: Callable[[bytes, Description], bytes]
    finds_boxes: bool = False


@dataclass(frozen=True)
class App:
    """Templates of a task's apps; None for a kind of bundle that the task does not have.

    Attributes:
        network: Description of the network, in a sentence.
        output: Description of the .onnx' outputs, in a sentence.
        android: For Android.
        program: The Python program for a Raspberry Pi, beside which program.py and what it imports always
            ship. Its name is that of its file without a leading underscore.
        sketch: The Arduino sketch, with @WORDS@ to fill in.
        web: Stem of the page's own files in _web/, STEM.js and STEM.d.ts.
        names_classes: Whether the apps name classes: the outputs must then be scores with labels.
        has_labels: Whether the outputs are of classes, which the page names.
        takes_threshold: Whether the programs take answers from a score on.
    """

    network: str
    output: str
    android: AndroidApp | None = None
    program: Path | None = None
    sketch: str | None = None
    web: str | None = None
    names_classes: bool = False
    has_labels: bool = True
    takes_threshold: bool = False


def app_of(parts: Parts) -> App:
    """The app templates of the task that a model is for.

    Raises:
        UnsupportedError: There are none; the message names the tasks that have some.
    """
    return _app_for(parts.task, parts.slug)


def _app_for(task: str, slug: str) -> App:
    known = registry.names(_APPS)
    if task not in known:
        raise UnsupportedError(
            f"{slug} is built to {task}, for which there are no app templates; bundles are made of models "
            f"that {' or '.join(known)}"
        )
    return cast("App", registry.load(_APPS, task, "APP"))


def lacking(parts: Parts, what: str) -> UnsupportedError:
    """The error of a task whose templates have no `what`."""
    return UnsupportedError(
        f"{parts.slug} is built to {parts.task}, whose app templates have no {what}; take another kind of bundle"
    )


def check_threshold(slug: str, task: str, head: str, labels: Sequence[str]) -> None:
    """Makes sure that the programs of a model have a use for a threshold.

    Args:
        slug: Name of the model.
        task: Task that it is for.
        head: Kind of its output.
        labels: Class names.

    Raises:
        UnsupportedError: They have none; the message says which models have.
    """
    app = _app_for(task, slug)
    # Of three classes and more the most probable one is named, however probable it is.
    excludes = app.names_classes and head in ("softmax", "logits") and len(labels) != _TWO
    if app.takes_threshold and not excludes:
        return
    classes = f"tell {len(labels)} classes apart, of which the most probable is named"
    raise UnsupportedError(
        f"a threshold is for two classes, labels by themselves and objects; {slug} is built to "
        f"{classes if app.names_classes else task}; leave it out"
    )
