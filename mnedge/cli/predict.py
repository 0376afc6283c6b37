"""`mnedge predict`: what a model says of pictures."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mnedge import registry
from mnedge.cli import _options as options
from mnedge.cli._options import Force, Json
from mnedge.cli._output import print_json, progress, say

if TYPE_CHECKING:
    from mnedge.results.prediction import Prediction

PANEL = "Look"


def command(
    model: Annotated[Path, typer.Argument(metavar="MODEL", help="A .tflite, .onnx, .ort or folder of C.")],
    pictures: Annotated[
        list[Path], typer.Argument(metavar="PICTURE", help="Pictures, videos, and folders of pictures.")
    ],
    *,
    task: Annotated[
        str | None,
        typer.Option(
            metavar="TASK",
            help=f"Task of the model: {', '.join(registry.names('mnedge.tasks'))}. [default: that of its build "
            "or its outputs]",
        ),
    ] = None,
    labels: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Class names, one a line, in the model's order. [default: those in the file, or in labels.txt beside "
            "it]",
        ),
    ] = None,
    top: Annotated[
        int | None,
        typer.Option(min=1, metavar="N", help="Say at most so many classes or objects. [default: 3 classes]"),
    ] = None,
    threshold: Annotated[
        float | None,
        typer.Option(
            min=0,
            max=1,
            metavar="T",
            help="Score from which an answer is yes, and from which objects, classes and shares are said. [default: "
            "0.5 for a yes, 0.4 for objects]",
        ),
    ] = None,
    pixels: Annotated[str | None, options.pixels(default="the file's")] = None,
    crop: Annotated[
        str | None,
        typer.Option(
            metavar="PART",
            help="Part of a picture that the model sees: stretch for all of it, or the share of its side of a centred "
            "crop. [default: that of the model's build or bundle]",
        ),
    ] = None,
    anchors: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Anchors of a foreign detector with raw boxes, JSON.")
    ] = None,
    save: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR", file_okay=False, help="Write the pictures there with the answers drawn into them, as PNG."
        ),
    ] = None,
    every: Annotated[
        float, typer.Option(min=0, metavar="SECONDS", help="Time from one frame of a video to the next; 0 for all.")
    ] = 1.0,
    device: Annotated[
        str, typer.Option(metavar="URI", help="Device that runs the model. [default: local]", show_default=False)
    ] = "local",
    runtime: Annotated[
        str,
        typer.Option(
            metavar="NAME", help="Runtime on the device. [default: that of the file's suffix]", show_default=False
        ),
    ] = "",
    force: Force = False,
    as_json: Json = False,
) -> None:
    """Show the answers of a model to pictures.

    One line a picture: the best classes and their probability, or yes or no for each label; objects with score and
    place in the picture's pixels; the share of each class; or how alike the picture is to the first one.

    \b
    mnedge predict artifacts/flowers/flowers.int8.tflite photo.jpg photos/
    mnedge predict detector.onnx street.jpg --threshold 0.6 --save marked
    mnedge predict detector.onnx street.mp4 --every 0.5 --save marked
    mnedge predict theirs.tflite cat.jpg --pixels 0..1 --crop 0.875 --labels names.txt

    Videos are read by OpenCV: pip install 'mnedge[video]'. Cameras are read by the program of a Raspberry Pi bundle.

    Exits with 1 where pictures could not be read; they are named and left out.
    """
    from mnedge.workflows.predict import predict

    with progress() as notify:
        found = predict(
            model,
            pictures,
            task=task,
            labels=labels,
            top=top,
            threshold=threshold,
            pixels=pixels,
            crop=crop,
            anchors=anchors,
            save=save,
            every_s=every,
            device=device,
            runtime=runtime,
            force=force,
            progress=notify,
        )
    if as_json:
        print_json(found)
    else:
        _print(found)
    for row in found.broken:
        _tell(row.error)
    if found.broken:
        raise typer.Exit(1)


def _print(found: Prediction) -> None:
    for row in found.pictures:
        say(f"{row.name}: {row.answer.said}")
    for note in found.notes:
        _tell(note)


def _tell(words: str) -> None:
    from mnedge.text import message

    typer.echo(message(words), err=True)
