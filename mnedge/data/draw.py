"""Drawing of splits that a data set does not have."""

from __future__ import annotations

import re
from dataclasses import dataclass

import msgspec

from mnedge.errors import InputError

_MOST_PATTERN = 200


def group_of(group_by: str, source: str) -> str:
    """The group of a picture: pictures of one group stay on one side of a drawn split.

    Args:
        group_by: See `Draw.group_by`.
        source: The picture's path below the data set.

    Raises:
        InputError: The pattern is no regular expression.
    """
    folder, _, name = source.rpartition("/")
    if not group_by:
        return source
    if group_by == "folder":
        return folder
    if group_by == "prefix":
        stem = name.rpartition(".")[0] or name
        return f"{folder}/{re.sub(r'[-_ .]*[0-9]+$', '', stem)}"
    try:
        found = re.search(group_by[:_MOST_PATTERN], source)
    except re.error as exc:
        raise InputError(
            f"--group-by {group_by!r} is no regular expression ({exc}); it is folder, prefix, or one such as "
            "'^(clip[0-9]+)_'"
        ) from exc
    if found is None:
        return source
    return found[1] if found.re.groups and found[1] is not None else found[0]


@dataclass(frozen=True)
class Draw:
    """Settings that draw the splits of a data set without its own.

    Attributes:
        seed: Another one draws other pictures.
        val_fraction: Share of the pictures for validation, 0..1.
        test_fraction: Share of the pictures for the test, 0..1; 0 for no test split.
        group_by: Pictures of one group stay on one side: "folder", "prefix" (the name up to its last number), or a
            regular expression whose first group, or match, is the group; "" for none.
        keeps_twins: Whether equal pictures stay on one side.
    """

    seed: int = 0
    val_fraction: float = 0.2
    test_fraction: float = 0.0
    group_by: str = ""
    keeps_twins: bool = True

    def __post_init__(self) -> None:
        """Makes sure that something is left to train on.

        Raises:
            InputError: A fraction is none, or the pattern is no regular expression.
        """
        for name, value, least in (("val", self.val_fraction, 0.0), ("test", self.test_fraction, -1e-9)):
            if not least < value < 1:
                raise InputError(f"--{name}-fraction is {value}; it is a number above 0 and below 1")
        if self.val_fraction + self.test_fraction >= 1:
            raise InputError(
                f"--val-fraction {self.val_fraction} and --test-fraction {self.test_fraction} leave nothing to train "
                "on; their sum is below 1"
            )
        group_of(self.group_by, "a/b.png")


def draw_of(told: object, where: str) -> Draw:
    """A draw out of JSON values, as `dataclasses.asdict` gave them.

    Args:
        told: The values.
        where: Name of their file in messages.

    Raises:
        InputError: They are none.
    """
    try:
        return msgspec.convert(told, Draw)
    except (msgspec.ValidationError, RecursionError) as exc:
        raise InputError(f"{where}: how its splits were drawn is broken ({exc}); build or train it again") from exc
