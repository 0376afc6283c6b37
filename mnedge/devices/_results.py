"""What a device has computed so far, kept until the work is whole: a failure costs time, not results."""

from __future__ import annotations

import hashlib
import shutil
from contextlib import suppress
from typing import TYPE_CHECKING

from mnedge import artifact, cache
from mnedge.errors import MnedgeError

if TYPE_CHECKING:
    from collections.abc import Mapping


class Results:
    """Outputs by the checksum of their inputs, for one model on one device in one runtime.

    Args:
        key: All that the outputs depend on besides the inputs.
    """

    def __init__(self, key: Mapping[str, object]) -> None:
        self.folder = cache.resumable("device-results", key)

    def keep(self, inputs: bytes, outputs: bytes) -> None:
        """Keeps the outputs of some inputs."""
        with suppress(MnedgeError):  # a full disk here must not end the run there
            artifact.write_bytes(self.folder / _name(inputs), hashlib.sha256(outputs).digest() + outputs)

    def recall(self, inputs: bytes) -> bytes | None:
        """The outputs of these inputs, or None; a damaged file counts as none."""
        try:
            kept = (self.folder / _name(inputs)).read_bytes()
        except OSError:
            return None
        return kept[32:] if hashlib.sha256(kept[32:]).digest() == kept[:32] else None

    def discard(self) -> None:
        """Forgets all: the work is whole."""
        shutil.rmtree(self.folder, ignore_errors=True)


def _name(inputs: bytes) -> str:
    return hashlib.sha256(inputs).hexdigest()[:32]
