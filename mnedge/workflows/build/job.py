"""Job: a recipe with everything resolved that a stage may ask for."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from mnedge import targets, tasks
from mnedge.choices import DEFAULT_TASK
from mnedge.data.calibration import CalibrationSet, calibration_of, calibration_of_arrays, open_calibration
from mnedge.data.origin import origin_of
from mnedge.errors import InputError
from mnedge.files import sha256
from mnedge.graph.heads import shows_numbers
from mnedge.graph.macs import graph_parameters
from mnedge.models import Variant
from mnedge.models.build import classes_of, named_weights, packaged_demo
from mnedge.models.cost import least_bytes
from mnedge.models.description import description_of, trained_draw
from mnedge.models.pytorch import resolution_of
from mnedge.models.variant import CLASSIFIER
from mnedge.pixels import SYMMETRIC, Pixels
from mnedge.progress import telling
from mnedge.workflows.build.own_model import OwnModel, resolve_model

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mnedge.data._dataset import Dataset
    from mnedge.data.arrays import Arrays
    from mnedge.data.origin import Origin
    from mnedge.graph.heads import Head
    from mnedge.models.description import Description, Weights
    from mnedge.progress import Progress
    from mnedge.recipe import Recipe
    from mnedge.targets import Target
    from mnedge.tasks import Task

# Length of an embedding that nobody asked for another one of.
_DIMENSIONS = 128


@dataclass(frozen=True, eq=False)
class Job:
    """A recipe with everything resolved that a stage may ask for.

    Attributes:
        recipe: As given.
        variant: The network, with its resolution and classes; None for a model of the user's.
        model: A model of the user's; None for a variant.
        dataset: Data set of the pictures.
        weights: "demo", "imagenet", "random" or the file.
        weights_sha256: Checksum of the file that the weights come from; "" where there is none yet.
        targets: Each target by name, in the order of the recipe.
    """

    recipe: Recipe
    variant: Variant | None
    dataset: Dataset
    weights: Weights
    weights_sha256: str
    targets: dict[str, Target]
    model: OwnModel | None = None

    @property
    def network(self) -> Variant:
        """The variant of a build that has one."""
        assert self.variant is not None, "a model of the user's is no variant"
        return self.variant

    @property
    def slug(self) -> str:
        """Name of the artifacts."""
        return self.network.slug if self.model is None else self.model.slug

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of the input, pixels."""
        return (self.network.resolution,) * 2 if self.model is None else self.model.size

    @property
    def classes(self) -> int:
        """Number of values of the first output."""
        return self.network.classes if self.model is None else self.model.values

    @property
    def pixels(self) -> Pixels | None:
        """The pixels of the float network; None for a model on arrays whose range is not stated."""
        return SYMMETRIC if self.model is None else self.model.pixels

    @property
    def arrays(self) -> Arrays | None:
        """Samples of the network's inputs instead of pictures; None for pictures."""
        return None if self.model is None else self.model.arrays

    @property
    def told_head(self) -> Head | None:
        """The kind of a model's first output as the user or the right answers in arrays state it; None if not."""
        if self.model is None:
            return None
        first = self.model.network.outputs[0].head
        if self.recipe.head is not None:
            return first
        truths = None if self.arrays is None else self.arrays.truths.get("")
        return "numbers" if first in ("logits", "numbers") and truths is not None and shows_numbers(truths) else None

    @property
    def origin(self) -> Origin | None:
        """Returns how the splits of the data were drawn, for the built files; None for data with its own splits."""
        # A .keras of `mnedge train` was measured on the pictures that its own draw kept apart.
        return origin_of(self.dataset, "training" if isinstance(self.weights, Path) else "calibration")

    @property
    def least_bytes(self) -> int:
        """Bytes of the float weights, which any build needs."""
        return least_bytes(self.network) if self.model is None else 4 * graph_parameters(self.model.network.graph)

    @cached_property
    def calibration(self) -> CalibrationSet:
        """The pictures that quantization sees.

        Raises:
            InputError: There is no such set, or the data has no calibration split.
        """
        if self.recipe.calibration is None:
            if self.arrays is not None:
                return calibration_of_arrays(self.arrays.part(self.dataset.split("calibration")))
            return calibration_of(self.dataset)
        return open_calibration(self.recipe.calibration, skip_broken=self.recipe.skip_broken)

    @property
    def task(self) -> Task:
        """The task of the network."""
        return tasks.get(self.recipe.task)

    @property
    def is_labelled(self) -> bool:
        """Returns whether accuracy means anything: random weights know no classes."""
        return self.weights != "random" and (self.model is None or self.model.is_labelled)

    @property
    def has_accuracy(self) -> bool:
        """Returns whether the data has right answers: labels of pictures, or truths of the first output of arrays."""
        return self.is_labelled and (self.arrays is None or "" in self.arrays.truths)

    def labels(self) -> list[str]:
        """Class names, one per output; numbers if the data set names none; [] for outputs that are not classes."""
        if self.model is not None:
            return list(self.model.labels)
        if self.task.classes(self.dataset) is None:
            return []
        classes = self.network.classes
        names = list(self.dataset.classes[:classes])
        if not self.is_labelled and len(self.dataset.classes) != classes:
            names = []
        return names + [str(index) for index in range(len(names), classes)]


