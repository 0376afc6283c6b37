"""Content of model files besides their network: metadata by name, and class names."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

from mnedge.errors import InputError, MnedgeError
from mnedge.foreign import is_file

if TYPE_CHECKING:
    from pathlib import Path

    from ai_edge_litert import schema_py_generated as schema

_DAMAGE = (struct.error, IndexError, ValueError, TypeError, AttributeError, OverflowError)
_LABELS, _MANIFEST = "labels.txt", "manifest.json"


def carried(path: Path, name: str) -> bytes | None:
    """Reads the metadata of a name in a .tflite, .onnx, .ort or folder of C; None without it or if it cannot be read.

    Args:
        path: The file or folder.
        name: Name of the metadata.
    """
    if path.suffix == ".tflite":
        return _of_tflite(path).get(name)
    if path.suffix in (".onnx", ".ort"):
        from mnedge.runtimes.onnxruntime import metadata_of

        try:
            told = metadata_of(path).get(name)
        except MnedgeError:
            # A fault of the file is reported where the file is run.
            return None
        return None if told is None else told.encode()
    if is_file(path / _MANIFEST):
        from mnedge.results.compilation import read_compiled

        told = read_compiled(path).metadata.get(name)
        return None if told is None else told.encode()
    return None


def class_names(path: Path, outputs: int | None) -> tuple[tuple[str, ...], str]:
    """The class names of a model's file and where they stand: in its TFLite Metadata, or in a labels.txt beside it.

    Args:
        path: The file.
        outputs: Number of names required, since a list of another length is of another model; None for any.

    Returns:
        The names, () for none, and what messages call their place.
    """
    if path.suffix == ".tflite":
        from mnedge.formats.tflite_metadata import labels_of
        from mnedge.formats.tflite_read import read_tflite

        try:
            names, _ = labels_of(read_tflite(path))
        except MnedgeError:
            names = ()
        if names and outputs in (None, len(names)):
            return names, f"the metadata of {path.name}"
    beside = path.with_name(_LABELS)
    if beside.is_file():
        from mnedge.data.names import read_names

        names = tuple(read_names(beside))
        if names and outputs in (None, len(names)):
            return names, str(beside)
    return (), ""


def _of_tflite(path: Path) -> dict[str, bytes]:
    from mnedge.formats._tflite_schema import schema

    try:
        return metadata_buffers(schema.Model.GetRootAs(path.read_bytes(), 0))
    except OSError as exc:
        raise InputError(f"{path} cannot be read: {exc.strerror}") from exc
    except _DAMAGE:
        return {}


def metadata_buffers(model: schema.Model) -> dict[str, bytes]:
    """The metadata of a .tflite by name.

    Args:
        model: The schema's Model.
    """
    found = {}
    for number in range(model.MetadataLength()):
        entry = model.Metadata(number)
        raw = model.Buffers(entry.Buffer()).DataAsNumpy()
        found[(entry.Name() or b"").decode(errors="replace")] = b"" if isinstance(raw, int) else raw.tobytes()
    return found
