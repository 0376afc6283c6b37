"""Training of candidates on the user's data, from the weights that there are for each."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from mnedge import tasks
from mnedge.errors import InputError
from mnedge.models import families
from mnedge.models.build import classes_of, named_weights
from mnedge.workflows.train_network import train_network

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from mnedge.data.dataset import Dataset
    from mnedge.models import Variant
    from mnedge.models.description import Weights
    from mnedge.training.settings import Schedule
    from mnedge.workflows.search.candidates import Candidate

WORDS = ("imagenet", "random")


@dataclass
class TransferTrainer:
    """Transfer learning as `mnedge train` does it, in rounds; each round goes on from the last one.

    Attributes:
        task: Name of the task.
        dataset: The user's pictures.
        sources: Weights of backbones: "imagenet", "random", or files, each of one family and width.
        schedule: Schedule of the longest training; a round is its beginning, so the learning rate falls as if there
            were no rounds.
        paths: The .keras of each candidate's last round.
    """

    task: str
    dataset: Dataset
    sources: Sequence[str]
    schedule: Schedule
    paths: dict[Candidate, Path] = field(default_factory=dict)

    def __call__(self, candidate: Candidate, epochs: int, progress: Callable[[float], None]) -> float:
        """Trains a candidate up to a total number of epochs of fine-tuning; returns the eval split's headline, 0..1."""
        weights = self.weights_of(candidate.variant)
        assert weights is not None, candidate.name
        trained = train_network(
            candidate.variant,
            self.dataset,
            replace(self.schedule, until_epoch=min(epochs, self.schedule.epochs)),
            task=self.task,
            weights=weights,
            progress=lambda _stage, share: progress(share),
        )
        self.paths[candidate] = trained.path
        return trained.score

    def weights_of(self, variant: Variant) -> Weights | None:
        """The first of the sources that fits a variant's backbone; None if none fits."""
        for source in self.sources:
            if source == "random":
                return "random"
            if source == "imagenet":
                if variant.alpha in families.get(variant.family).imagenet_alphas:
                    return "imagenet"
                continue
            try:
                found = named_weights(source, ())
                classes_of(variant, found)
            except InputError:
                continue
            return found
        return None


def trainer(task: str, dataset: Dataset, sources: Sequence[str], *, epochs: int, seed: int) -> TransferTrainer:
    """Makes the trainer of a search.

    Args:
        task: Name of the task.
        dataset: The user's pictures.
        sources: "imagenet", "random", or weights files; the first that fits a variant is taken.
        epochs: Epochs of fine-tuning of the longest training.
        seed: Seed of everything random.

    Raises:
        InputError: A weights file does not exist, or the pictures cannot be trained on, before anything is compiled.
    """
    chosen = tasks.get(task)
    chosen.check(dataset)
    for source in sources:
        named_weights(source, WORDS)
    return TransferTrainer(task, dataset, tuple(sources), replace(chosen.schedule, epochs=epochs, seed=seed))
