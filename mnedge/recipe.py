"""Recipe: what to build; frozen, validated, from YAML or from flags."""

from __future__ import annotations

import difflib
import math
from dataclasses import asdict, dataclass, field, fields, replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, get_type_hints

import msgspec
from msgspec import Meta

from mnedge import registry
from mnedge.choices import (
    DEFAULT_TASK,
    Activations,
    Effort,
    Granularity,
    IoDtype,
    Method,
    OnnxActivations,
    PostProcessing,
    Task,
    WeightBits,
)
from mnedge.errors import InputError
from mnedge.foreign import is_file, is_there, read_mapping
from mnedge.results.metric import Declared

if TYPE_CHECKING:
    from collections.abc import Mapping


# Whole numbers: the lowest and the highest that each may be. What a network or a data set takes is checked by these.
Side = Annotated[int, Meta(ge=1, le=4096)]
Classes = Annotated[int, Meta(ge=1, le=1_000_000)]
Stride = Annotated[int, Meta(ge=1, le=32)]
Threads = Annotated[int, Meta(ge=1, le=1024)]
Seed = Annotated[int, Meta(ge=0, le=2**32 - 1)]
Factor = Annotated[float, Meta(gt=0)]
Ratio = Annotated[float, Meta(ge=1)]
Share = Annotated[float, Meta(ge=0, le=1)]
Amount = Annotated[float, Meta(ge=0)]
Names = tuple[str, ...]

# The headline of each task, as accuracy rows have it.
HEADLINES = Declared(lambda metric: metric.is_headline)
# Ending of the descriptions of figures that are shares.
_SHARE = ", 0..1"
_GATES = {
    "max_p50_ms": "highest median latency of any int8 artifact, ms",
    "max_size_kib": "largest int8 .tflite, KiB",
    "max_arena_kib": "largest arena of a microcontroller artifact with input and output, KiB",
    "max_flash_kib": "largest flash of a microcontroller artifact, KiB",
    "min_speedup_over_float": "lowest ratio of float to int8 median latency",
    "int8_only": "true: no op of an int8 artifact is float",
    "parity": "lowest top-1 agreement between runtimes, 0..1",
}
_TOLERANCES = {
    "bytes": "largest growth of an artifact, a share: 0.02 is 2 %",
    "arena_bytes": "largest growth of an arena, a share",
    "flash_bytes": "largest growth of flash, a share",
    "p50_ms": "largest growth of a median latency, a share; only fair where both builds ran on one machine",
}
_RELEASE = {
    "version": "version of what is shipped, e.g. 1.0.0",
    "group": "Maven group and Java package of an Android bundle",
    "license": "licence of the weights",
    "description": "a sentence on what the model is for",
}
# The one gate that is no number.
_FLAGS = ("int8_only",)


