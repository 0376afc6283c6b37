"""Source of a path."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from mnedge import registry
from mnedge.errors import InputError
from mnedge.foreign import is_folder, is_there

if TYPE_CHECKING:
    from mnedge.sources._source import Float, Source

_PACKAGE = "mnedge.sources"


def open_source(path: Path, size: tuple[int, int] | None = None, signature: str | None = None) -> Float:
    """Reads a float network from a file or folder of any kind that mnedge takes.

    Args:
        path: A Keras model, a SavedModel folder, a float .tflite or a float .onnx.
        size: Height and width in pixels, where the file leaves them open.
        signature: Signature of a SavedModel to take; None for its default or only one.

    Raises:
        InputError: There is nothing at the path, it is none of these, damaged, or does not say enough.
        UnsupportedError: It holds what cannot be brought in, with the way around it.
    """
    source = source_of(path)
    if signature is None:
        return source.read(Path(path), size)
    if source.read_signature is None:
        raise InputError(f"{path} is {source.what}, which has no signatures to choose from; leave --signature out")
    return source.read_signature(Path(path), size, signature)


def source_of(path: Path) -> Source:
    """The source that reads a path.

    Raises:
        InputError: There is nothing at the path, or no source takes it; the message lists what is taken.
    """
    path = Path(path)
    sources = [registry.load(_PACKAGE, name, "SOURCE") for name in registry.names(_PACKAGE)]
    taken = "; ".join(f"{source.what} ({', '.join(source.suffixes) or 'a folder'})" for source in sources)
    if not is_there(path):
        raise InputError(f"there is no {path}. A model is {taken}")
    try:
        found: list[Source] = [source for source in sources if source.accepts(path)]
    except OSError as exc:
        raise InputError(f"{path} cannot be read: {exc.strerror}") from exc
    if len(found) != 1:
        what = "folder that holds no model" if is_folder(path) else "file of another kind, or cut short"
        raise InputError(f"{path} is a {what}. A model is {taken}")
    return found[0]
