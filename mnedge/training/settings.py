"""Settings of a training: how long, how fast, from where, with which augmentation."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, fields
from typing import get_args

from mnedge.choices import ClassWeights, Strength, TrainingPrecision
from mnedge.errors import InputError

# Of epochs or of pictures a step: more would be a slip of the hand, and end at no time.
_MOST = 1_000_000
_WHOLE = (
    ("head_epochs", 0, _MOST), ("epochs", 0, _MOST), ("batch_size", 1, _MOST), ("patience", 1, _MOST),
    ("feature_copies", 1, 1000), ("seed", 0, 2**32 - 1),
)  # fmt: skip


_SHARES = (
    ("weight_decay", 0.0, 0.05), ("label_smoothing", 0.0, 0.1), ("head_learning_rate", 5e-324, 0.002),
    ("learning_rate", 5e-324, 0.0005),
)  # fmt: skip


@dataclass(frozen=True)
class Augmentation:
    """Augmentation strengths; each is the bound of a uniform range.

    Attributes:
        zoom: Shares of the picture's side that a crop keeps; 1.0 is all of it.
        stretch: Aspect ratios of the crop, at most this one and at least its inverse.
        degrees: Rotation to both sides.
        flip: Whether pictures are mirrored left to right, which letters and digits do not take.
        brightness: Shift as a share of the pixels' range.
        contrast: Change of the distance from the picture's mean.
        saturation: Change of the distance from grey.
    """

    zoom: tuple[float, float] = (0.65, 1.0)
    stretch: float = 1.2
    degrees: float = 10.0
    flip: bool = True
    brightness: float = 0.1
    contrast: float = 0.25
    saturation: float = 0.4

    @classmethod
    def of(cls, strength: Strength, *, flip: bool = True) -> Augmentation:
        """The augmentation of a name: "none", "light" (small objects, fine print) or "default"."""
        if strength == "none":
            return cls((1.0, 1.0), 1.0, 0.0, flip=False, brightness=0.0, contrast=0.0, saturation=0.0)
        if strength == "light":
            return cls((0.85, 1.0), 1.1, 5.0, flip=flip, brightness=0.05, contrast=0.1, saturation=0.1)
        return cls(flip=flip)


@dataclass(frozen=True)
class Schedule:
    """A training run in two phases: a new head on a frozen backbone, then fine-tuning of both.

    Attributes:
        head_epochs: Epochs of the frozen phase; its features are computed once, so these cost next to nothing.
        epochs: Epochs of fine-tuning: the horizon that the learning rate falls to nothing over.
        until_epoch: Pause after this many epochs of fine-tuning; None for all. A run with a later `until_epoch` goes on
            from there and ends where one without pause would.
        head_learning_rate: Peak rate of the frozen phase (Adam).
        learning_rate: Peak rate of fine-tuning (Adam with decoupled weight decay).
        weight_decay: Weight decay of the kernels, per step and unit of learning rate
            (https://arxiv.org/abs/1711.05101, eq. 12).
        label_smoothing: Share of a label given to all classes alike (https://arxiv.org/abs/1512.00567, section 7).
        from_layer: Name of the Keras layer from which on fine-tuning changes weights; None for all layers.
        batch_size: Pictures a step.
        patience: Epochs of fine-tuning without a better metric after which it stops.
        class_weights: Whether each class counts alike, however many pictures it has.
        precision: dtype policy of Keras; the mixed ones are for GPUs and TPUs.
        feature_copies: Augmented copies of each picture whose features the frozen phase learns from.
        augmentation: Augmentation of training pictures.
        seed: Seed of the head's kernels, the order, the augmentation and the dropout.
    """

    head_epochs: int = 20
    epochs: int = 24
    until_epoch: int | None = None
    head_learning_rate: float = 2e-3
    learning_rate: float = 5e-4
    weight_decay: float = 0.05
    label_smoothing: float = 0.1
    from_layer: str | None = None
    batch_size: int = 32
    patience: int = 10
    class_weights: ClassWeights = "balanced"
    precision: TrainingPrecision = "float32"
    feature_copies: int = 4
    augmentation: Augmentation = field(default_factory=Augmentation)
    seed: int = 0

    def __post_init__(self) -> None:
        for name, allowed in (("class_weights", get_args(ClassWeights)), ("precision", get_args(TrainingPrecision))):
            if getattr(self, name) not in allowed:
                raise InputError.unknown(name, str(getattr(self, name)), allowed)
        for name, least, most in _WHOLE:
            if not least <= getattr(self, name) <= most:
                raise InputError(f"{name} is {getattr(self, name)}; it is a whole number from {least} to {most:,}")
        if self.head_epochs + self.epochs == 0:
            raise InputError("head_epochs and epochs are both 0, so nothing would be trained; give one of them")
        if self.until_epoch is not None and not 0 <= self.until_epoch <= self.epochs:
            raise InputError(f"until_epoch is {self.until_epoch}; it is 0 to epochs, which is {self.epochs}")
        for name, lowest, example in _SHARES:
            value = getattr(self, name)
            # nan is in no range.
            if not 0 <= value < 1 or value < lowest:
                low = "above" if lowest else "at least"
                raise InputError(f"{name} is {value}; it is {low} 0 and below 1, e.g. {example}")

    @property
    def until(self) -> int:
        """Epochs of fine-tuning that are run."""
        return self.epochs if self.until_epoch is None else self.until_epoch

    def check_trains(self, *, from_scratch: bool) -> None:
        """Makes sure that there is an epoch to run.

        Args:
            from_scratch: Whether the backbone knows nothing yet, so that there is no frozen phase.

        Raises:
            InputError: There is none.
        """
        if self.until == 0 and (from_scratch or self.head_epochs == 0):
            name = "epochs" if self.until_epoch is None else "until_epoch"
            why = "random weights have no frozen phase" if from_scratch else "head_epochs is 0"
            raise InputError(f"{name} is 0 and {why}, so nothing would be trained; give {name} of at least 1")

    def as_json(self) -> dict[str, object]:
        """The schedule as JSON values, for keys and reports."""
        return asdict(self)

    def horizon(self) -> dict[str, object]:
        """Returns everything that the weights after an epoch depend on: the schedule without the epoch of its pause."""
        return {entry.name: self.as_json()[entry.name] for entry in fields(self) if entry.name != "until_epoch"}