def resolve(recipe: Recipe, progress: Progress | None = None, *, check_data: bool = False) -> Job:
    """Opens the data, finds the weights and makes sure that both fit the variant.

    Args:
        recipe: Recipe to build.
        progress: Called with the name of a stage and the share of it that is done, 0..1.
        check_data: Read every file of the data again, whatever the cache remembers of it.

    Raises:
        InputError: Something does not exist or does not fit; the message says what and what would.
    """
    task = tasks.get(recipe.task)
    chosen = {name: targets.get(name) for name in recipe.targets}
    if recipe.model is not None:
        model, pictures = resolve_model(recipe, task, telling(progress), check_data=check_data)
        return _checked(Job(recipe, None, pictures, model.path, model.sha256, chosen, model))
    weights = named_weights(recipe.weights, ("demo", "imagenet", "random"))
    description = description_of(weights)
    _check_task(recipe, description)
    head = _head(recipe, task, description)
    # `Recipe` refuses 0, which is no network's and must not become the default.
    plain = Variant(recipe.variant, recipe.alpha, recipe.resolution or 224, recipe.classes or 1000, *head)
    known = classes_of(plain, weights) if plain.head == CLASSIFIER else _trained_classes(weights, description, task)
    # Weights that were trained here are measured on the pictures that were held out then.
    draw = trained_draw(weights)
    dataset = task.open_dataset(recipe.data, skip_broken=recipe.skip_broken, draw=draw)
    if check_data:
        dataset = dataset.read_again()
    classes = recipe.classes or known or task.classes(dataset) or _DIMENSIONS
    trained_on = resolution_of(weights) if isinstance(weights, Path) else None
    resolution = recipe.resolution or trained_on or dataset.default_resolution
    variant = replace(plain, resolution=resolution, classes=classes)
    if known is not None and classes != known:
        raise InputError(
            f"--classes {classes} does not fit the weights {recipe.weights}, which tell {known} classes apart; "
            "leave --classes out, or take --weights random"
        )
    if weights != "random" and task.classes(dataset) is not None:
        _check_classes(recipe, task, dataset, classes)
        dataset = _named_as(dataset, description.get("classes", ()), recipe)
    checkpoint = weights if isinstance(weights, Path) else packaged_demo(variant) if weights == "demo" else None
    return _checked(Job(recipe, variant, dataset, weights, sha256(checkpoint) if checkpoint else "", chosen))


def _checked(job: Job) -> Job:
    if job.recipe.int8:
        # A set that is missing is found out before anything is trained or converted.
        len(job.calibration)
    return job


def _check_task(recipe: Recipe, description: Description) -> None:
    trained = description.get("task", DEFAULT_TASK)
    if description and trained != recipe.task:
        raise InputError(
            f"the weights {recipe.weights} were trained to {trained}, asked for is {recipe.task}; "
            f"give --task {trained}, or weights of `mnedge train --task {recipe.task}`"
        )


def _head(recipe: Recipe, task: Task, description: Description) -> tuple[str, int | None]:
    """The head and its output stride: as asked for, as the weights have them, or the task's own."""
    head = recipe.head or description.get("head") or task.heads[0]
    if head not in task.heads:
        raise InputError.unknown(f"head for --task {task.name}", head, task.heads)
    if description and head != description.get("head", CLASSIFIER):
        raise InputError(
            f"the weights {recipe.weights} have the head {description.get('head')}, asked for is {head}; leave --head "
            f"out, or train another with `mnedge train --task {task.name} --head {head}`"
        )
    return head, recipe.output_stride or description.get("output_stride")


def _trained_classes(weights: Weights, description: Description, task: Task) -> int | None:
    if weights == "random":
        return None
    if not isinstance(weights, Path):
        raise InputError(
            f"the {weights} weights are a classifier's and know nothing of --task {task.name}; train some with "
            f"`mnedge train --task {task.name}` and give them with --weights, or take --weights random"
        )
    if not description:
        raise InputError(
            f"{weights} does not say which classes its head knows; take the .keras that `mnedge train` wrote, or "
            "--weights random"
        )
    return int(description.get("outputs") or len(description["classes"]))


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


def _check_classes(recipe: Recipe, task: Task, dataset: Dataset, classes: int) -> None:
    highest = int(dataset.labels.max())
    fits = task.classes(dataset) == classes if dataset.fixed_classes else highest < classes
    if not fits:
        shown = f"{len(dataset.classes)} classes" if dataset.fixed_classes else f"class_index {highest}"
        raise InputError(
            f"the weights {recipe.weights} tell {classes} classes apart, but {recipe.data} has {shown}; "
            "give --data with the classes of the weights, other --weights, or --weights random to leave accuracy out"
        )