@dataclass(frozen=True)
class Recipe:
    """A thing to build.

    Attributes:
        model: A model of one's own to build instead of a variant: a .keras, .h5, SavedModel folder, float
            .tflite or float .onnx.
        variant: Family token; `mnedge variants` lists them.
        alpha: Width multiplier.
        resolution: Side of the input in pixels; None for the data set's own.
        classes: Number of classes; None for the data set's.
        task: Name of the task.
        head: Head of the task; None for that of the weights, or the task's first. For a model: the kind of its first
            output (softmax, logits, sigmoid, multi-label, numbers, map); None for what the model shows.
        output_stride: Output stride of the backbone under the head; None for that of the weights, or the head's first.
        int8: Build int8 artifacts beside the float ones.
        method: Quantization after training (ptq) or with fake quantization in training (qat).
        effort: Quantization effort; "max" (and "qat", unless "fast") may use slower hard-swishes that quantize better.
        granularity: Granularity of the weight scales; None for the target's.
        activations: dtype of the activations in int8 artifacts: int8, int16 with int8 weights (16x8), or mixed, int16
            where it takes most of the error away within `max_slowdown`.
        max_slowdown: Highest ratio of a mixed file's latency to the int8 file's; None for 1.1.
        weights_bits: Bits of the weights of dense layers: 8, 4, or mixed, 4 in as many as together add no more noise
            than int8 has.
        io: dtype of the int8 artifacts' input and output.
        post_processing: Place of the steps after the raw outputs of a detector or segmenter: "inside" the files, or
            "outside", in the app.
        onnx_activations: dtype of the activations in int8 ONNX; None for what the target's runtime fuses.
        allow_float: Ops that may stay float in an int8 artifact.
        weights: demo, imagenet, random, timm:NAME, or a file.
        data: demo, a folder, a labels.csv, or a format of the task. A .npy or .npz of samples for a model with several
            inputs, or with inputs that are not pictures.
        pixels: Range of the model's pixels, as `Pixels.parse` reads it; None for what the model says or the data shows.
        size: Height and width of the model's input, e.g. 96x128, where the model leaves them open.
        signature: Signature of the model, a SavedModel, to take; None for its default or only one.
        labels: A file of the model's class names, one a line; None for those of the model, or of the data.
        positive: Class of the data that is the yes of a model with one output.
        skip_broken: Leave broken pictures out.
        calibration: Calibration set: the name of one that comes with mnedge, a .yaml, a folder, a labels.csv or a .npy;
            None for the calibration split of the data.
        targets: Names of targets.
        threads: Threads of latency measurements.
        seed: Seed of everything random.
        gates: Limits that can fail the build, by name.
        tolerances: Largest loss of each figure against a baseline, by name; other figures are not compared.
        bundles: Kinds of bundles to make.
        threshold: Score from which the programs of its bundles say the second of two classes, a label or an object;
            None for their own.
        release: Description of its bundles, by name: version, group, license and description.
    """

    model: str | None = None
    variant: str = "v3-small"
    alpha: Factor = 1.0
    resolution: Side | None = None
    classes: Classes | None = None
    task: Task = DEFAULT_TASK
    head: str | None = None
    output_stride: Stride | None = None
    int8: bool = False
    method: Method = "ptq"
    effort: Effort = "default"
    granularity: Granularity | None = None
    activations: Activations = "int8"
    max_slowdown: Ratio | None = None
    weights_bits: WeightBits = "8"
    io: IoDtype = "int8"
    post_processing: PostProcessing = "outside"
    onnx_activations: OnnxActivations | None = None
    allow_float: Names = ()
    weights: str = "demo"
    data: str = "demo"
    pixels: str | None = None
    size: str | None = None
    signature: str | None = None
    labels: str | None = None
    positive: str | None = None
    skip_broken: bool = False
    calibration: str | None = None
    targets: Annotated[Names, Meta(min_length=1)] = ("cpu",)
    threads: Threads = 1
    seed: Seed = 0
    gates: dict[str, float | bool] = field(default_factory=dict)
    tolerances: dict[str, float] = field(
        default_factory=lambda: {
            **dict.fromkeys(HEADLINES, 0.005),
            "bytes": 0.02,
            "arena_bytes": 0.0,
            "flash_bytes": 0.02,
        }
    )
    bundles: Names = ()
    threshold: Share | None = None
    release: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name, kind in kinds().items():
            checked(name, getattr(self, name), kind)
            _check_entries(name, getattr(self, name))
        for what, given, known in (
            ("task", (self.task,), registry.names("mnedge.tasks")),
            ("bundle", self.bundles, registry.names("mnedge.bundles")),
        ):
            if unknown := [name for name in given if name not in known]:
                raise InputError.unknown(what, unknown[0], known)

    @property
    def input_size(self) -> tuple[int, int] | None:
        """Height and width of `size`, pixels; None where nothing is said."""
        return parse_size(self.size)

    def as_json(self) -> dict[str, object]:
        """The recipe as JSON values, for keys and manifests."""
        return asdict(self)

    def with_flags(self, flags: Mapping[str, object]) -> Recipe:
        """A copy in which every flag that was given (is not None or empty) wins.

        Raises:
            InputError: A value is not allowed.
        """
        # `checked` gives each in the type of its key.
        given: dict[str, Any] = {
            name: checked(name, value, kinds()[name])
            for name, value in flags.items()
            if value is not None and value != ()
        }
        return replace(self, **given)


