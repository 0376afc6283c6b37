"""Result of `predict`: the answers to pictures."""

from __future__ import annotations

from dataclasses import dataclass, field

from mnedge.results import shown
from mnedge.results.stored import ABSENT, FLAT


@dataclass(frozen=True)
class ClassAnswer:
    """A class in a picture, with its probability.

    Attributes:
        label: Name of the class.
        index: Its index.
        score: Its probability, 0..1.
        yes: Whether the label is there, for labels that do not exclude each other; None for classes that do.
    """

    label: str
    index: int
    score: float
    yes: bool | None = field(default=None, metadata=ABSENT)

    @property
    def said(self) -> str:
        """The answer in words: "cat 0.912", "cat yes 0.912"."""
        answer = "" if self.yes is None else " yes" if self.yes else " no"
        return f"{self.label}{answer} {self.score:.3f}"


@dataclass(frozen=True)
class ObjectAnswer:
    """An object in a picture.

    Attributes:
        label: Name of its class.
        index: Index of its class.
        score: 0..1.
        box: y1, x1, y2, x2 in pixels of the upright picture.
    """

    label: str
    index: int
    score: float
    box: tuple[float, float, float, float]

    @property
    def said(self) -> str:
        """The answer in words, with whole pixels."""
        y1, x1, y2, x2 = (round(at) for at in self.box)
        return f"{self.label} {self.score:.3f} at x {x1} to {x2}, y {y1} to {y2}"


@dataclass(frozen=True)
class ShareAnswer:
    """The share of a picture's pixels that show a class, 0..1; pixels that the model does not see do not count."""

    label: str
    index: int
    fraction: float

    @property
    def said(self) -> str:
        """The answer in words: "cat 38.8 %"."""
        return f"{self.label} {100 * self.fraction:.1f} %"


@dataclass(frozen=True)
class VectorAnswer:
    """The vector of a picture.

    Attributes:
        similarity: Cosine with the vector of the first picture: 1 for the same direction.
        length: Its Euclidean length as the model gives it.
        embedding: The vector, brought to length 1.
    """

    similarity: float
    length: float
    embedding: tuple[float, ...]

    @property
    def said(self) -> str:
        """The answer in words."""
        return f"{self.similarity:.3f} to the first, {len(self.embedding)} numbers of length {self.length:.3f}"


@dataclass(frozen=True, kw_only=True)
class Answer:
    """Answer to a picture, in the field of its task; the other fields are None.

    Attributes:
        classes: The most probable classes, or each label with a yes or no.
        objects: The objects, the surest first.
        shares: The share of each class that is there, the largest first.
        vector: The vector.
    """

    classes: tuple[ClassAnswer, ...] | None = field(default=None, metadata=ABSENT)
    objects: tuple[ObjectAnswer, ...] | None = field(default=None, metadata=ABSENT)
    shares: tuple[ShareAnswer, ...] | None = field(default=None, metadata=ABSENT)
    vector: VectorAnswer | None = field(default=None, metadata=ABSENT)

    @property
    def said(self) -> str:
        """The answer in one line."""
        if self.vector is not None:
            return self.vector.said
        parts = self.classes or self.objects or self.shares or ()
        return ("; " if self.objects else ", ").join(part.said for part in parts) or "nothing above the threshold"


@dataclass(frozen=True, kw_only=True)
class PicturePrediction:
    """A picture and what the model says of it.

    Attributes:
        picture: Its file, as given or found.
        width: Size of the upright picture, pixels.
        height: Likewise.
        answer: Answer of the model.
        saved: The file with the answer drawn into the picture; None where none was asked for.
        at_s: Time of a frame in its video, seconds; None for pictures.
    """

    picture: str
    width: int
    height: int
    answer: Answer = field(metadata=FLAT)
    saved: str | None = field(default=None, metadata=ABSENT)
    at_s: float | None = field(default=None, metadata=ABSENT)

    @property
    def name(self) -> str:
        """Name of the picture in messages: its file, and the time of a frame."""
        return self.picture if self.at_s is None else f"{self.picture} at {self.at_s:.2f} s"


@dataclass(frozen=True)
class BrokenPicture:
    """A picture that cannot be read, and why."""

    picture: str
    error: str


@dataclass(frozen=True, kw_only=True)
class Prediction:
    """Answers of a model to pictures.

    Attributes:
        model: Its file.
        task: Task: classify, detect, segment, embed.
        runtime: Runtime, version and delegate.
        device: URI of the device.
        pictures: The pictures in order.
        broken: Pictures that were left out.
        notes: Facts about the model that are not known and may be stated.
    """

    model: str
    task: str
    runtime: str
    device: str
    pictures: tuple[PicturePrediction, ...]
    broken: tuple[BrokenPicture, ...] = ()
    notes: tuple[str, ...] = ()

    def _repr_html_(self) -> str:
        said = ((row.name, f"{row.width} x {row.height}", row.answer.said) for row in self.pictures)
        tables = [
            shown.table(f"{self.model}, {self.task}", ("picture", "pixels", "says"), said),
            shown.table("Left out", ("picture", "error"), ((row.picture, row.error) for row in self.broken)),
            *map(shown.line, self.notes),
        ]
        return "".join(tables)
