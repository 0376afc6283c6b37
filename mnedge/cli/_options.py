"""The options that several commands have: each is spelt and described here, and a command names its type.

`Threads[int]` is the option for an int, `Threads[int | None]` that of a command which tells given from left out. Where
only the condition or the default differs, a function gives the option.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal, TypeVar

import typer

from mnedge import registry

if TYPE_CHECKING:
    from typer.models import OptionInfo

Value = TypeVar("Value")

_RANGES = "0..255, 0..1, -1..1, imagenet, caffe, LOW..HIGH, or MEAN,STD in 8-bit pixels; BGR, GREY or RGBA may follow"


def _option(*names: str, metavar: str, text: str, file_okay: bool = True, show_default: bool = True) -> OptionInfo:
    made: OptionInfo = typer.Option(*names, metavar=metavar, help=text, file_okay=file_okay, show_default=show_default)
    return made


def data(pictures: str) -> OptionInfo:
    """The option of the data.

    Args:
        pictures: Kinds of data that it takes, and its default.
    """
    return _option("--data", metavar="D", text=pictures)


def pixels(when: str = "", default: str = "the model's, or what labelled pictures show") -> OptionInfo:
    """The option of the range of pixels.

    Args:
        when: Condition, e.g. "With --layers: "; "" for none.
        default: Origin of the range otherwise.
    """
    start = "range" if when else "Range"
    return _option(
        "--pixels", metavar="RANGE", text=f"{when}{start} of the model's pixels: {_RANGES}. [default: {default}]"
    )


def size(when: str = "") -> OptionInfo:
    """The option of the input's size; `when` as in `pixels`."""
    start = "size" if when else "Size"
    return _option(
        "--size", metavar="HEIGHTxWIDTH", text=f"{when}{start} of the model's input, where the model leaves it open."
    )


def signature(when: str = "") -> OptionInfo:
    """The option of a SavedModel's signature; `when` as in `pixels`."""
    start = "signature" if when else "Signature"
    text = f"{when}{start} of a SavedModel to take. [default: serving_default, or its only one]"
    return _option("--signature", metavar="NAME", text=text)


def split(when: str = "", default: str = "") -> OptionInfo:
    """The option of the split; `when` and `default` as in `pixels`, where a default is to be explained."""
    start, told = "split" if when else "Split", f" [default: {default}]" if default else ""
    return _option("--split", metavar="NAME", text=f"{when}{start} of the data: train, val, test or all.{told}")


def measuring(default: str) -> OptionInfo:
    """The option of the one device that measures latency."""
    return _option("--device", metavar="URI", text=f"Device that measures latency. [default: {default}]")


def out_folder(what: str) -> OptionInfo:
    """The option of the folder that is written: what stands there, and its default."""
    return _option("-o", "--out", metavar="DIR", text=what, file_okay=False, show_default=False)


def out_file(what: str) -> OptionInfo:
    """Returns the option of the file that is written, from its description."""
    return _option("-o", "--out", metavar="FILE", text=what, show_default=False)


# For every command that writes files which a user may have changed.
Force = Annotated[
    bool,
    typer.Option(
        "--force", help="Replace files that mnedge did not write, or that were changed since; all others stay."
    ),
]
# For every command that prints a result.
Json = Annotated[bool, typer.Option("--json", help="Print the result alone, as JSON, on stdout.")]

Alpha = Annotated[
    Value, typer.Option("--alpha", metavar="A", help="Width multiplier. [default: 1.0]", show_default=False)
]
OutputStride = Annotated[
    int | None,
    typer.Option(
        "--output-stride",
        metavar="S",
        help="Output stride of the backbone under a head: 8, 16, 32. [default: the head's]",
    ),
]
TaskName = Annotated[
    Value,
    typer.Option(
        "--task",
        metavar="TASK",
        help=f"Task of the network: {', '.join(registry.names('mnedge.tasks'))}. [default: classify]",
        show_default=False,
    ),
]
Method = Annotated[
    Value,
    typer.Option(
        "--method",
        help="Quantize after training (ptq) or train with fake quantization (qat). [default: ptq]",
        show_default=False,
    ),
]
Effort = Annotated[
    Value,
    typer.Option(
        "--effort",
        help="Quantization effort; max (and qat, unless fast) may use slower hard-swishes that quantize better. "
        "[default: default]",
        show_default=False,
    ),
]
Granularity = Annotated[
    Value, typer.Option("--granularity", help="Granularity of the weight scales. [default: the target's]")
]
Activations = Annotated[
    Value,
    typer.Option(
        "--activations",
        help="dtype of activations: int8, int16 with int8 weights (16x8), or mixed, int16 where it takes most of the "
        "error away within --max-slowdown. [default: int8]",
        show_default=False,
    ),
]
WeightBits = Annotated[
    Value,
    typer.Option(
        "--weights-bits",
        help="Bits of the weights of dense layers: 8, 4, or mixed, 4 in as many as together add no more noise than "
        "int8 has. [default: 8]",
        show_default=False,
    ),
]
MaxSlowdown = Annotated[
    float | None,
    typer.Option(
        "--max-slowdown",
        metavar="RATIO",
        help="Highest latency of a mixed file over that of the int8 file, both on this machine. [default: 1.1]",
    ),
]
Io = Annotated[
    Value, typer.Option("--io", help="dtype of the int8 model's input and outputs. [default: int8]", show_default=False)
]
AllowFloat = Annotated[
    list[str] | None, typer.Option("--allow-float", metavar="OP", help="Let this op stay float; repeatable.")
]
Calibration = Annotated[
    str | None,
    typer.Option(
        "--calibration",
        metavar="C",
        help="Calibration set: a name, .yaml, folder or .npy. [default: a split of the data]",
    ),
]
Positive = Annotated[
    str | None,
    typer.Option("--positive", metavar="CLASS", help="Class of the data that is the yes of a model with one output."),
]
HeadName = Annotated[
    Literal["softmax", "logits", "sigmoid", "multi-label", "numbers", "map"] | None,
    typer.Option("--head", help="Kind of the first output. [default: what the model shows]"),
]
SkipBroken = Annotated[Value, typer.Option("--skip-broken", help="Leave out broken pictures, boxes and masks.")]
CheckData = Annotated[
    bool, typer.Option("--check-data", help="Read every picture again, whatever the cache remembers of them.")
]
Target = Annotated[
    Value,
    typer.Option("--target", metavar="NAME", help="Target that the model is for; `mnedge targets` lists them."),
]
Devices = Annotated[
    list[str] | None,
    typer.Option("--device", metavar="URI", help="Measure on this device; repeatable. [default: local]"),
]
Threads = Annotated[
    Value,
    typer.Option(
        "--threads", min=1, max=1024, metavar="N", help="Threads of the runtime. [default: 1]", show_default=False
    ),
]
Seed = Annotated[
    Value,
    typer.Option(
        "--seed", min=0, max=2**32 - 1, metavar="N", help="Seed of everything random. [default: 0]", show_default=False
    ),
]
