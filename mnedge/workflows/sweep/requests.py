"""Requests to the workers of a sweep; `mnedge.results.sweep.Answer` is what comes back."""

from __future__ import annotations

from dataclasses import dataclass, field

from mnedge.choices import DEFAULT_TASK
from mnedge.recipe import Recipe  # noqa: TC001 - the JSON reader looks the annotations up when it runs
from mnedge.results.stored import ABSENT


@dataclass(frozen=True)
class Place:
    """Location of a file or folder: a path on the machine that asks, or a parcel on any machine.

    Attributes:
        path: The path; None for a parcel.
        parcel: Address of the parcel; None for a path.
        name: Name of the file in the parcel; "" for the parcel's folder.
    """

    path: str | None = None
    parcel: str | None = None
    name: str = ""


@dataclass(frozen=True)
class BuildRequest:
    """Asks for the artifacts of a recipe.

    Attributes:
        recipe: The recipe.
        data: Parcel of the pictures; None for the recipe's own data.
        calibration: Parcel of the calibration set; None for the recipe's own.
        weights: Parcel of the weights file; None for the recipe's own weights.
    """

    recipe: Recipe
    data: Place | None = None
    calibration: Place | None = None
    weights: Place | None = None


@dataclass(frozen=True)
class EvaluateRequest:
    """Asks for the accuracy of an artifact on some pictures.

    Attributes:
        artifact: The artifact.
        recipe: The recipe of a model of the user's, which decides how the data is read and scored; None for a variant.
        task: Name of the task; what does not add up is scored on all pictures at once.
        data: The data set, as --data takes it; unused if the pictures come as a parcel.
        skip_broken: Leave broken pictures of `data` out.
        pictures: Parcel of the pictures; None for `data`.
        numbers: Picture numbers; None for the eval split of the parcel.
        threads: Pictures that are evaluated side by side.
    """

    artifact: Place
    recipe: Recipe | None = None
    task: str = DEFAULT_TASK
    data: str = ""
    skip_broken: bool = False
    pictures: Place | None = None
    numbers: tuple[int, ...] | None = None
    threads: int = 1


@dataclass(frozen=True)
class Request:
    """A request to a worker: one of the two."""

    build: BuildRequest | None = field(default=None, metadata=ABSENT)
    evaluate: EvaluateRequest | None = field(default=None, metadata=ABSENT)
