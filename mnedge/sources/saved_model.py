"""A SavedModel folder of TensorFlow, as tf.saved_model.save and Keras' export() write it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mnedge.errors import InputError, MnedgeError, UnsupportedError
from mnedge.foreign import is_folder
from mnedge.sources._float import float_of
from mnedge.sources._source import Float, Source, reason, sized

if TYPE_CHECKING:
    from pathlib import Path

    from mnedge.graph.graph import Graph

_FILES = ("saved_model.pb", "saved_model.pbtxt")
_DEFAULT = "serving_default"


def _accepts(path: Path) -> bool:
    return is_folder(path) and any((path / name).is_file() for name in _FILES)


def _read(path: Path, size: tuple[int, int] | None) -> Float:
    """Reads the signature "serving_default", or the only one; see `Source.read`."""
    from mnedge.silence import native_stderr, start_tensorflow

    start_tensorflow()
    import tensorflow as tf

    try:
        with native_stderr():
            loaded = tf.saved_model.load(str(path))
    except Exception as exc:  # TensorFlow raises errors of many kinds on damage and on ops that it does not have
        raise InputError(
            f"TensorFlow cannot load {path}: {reason(exc)}. Export the model again, or convert it to .tflite where it "
            "was made"
        ) from exc
    key, function = _signature(loaded, path)
    specs: dict[str, Any] = function.structured_input_signature[1]
    if not specs:
        raise InputError(f"the signature {key} of {path} takes no named tensors; export the model again with one")
    shapes = {name: sized(_shape(spec, name, path), name, str(path), size) for name, spec in specs.items()}
    try:
        graph, first = _converted(function, shapes, path)
    except MnedgeError:
        raise
    except Exception as exc:  # the converter's own error, and whatever tracing raises
        raise UnsupportedError(
            f"{path} cannot be converted: {reason(exc)}; convert it to .tflite where it was made"
        ) from exc
    return float_of(graph, str(path), first=first)


def _signature(loaded: Any, path: Path) -> tuple[str, Any]:  # noqa: ANN401 - TensorFlow is not imported for a type
    signatures = dict(loaded.signatures)
    if _DEFAULT in signatures:
        return _DEFAULT, signatures[_DEFAULT]
    if len(signatures) == 1:
        return next(iter(signatures.items()))
    known = ", ".join(sorted(signatures)) or "none at all"
    raise InputError(
        f"{path} has no signature {_DEFAULT} (it has {known}); export it with model.export() of Keras, or with "
        "tf.saved_model.save(model, folder, signatures={'serving_default': …})"
    )


def _shape(spec: Any, name: str, path: Path) -> tuple[int | None, ...]:  # noqa: ANN401 - a TensorSpec
    if spec.shape.rank is None:
        raise InputError(f"input {name} of {path} has no known rank; export the model with an input of a known shape")
    return tuple(spec.shape.as_list())


def _converted(function: Any, shapes: dict[str, tuple[int, ...]], path: Path) -> tuple[Graph, Graph]:  # noqa: ANN401
    """The graph of one signature with batch 1; inputs and outputs are called as the signature calls them."""
    from mnedge.formats.tensorflow import function_to_graph, renamed

    specs = function.structured_input_signature[1]
    results = sorted(function.structured_outputs)

    def call(*values: Any) -> list[Any]:  # noqa: ANN401 - traced tensors
        made = function(**dict(zip(shapes, values, strict=True)))
        return [made[name] for name in results]

    graph, first = function_to_graph(call, [(shapes[name], specs[name].dtype) for name in shapes], str(path))
    return renamed(graph, (), list(shapes), results), first


SOURCE = Source(what="a SavedModel of TensorFlow", suffixes=(), accepts=_accepts, read=_read)
