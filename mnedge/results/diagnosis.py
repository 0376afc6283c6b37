"""Diagnosis of a model: its content, its way to int8, and the options it needs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from mnedge.results import shown


@dataclass(frozen=True)
class End:
    """An input or output.

    Attributes:
        name: Tensor name.
        shape: Extents, with batch 1; -1 where the file leaves one open, None where only the run decides.
        dtype: Name in the file.
        head: Kind of an output's values; None for an input, and where nothing shows it.
    """

    name: str
    shape: tuple[int, ...] | None
    dtype: str
    head: str | None = None


@dataclass(frozen=True)
class Need:
    """A fact that the file does not state.

    Attributes:
        option: The option that tells it, with a value where one is known.
        why: Reason, one sentence.
        required: Whether no build works without it; otherwise labelled pictures or a default serve too.
    """

    option: str
    why: str
    required: bool


@dataclass(frozen=True)
class Outlook:
    """Outlook of a model for one target.

    Attributes:
        target: Its name.
        verdict: "int8": all ops; "float ops": some stay float where they are allowed to; "refused".
        ops: Number of ops after lowering.
        float_ops: Number of ops without an int8 form by kind, which the target's runtime executes in float.
        no_kernel: Number of ops by kind that the target's C has no kernel for.
        reason: Reason of a refusal; "" if there is none.
        notes: Ops that will be slow or do not fit, a sentence each.
    """

    target: str
    verdict: Literal["int8", "float ops", "refused"]
    ops: int
    float_ops: Mapping[str, int]
    no_kernel: Mapping[str, int]
    reason: str = ""
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Diagnosis:
    """A model file of anybody's.

    Attributes:
        path: The file or folder.
        what: Kind of file, in words.
        bytes: Size.
        precision: float, or int8 where it computes in integers already.
        family: Published architecture whose backbone it holds; None where none was recognised.
        alpha: Width multiplier; None likewise.
        parameters: Trained numbers.
        macs: Multiply-adds of one picture, at the size of `inputs` or the assumed one.
        inputs: Inputs.
        outputs: Outputs.
        assumed_size: Height and width in pixels that the rest was looked at with, because the file leaves them open.
        pixels: Range of a picture's pixels; None where it is not known, or no input is a picture.
        pixels_origin: Origin of the pixels' range: told, metadata, graph, shown or unknown.
        labels: Class names; () where the file has none.
        notes: Notes of the reader, a sentence each.
        plan: Steps on the way to int8 for the first target, a sentence each.
        needs: Options that the model needs.
        commands: Next commands, complete except for names in capitals.
        targets: Outlook for each target.
    """

    path: str
    what: str
    bytes: int
    precision: Literal["float", "int8"]
    family: str | None
    alpha: float | None
    parameters: int
    macs: int
    inputs: tuple[End, ...]
    outputs: tuple[End, ...]
    assumed_size: tuple[int, int] | None
    pixels: str | None
    pixels_origin: str
    labels: tuple[str, ...]
    notes: tuple[str, ...]
    plan: tuple[str, ...]
    needs: tuple[Need, ...]
    commands: tuple[str, ...]
    targets: tuple[Outlook, ...]

    def _repr_html_(self) -> str:
        rows = ((row.target, row.verdict, row.ops, row.reason or "; ".join(row.notes)) for row in self.targets)
        title = f"{self.path}: {self.what}, {self.precision}, {self.bytes:,} bytes"
        return shown.table(title, ("target", "verdict", "ops", "what to know"), rows)
