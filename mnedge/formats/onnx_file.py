"""An .onnx as it lies on disk: parsed, checked, its external data read, its functions inlined."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from mnedge.errors import InputError, UnsupportedError, last_line

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    import onnx

OLDEST_OPSET, NEWEST_OPSET = 9, 22
# Names of ONNX's own operators: both mean the same domain.
_DOMAINS = ("", "ai.onnx")


@dataclass(frozen=True, eq=False)
class OnnxFile:
    """A sound model.

    Attributes:
        model: The message; functions of its own are inlined, external data is there.
        source: The file, in errors.
        opset: Version of ONNX's operators that it is written in.
        metadata: Metadata of its maker, by key.
    """

    model: onnx.ModelProto
    source: str
    opset: int
    metadata: Mapping[str, str]


def load_onnx(path: Path) -> OnnxFile:
    """Reads and checks an .onnx.

    Raises:
        InputError: No such file, no ONNX model, cut short or damaged, or external data that is not there or lies
            outside of its folder.
        UnsupportedError: An opset outside of 9 to 22, or a training model.
    """
    import onnx

    try:
        data = Path(path).read_bytes()
    except OSError as exc:
        raise InputError(f"{path} cannot be read: {exc.strerror}") from exc
    try:
        model = onnx.load_model_from_string(data)
        known = bool(model.graph.node) and bool(model.opset_import)
    except Exception as exc:  # protobuf's errors share no base but Exception, and its two back ends differ in them
        raise InputError(f"{path} is no ONNX model, or is cut short: {last_line(exc)}; export it again") from exc
    if not known:
        raise InputError(f"{path} holds no ONNX graph (no node, or no opset); export it again")
    opset = _opset(model, path)
    _read_external(model, Path(path))
    try:
        if model.functions:
            from onnx import inliner

            model = inliner.inline_local_functions(model)
        _check_kinds(model, path)
        onnx.checker.check_model(model)
    except UnsupportedError:
        raise
    except Exception as exc:  # the checker's error, and whatever a damaged message makes the C++ code raise
        raise InputError(f"{path} is damaged, as onnx's checker says: {_first_line(exc)}; export it again") from exc
    metadata = {item.key: item.value for item in model.metadata_props}
    return OnnxFile(model, str(path), opset, metadata)


def _check_kinds(model: onnx.ModelProto, path: Path) -> None:
    """Refuses a node that is none of ONNX's though it says so: exporters leave what they cannot convert."""
    import onnx

    for node in model.graph.node:
        if node.domain in _DOMAINS and not onnx.defs.has(node.op_type):
            raise UnsupportedError(
                f"{path}: node {(node.name or node.op_type)[:80]} is {node.op_type[:80]}, which is no operator of "
                "ONNX; the exporter had no form for it, as tf2onnx for some of TensorFlow's ops. Export the model "
                "without it"
            )


def _first_line(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0][:300].rstrip(".") if lines else type(error).__name__


def _opset(model: onnx.ModelProto, path: Path) -> int:
    found = [entry.version for entry in model.opset_import if entry.domain in _DOMAINS]
    if not found:
        domains = ", ".join(entry.domain for entry in model.opset_import)
        raise UnsupportedError(
            f"{path} has no operators of ONNX's own (only of {domains}); export it with standard ops"
        )
    opset = int(max(found))
    if not OLDEST_OPSET <= opset <= NEWEST_OPSET:
        raise UnsupportedError(
            f"{path} is written in opset {opset}; {OLDEST_OPSET} to {NEWEST_OPSET} are read. Export it with "
            "opset_version=17, or bring it there with onnx.version_converter.convert_version(model, 17)"
        )
    return opset


def tensors_of(model: onnx.ModelProto) -> Iterator[onnx.TensorProto]:
    """Yields the constants of a model: initializers and values of attributes, also in subgraphs."""
    graphs: list[onnx.GraphProto] = [model.graph]
    bodies: list[onnx.FunctionProto] = [*model.functions]
    while graphs or bodies:
        body = graphs.pop() if graphs else bodies.pop()
        yield from getattr(body, "initializer", ())
        for node in body.node:
            for attribute in node.attribute:
                if attribute.HasField("t"):
                    yield attribute.t
                yield from attribute.tensors
                if attribute.HasField("g"):
                    graphs.append(attribute.g)
                graphs += attribute.graphs


def _read_external(model: onnx.ModelProto, path: Path) -> None:
    """Puts the values that lie in files beside the model into it; each file must lie within the model's folder."""
    from onnx import TensorProto

    folder = path.parent.resolve()
    for tensor in tensors_of(model):
        if tensor.data_location != TensorProto.EXTERNAL:
            continue
        told = {entry.key: entry.value for entry in tensor.external_data}
        where = f"{path}: the values of {tensor.name[:80]}"
        place = PurePosixPath(told.get("location", ""))
        file = (folder / place).resolve()
        if not place.parts or place.is_absolute() or not file.is_relative_to(folder) or "\\" in str(place):
            raise InputError(
                f"{where} lie in {told.get('location', '')!r}, outside of its folder; only files beside the model are "
                "read: put them there and export the model again"
            )
        try:
            offset, length = int(told.get("offset", "0")), int(told.get("length", "-1"))
            size = file.stat().st_size
            length = size - offset if length < 0 else length
            if not 0 <= offset <= offset + length <= size:
                raise InputError(
                    f"{where} are bytes {offset} to {offset + length} of {file.name}, which has {size}; copy both "
                    "files again"
                )
            with file.open("rb") as stream:
                stream.seek(offset)
                tensor.raw_data = stream.read(length)
        except ValueError as exc:
            raise InputError(f"{where} have a damaged place ({told}); export the model again") from exc
        except OSError as exc:
            raise InputError(
                f"{where} lie in {file.name}, which cannot be read ({exc.strerror}); put it beside the model"
            ) from exc
        tensor.data_location = TensorProto.DEFAULT
        del tensor.external_data[:]