@cache
def kinds() -> dict[str, object]:
    """The type of each key, with its range."""
    hints = get_type_hints(Recipe, include_extras=True)
    # Each limit has a type of its own: see `limit_kind`.
    hints |= {"gates": dict, "tolerances": dict, "release": dict}
    return {entry.name: hints[entry.name] for entry in fields(Recipe)}


def checked(name: str, value: object, kind: object) -> object:
    """A value of a recipe in its own type: whole numbers as float where a float is wanted, lists as tuples.

    Args:
        name: Name in messages.
        value: The value as given.
        kind: Its type, with its range.

    Raises:
        InputError: The value is not of that type.
    """
    try:
        if isinstance(value, float) and not math.isfinite(value):
            raise msgspec.ValidationError("it is not finite")  # noqa: TRY301 - told like any other wrong number
        if isinstance(value, int) and _is_choice(kind):
            # YAML's 4 is the choice "4".
            value = str(value)
        return msgspec.convert(value, type=kind)
    except msgspec.ValidationError as exc:
        wanted = _wanted(msgspec.inspect.type_info(kind))
        if isinstance(wanted, msgspec.inspect.LiteralType):
            raise InputError.unknown(name, str(value), map(str, wanted.values)) from exc
        raise InputError(f"{name} is {value!r}; it is {_in_words(wanted)}") from exc


def _is_choice(kind: object) -> bool:
    return isinstance(_wanted(msgspec.inspect.type_info(kind)), msgspec.inspect.LiteralType)


def _wanted(kind: msgspec.inspect.Type) -> msgspec.inspect.Type:
    """Returns the type of a value that is given: nobody writes null, which means leaving the key out."""
    if isinstance(kind, msgspec.inspect.UnionType):
        return next(part for part in kind.types if not isinstance(part, msgspec.inspect.NoneType))
    return kind


def _in_words(kind: msgspec.inspect.Type) -> str:
    """A type in words."""
    if isinstance(kind, msgspec.inspect.BoolType):
        return "true or false"
    if isinstance(kind, msgspec.inspect.IntType):
        return f"a whole number from {kind.ge} to {kind.le}"
    if isinstance(kind, msgspec.inspect.FloatType):
        if kind.le is not None:
            return f"a number from {kind.ge:g} to {kind.le:g}"
        return "a number above 0" if kind.gt is not None else "a number of at least 0"
    if isinstance(kind, msgspec.inspect.VarTupleType):
        return "a list of names" + (", at least one, e.g. [cpu]" if kind.min_length else "")
    return "a mapping of names to values" if isinstance(kind, msgspec.inspect.DictType) else "text"


def known_gates() -> dict[str, str]:
    """Describes each gate by name: two gates for the headline of every task, and those of size and speed."""
    headlines = HEADLINES.items()
    lowest = {f"min_{key}": f"lowest {name} of any int8 artifact, 0..1" for key, name in headlines}
    return {
        **lowest,
        **{f"max_{key}_drop": f"largest loss of {name} against float, 0..1" for key, name in headlines},
        **_GATES,
    }


def known_release() -> dict[str, str]:
    """Describes each entry of `release`, by name."""
    return dict(_RELEASE)


def known_tolerances() -> dict[str, str]:
    """Describes each tolerance by name: one for the headline of every task, and those of size and speed."""
    return {**{key: f"largest loss of {name}, 0..1" for key, name in HEADLINES.items()}, **_TOLERANCES}


def names() -> list[str]:
    """Names of the recipes that come with mnedge."""
    return sorted(path.stem for path in folder().glob("*.yaml"))


def folder() -> Path:
    """The folder of the recipes: inside the installed package, or beside it in a checkout."""
    installed = Path(__file__).parent / "recipes"
    return installed if installed.is_dir() else Path(__file__).parent.parent / "recipes"


