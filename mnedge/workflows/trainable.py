"""Model of a training: the Keras model that is saved, and the copy of it that learns."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    import keras

    from mnedge.models import Variant
    from mnedge.models.description import Weights
    from mnedge.training.settings import Schedule
    from mnedge.workflows.train_model import OwnClassifier


@dataclass(frozen=True, eq=False)
class Trainable:
    """A Keras model before its training.

    Attributes:
        model: Model that is saved.
        layers: The model whose layers the schedule names.
        new_layers: Names of the layers of its head.
        from_scratch: Whether its weights are random.
        learner: Makes the copy that learns, and the function that writes its weights into the model; called in the
            scope of the distribution strategy.
    """

    model: keras.Model
    layers: keras.Model
    new_layers: frozenset[str]
    from_scratch: bool
    learner: Callable[[], tuple[keras.Model, Callable[[], None]]]


def trainable_variant(variant: Variant, weights: Weights, schedule: Schedule) -> Trainable:
    """Returns a variant with a new head on the backbone of some weights."""
    from mnedge.models.transfer import transfer_model
    from mnedge.training.learner import make_learner

    model, new_layers = transfer_model(variant, weights, schedule.seed)

    def learner() -> tuple[keras.Model, Callable[[], None]]:
        made = make_learner(model, schedule.precision, new_layers)
        return made, lambda: model.set_weights(made.get_weights())

    return Trainable(model, model, new_layers, weights == "random", learner)


def trainable_model(own: OwnClassifier, schedule: Schedule) -> Trainable:
    """Returns a model of the user's, with a new head if its own is for other classes."""
    from mnedge.sources.keras import load_model
    from mnedge.training.own_model import head_of, is_untrained, own_learner, with_new_head

    model, _ = load_model(own.path)
    head = head_of(model, str(own.path))
    if own.is_new_head:
        model = with_new_head(model, head, own.classes, softmax=True)
        head = head_of(model, str(own.path))
    plain = own_learner(model, head, own.pixels, own.size)

    def learner() -> tuple[keras.Model, Callable[[], None]]:
        made = own_learner(model, head, own.pixels, own.size, schedule.precision)
        return made.model, made.give_back

    # Frozen batch norms that have seen nothing would normalize nothing.
    return Trainable(model, plain.model, plain.new_layers, is_untrained(model) and schedule.epochs > 0, learner)
