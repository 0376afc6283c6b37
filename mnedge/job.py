"""Job: a recipe with everything resolved that a stage may ask for."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, cast

from mnedge import data, targets
from mnedge.artifact import sha256
from mnedge.errors import InputError, UnsupportedError
from mnedge.models import Variant
from mnedge.models.build import classes_of, packaged_demo
from mnedge.models.transfer import description_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mnedge.data._dataset import Dataset
    from mnedge.models.build import Weights
    from mnedge.recipe import Recipe
    from mnedge.targets import Target


@dataclass(frozen=True, eq=False)
class Job:
    """What a build works on.

    Attributes:
        recipe: As given.
        variant: The network, with its resolution and classes.
        dataset: Where pictures come from.
        weights: "demo", "imagenet", "random" or the file.
        weights_sha256: Checksum of the file that the weights come from; "" where there is none yet.
        targets: Each target by name, in the order of the recipe.
    """

    recipe: Recipe
    variant: Variant
    dataset: Dataset
    weights: Weights
    weights_sha256: str
    targets: dict[str, Target]

    @property
    def slug(self) -> str:
        """Name of the artifacts."""
        return self.variant.slug

    @property
    def is_labelled(self) -> bool:
        """Whether accuracy means anything: random weights know no classes."""
        return self.weights != "random"

    def labels(self) -> list[str]:
        """Class names, one an output; numbers where the data set does not name them."""
        names = list(self.dataset.classes[: self.variant.classes])
        if not self.is_labelled and len(self.dataset.classes) != self.variant.classes:
            names = []
        return names + [str(index) for index in range(len(names), self.variant.classes)]


def resolve(recipe: Recipe) -> Job:
    """Opens the data, finds the weights and makes sure that both fit the variant.

    Raises:
        InputError: Something does not exist or does not fit; the message says what and what would.
        UnsupportedError: The task is not built yet.
    """
    if recipe.task != "classify":
        raise UnsupportedError(f"task {recipe.task!r} is not built by this version; it builds classify")
    chosen = {name: targets.get(name) for name in recipe.targets}
    weights: Weights = Path(recipe.weights)
    if recipe.weights in ("demo", "imagenet", "random"):
        weights = cast("Weights", recipe.weights)
    plain = Variant(recipe.variant, recipe.alpha, recipe.resolution or 224, recipe.classes or 1000)
    if isinstance(weights, Path) and not weights.is_file():
        raise InputError(f"no weights file {weights}; --weights takes demo, imagenet, random or a file that exists")
    known = classes_of(plain, weights)
    told = description_of(weights)
    # Weights that were trained here are measured on the pictures that were held out then.
    seed = told.get("split_seed") or 0
    dataset = data.open_dataset(recipe.data, skip_broken=recipe.skip_broken, split_seed=seed)
    classes = recipe.classes or known or len(dataset.classes)
    variant = replace(plain, resolution=recipe.resolution or dataset.default_resolution, classes=classes)
    if known is not None and classes != known:
        raise InputError(
            f"--classes {classes} does not fit the weights {recipe.weights}, which tell {known} classes apart; "
            "leave --classes out, or take --weights random"
        )
    if weights != "random":
        _check_classes(recipe, dataset, classes)
        dataset = _named_as(dataset, told.get("classes", ()), recipe)
    checkpoint = weights if isinstance(weights, Path) else packaged_demo(variant) if weights == "demo" else None
    return Job(recipe, variant, dataset, weights, sha256(checkpoint) if checkpoint else "", chosen)


def _named_as(dataset: Dataset, names: Sequence[str], recipe: Recipe) -> Dataset:
    """The data set with the class names that the weights carry, which must not contradict its own."""
    if not names:
        return dataset
    for index, (own, name) in enumerate(zip(dataset.classes, names, strict=False)):
        # A CSV without names calls its classes by their index.
        if own not in (name, str(index)):
            raise InputError(
                f"class {index} is {own!r} in {recipe.data}, but {name!r} in the weights {recipe.weights}; they tell "
                f"{', '.join(names)} apart, in this order: give --data with the same classes"
            )
    return replace(dataset, classes=tuple(names))


def _check_classes(recipe: Recipe, dataset: Dataset, classes: int) -> None:
    highest = int(dataset.labels.max())
    fits = len(dataset.classes) == classes if dataset.fixed_classes else highest < classes
    if not fits:
        shown = f"{len(dataset.classes)} classes" if dataset.fixed_classes else f"class_index {highest}"
        raise InputError(
            f"the weights {recipe.weights} tell {classes} classes apart, but {recipe.data} has {shown}; "
            "give --data with the classes of the weights, other --weights, or --weights random to leave accuracy out"
        )