def load(name_or_path: str) -> Recipe:
    """Reads a recipe by the name of one that comes with mnedge, or from a YAML file.

    Raises:
        InputError: No such recipe, not YAML, a misspelt key or a wrong value; with file and line.
    """
    path = Path(name_or_path)
    if name_or_path in names():
        path = folder() / f"{name_or_path}.yaml"
    elif not is_file(path):
        near = difflib.get_close_matches(name_or_path, names(), n=1)
        hint = f"; did you mean {near[0]!r}?" if near else "."
        raise InputError(f"no recipe file {name_or_path}{hint} Recipes that come with mnedge: {', '.join(names())}")
    settings = read_mapping(path, "variant: v3-small")
    known = kinds().keys() - {"skip_broken"}
    # `checked` gives each in the type of its key.
    values: dict[str, Any] = {}
    for key, setting in settings.items():
        try:
            if key not in known:
                raise InputError.unknown("key", key, known)
            values[key] = checked(key, setting.value, kinds()[key])
            _check_entries(key, values[key])
        except InputError as exc:
            raise InputError(f"{path} line {setting.line}: {exc}") from exc
    try:
        recipe = Recipe(**values)
    except InputError as exc:
        raise InputError(f"{path}: {exc}") from exc
    return _with_paths(recipe, path.parent)


def _check_entries(key: str, value: object) -> None:
    """Makes sure that the names of a mapping are known, and that each value is one: a limit, or text of a release."""
    if isinstance(value, dict) and key == "release":
        for name, text in value.items():
            if name not in _RELEASE:
                raise InputError.unknown("entry of release", name, _RELEASE)
            if not isinstance(text, str) or not text.strip():
                raise InputError(f"{name} of release is {text!r}; it is text, in quotes: {_RELEASE[name]}")
    elif isinstance(value, dict):
        what, known = ("gate", known_gates()) if key == "gates" else ("tolerance", known_tolerances())
        for name, limit in value.items():
            if name not in known:
                raise InputError.unknown(what, name, known)
            try:
                checked(f"{what} {name}", limit, limit_kind(name, known[name]))
            except InputError as exc:
                raise InputError(f"{exc}: {known[name]}") from exc


def limit_kind(name: str, said: str) -> object:
    """The type of a gate or tolerance, with its range.

    Args:
        name: Its name.
        said: Its description in `known_gates` or `known_tolerances`.
    """
    if name in _FLAGS:
        return bool
    return Share if said.endswith(_SHARE) else Amount


def _with_paths(recipe: Recipe, base: Path) -> Recipe:
    """Resolves weights and data that are paths against the recipe's own folder."""

    def resolve(value: str, words: tuple[str, ...]) -> str:
        is_name = value in words or value.startswith("timm:")
        return value if is_name or Path(value).is_absolute() else str(base / value)

    return replace(
        recipe,
        weights=resolve(recipe.weights, ("demo", "imagenet", "random")),
        data=resolve(recipe.data, ("demo",)),
        calibration=_calibration(recipe.calibration, base),
        model=recipe.model and resolve(recipe.model, ()),
        labels=recipe.labels and resolve(recipe.labels, ()),
    )


def parse_size(text: str | None) -> tuple[int, int] | None:
    """Height and width of e.g. "96x128", or one side of a square; None for none.

    Raises:
        InputError: The text is no size.
    """
    if text is None:
        return None
    sides = text.lower().split("x")
    if len(sides) not in (1, 2) or not all(side.isdecimal() and 0 < int(side) < 1 << 16 for side in sides):
        raise InputError(f"size {text!r} is no size; give HEIGHTxWIDTH in pixels, e.g. 96x128, or one side, e.g. 224")
    return int(sides[0]), int(sides[-1])


def _calibration(given: str | None, base: Path) -> str | None:
    """A calibration set that is a file or folder beside the recipe, by its path; a name stays."""
    if given is None or Path(given).is_absolute():
        return given
    return str(base / given) if is_there(base / given) else given
