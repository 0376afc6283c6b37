"""Recipe: what to build; frozen, validated, from YAML or from flags."""

from __future__ import annotations

import difflib
import math
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

from mnedge import registry
from mnedge.errors import InputError
from mnedge.foreign import checked_number, is_file, read_mapping
from mnedge.results.metric import Declared

if TYPE_CHECKING:
    from collections.abc import Mapping

# Name of a task: a file of mnedge/tasks.
Task = str
Method = Literal["ptq", "qat"]
Effort = Literal["fast", "default", "max"]
IoDtype = Literal["int8", "uint8", "float32"]
Granularity = Literal["per-channel", "per-tensor"]
PostProcessing = Literal["inside", "outside"]
OnnxActivations = Literal["uint8", "int8"]

_CHOICES: dict[str, tuple[str, ...]] = {
    "method": get_args(Method),
    "effort": get_args(Effort),
    "io": get_args(IoDtype),
    "granularity": get_args(Granularity),
    "post_processing": get_args(PostProcessing),
    "onnx_activations": get_args(OnnxActivations),
}
# The figure that each task is judged by, as accuracy rows have it.
HEADLINES = Declared(lambda metric: metric.is_headline)
# What descriptions of figures end with that are shares.
SHARE = ", 0..1"
_GATES = {
    "max_p50_ms": "highest median latency of any int8 artifact, ms",
    "max_size_kib": "largest int8 .tflite, KiB",
    "max_arena_kib": "largest arena of a microcontroller artifact, KiB",
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
# Whole numbers: the lowest and the highest that each may be. What a network or a data set takes is checked by these.
RANGES = {
    "resolution": (1, 65_535),
    "classes": (1, 1_000_000),
    "output_stride": (1, 32),
    "threads": (1, 1024),
    "seed": (0, 2**32 - 1),
}
# The one gate that is no number.
FLAGS = ("int8_only",)


@dataclass(frozen=True)
class Recipe:
    """One thing to build.

    Attributes:
        model: A model of one's own to build instead of a variant: a .keras, .h5, SavedModel folder, float
            .tflite or float .onnx.
        variant: Family token; `mnedge variants` lists them.
        alpha: Width multiplier.
        resolution: Side of the input in pixels; None for the data set's own.
        classes: Number of classes; None for the data set's.
        task: What the network is for.
        head: Which of the task's heads; None for the one that the weights have, or the task's first.
        output_stride: Of the backbone's last map under the head; None for what the weights have, or the head's first.
        int8: Whether int8 artifacts are built beside the float ones.
        method: Quantization after training (ptq) or with fake quantization in training (qat).
        effort: How much quantization may cost; "max", and with training all but "fast", also takes slower gates.
        granularity: Of the weight scales; None for what the target wants.
        io: dtype of the int8 artifacts' input and output.
        post_processing: Whether what follows the raw outputs of a detector or segmenter is "inside" the files or
            "outside", in the app.
        onnx_activations: dtype of the activations in int8 ONNX; None for what the target's runtime fuses.
        allow_float: Ops that may stay float in an int8 artifact.
        weights: demo, imagenet, random, or a file.
        data: demo, a folder, or a labels.csv; other tasks than classifying say themselves what theirs look like.
        pixels: Range of the model's pixels, as `Pixels.parse` reads it; None for what the model says or the data shows.
        size: Height and width of the model's input, e.g. 96x128, where the model leaves them open.
        labels: A file of the model's class names, one a line; None for those of the model, or of the data.
        positive: Class of the data that is the yes of a model with one output.
        skip_broken: Leave broken pictures out.
        calibration: Calibration set: the name of one that comes with mnedge, a .yaml, a folder, a labels.csv or a .npy;
            None for the calibration split of the data.
        targets: Names of targets.
        threads: Threads of latency measurements.
        seed: Of everything random.
        gates: Limits that can fail the build, by name.
        tolerances: How much worse than a baseline each figure may be, by name; what is not named is not compared.
        bundles: Kinds of bundles to make.
    """

    model: str | None = None
    variant: str = "v3-small"
    alpha: float = 1.0
    resolution: int | None = None
    classes: int | None = None
    task: Task = "classify"
    head: str | None = None
    output_stride: int | None = None
    int8: bool = False
    method: Method = "ptq"
    effort: Effort = "default"
    granularity: Granularity | None = None
    io: IoDtype = "int8"
    post_processing: PostProcessing = "outside"
    onnx_activations: OnnxActivations | None = None
    allow_float: tuple[str, ...] = ()
    weights: str = "demo"
    data: str = "demo"
    pixels: str | None = None
    size: str | None = None
    labels: str | None = None
    positive: str | None = None
    skip_broken: bool = False
    calibration: str | None = None
    targets: tuple[str, ...] = ("cpu",)
    threads: int = 1
    seed: int = 0
    gates: dict[str, float | bool] = field(default_factory=dict)
    tolerances: dict[str, float] = field(
        default_factory=lambda: {
            **dict.fromkeys(HEADLINES, 0.005),
            "bytes": 0.02,
            "arena_bytes": 0.0,
            "flash_bytes": 0.02,
        }
    )
    bundles: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for name, allowed in _CHOICES.items():
            got = getattr(self, name)
            if got is not None and got not in allowed:
                raise InputError.unknown(name, str(got), allowed)
        self._check_numbers()
        for what, given, known in (
            ("task", (self.task,), registry.names("mnedge.tasks")),
            ("bundle", self.bundles, registry.names("mnedge.bundles")),
        ):
            if unknown := [name for name in given if name not in known]:
                raise InputError.unknown(what, unknown[0], known)
        if not self.targets:
            raise InputError("targets is empty; name at least one, e.g. cpu")

    def _check_numbers(self) -> None:
        checked_number("alpha", self.alpha)
        for name, (least, most) in RANGES.items():
            got = getattr(self, name)
            if got is not None and not least <= got <= most:
                raise InputError(f"{name} is {got}; it is a whole number from {least} to {most}")
        for name, limit in self.gates.items():
            _check_limit("gate", name, limit, known_gates())
        for name, limit in self.tolerances.items():
            _check_limit("tolerance", name, limit, known_tolerances())

    @property
    def input_size(self) -> tuple[int, int] | None:
        """Height and width of `size`, pixels; None where nothing is said."""
        return parse_size(self.size)

    def as_json(self) -> dict[str, Any]:
        """The recipe as JSON values, for keys and manifests."""
        return asdict(self)

    def with_flags(self, flags: dict[str, Any]) -> Recipe:
        """A copy in which every flag that was given (is not None or empty) wins.

        Raises:
            InputError: A value is not allowed.
        """
        given = {name: value for name, value in flags.items() if value is not None and value != ()}
        return replace(self, **given)


def known_gates() -> dict[str, str]:
    """What each gate holds, by name: two gates for the headline of every task, and those of size and speed."""
    headlines = HEADLINES.items()
    lowest = {f"min_{key}": f"lowest {name} of any int8 artifact, 0..1" for key, name in headlines}
    return {
        **lowest,
        **{f"max_{key}_drop": f"largest loss of {name} against float, 0..1" for key, name in headlines},
        **_GATES,
    }


def known_tolerances() -> dict[str, str]:
    """What each tolerance allows, by name: one for the headline of every task, and those of size and speed."""
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
    known = {entry.name for entry in fields(Recipe)} - {"skip_broken"}
    for key, setting in settings.items():
        if key not in known:
            near = difflib.get_close_matches(key, known, n=1)
            hint = f"; did you mean {near[0]!r}?" if near else "."
            raise InputError(f"{path} line {setting.line}: unknown key {key!r}{hint} Known: {', '.join(sorted(known))}")
    values = {key: _typed(path, setting.line, key, setting.value) for key, setting in settings.items()}
    try:
        recipe = Recipe(**values)
    except InputError as exc:
        raise InputError(f"{path}: {exc}") from exc
    return _with_paths(recipe, path.parent)


def _typed(path: Path, line: int, key: str, value: Any) -> Any:  # noqa: ANN401 - YAML values
    """Checks a value's type against its default and turns lists into tuples."""
    kinds: dict[str, tuple[type, ...]] = {
        "alpha": (int, float),
        "resolution": (int,),
        "classes": (int,),
        "output_stride": (int,),
        "threads": (int,),
        "seed": (int,),
        "int8": (bool,),
        "gates": (dict,),
        "tolerances": (dict,),
        "targets": (list,),
        "bundles": (list,),
        "allow_float": (list,),
    }
    wanted = kinds.get(key, (str,))
    if not isinstance(value, wanted) or (isinstance(value, bool) and bool not in wanted):
        names_wanted = " or ".join(kind.__name__ for kind in wanted)
        raise InputError(f"{path} line {line}: {key} is {value!r}; it takes a {names_wanted}")
    if isinstance(value, dict):
        what, known = ("gate", known_gates()) if key == "gates" else ("tolerance", known_tolerances())
        for name, limit in value.items():
            try:
                _check_limit(what, name, limit, known)
            except InputError as exc:
                raise InputError(f"{path} line {line}: {exc}") from exc
    for entry in value if isinstance(value, list) else ():
        if not isinstance(entry, str):
            raise InputError(f"{path} line {line}: {key} has {entry!r}; it is a list of names")
    return tuple(value) if isinstance(value, list) else value


def _check_limit(what: str, name: str, limit: object, known: Mapping[str, str]) -> None:
    """Makes sure that a gate or tolerance exists and that its limit is one that a figure can be held against."""
    if name not in known:
        raise InputError.unknown(what, name, known)
    if name in FLAGS:
        if not isinstance(limit, bool):
            raise InputError(f"{what} {name} is {limit!r}; it takes true or false")
        return
    if not isinstance(limit, (int, float)) or isinstance(limit, bool):
        raise InputError(f"{what} {name} is {limit!r}; it takes a number: {known[name]}")
    most = 1.0 if SHARE in known[name] else math.inf
    # Not finite covers nan, with which every comparison is false.
    if not (0 <= limit <= most and math.isfinite(limit)):
        shown = "from 0 to 1" if SHARE in known[name] else "of at least 0"
        raise InputError(f"{what} {name} is {limit!r}; it takes a number {shown}: {known[name]}")


def _with_paths(recipe: Recipe, base: Path) -> Recipe:
    """Resolves weights and data that are paths against the recipe's own folder."""

    def resolve(value: str, words: tuple[str, ...]) -> str:
        return value if value in words or Path(value).is_absolute() else str(base / value)

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
    return str(base / given) if (base / given).exists() else given
