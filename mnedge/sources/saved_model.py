"""A SavedModel folder of TensorFlow, as tf.saved_model.save and Keras' export() write it."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from mnedge.errors import InputError, MnedgeError, UnsupportedError
from mnedge.foreign import is_folder
from mnedge.graph.graph import Signature
from mnedge.sources._float import float_of
from mnedge.sources._saved_model_ops import read_checked
from mnedge.sources._source import Float, Source, reason, sized

if TYPE_CHECKING:
    from collections.abc import Mapping

    import tensorflow as tf

    from mnedge.graph.graph import Graph

_FILES = ("saved_model.pb", "saved_model.pbtxt")
_DEFAULT = "serving_default"
_BESIDE = ("variables", "assets")


def _accepts(path: Path) -> bool:
    return is_folder(path) and any((path / name).is_file() for name in _FILES)


def _read(path: Path, size: tuple[int, int] | None) -> Float:
    """Reads the signature "serving_default", or the only one; see `Source.read`."""
    return _read_signature(path, size, None)


def _read_signature(path: Path, size: tuple[int, int] | None, wanted: str | None) -> Float:
    """Reads a signature by its name; see `Source.read_signature`."""
    from mnedge.silence import native_stderr, start_tensorflow

    start_tensorflow()
    import tensorflow as tf

    program = read_checked(path)
    try:
        with tempfile.TemporaryDirectory() as scratch, native_stderr():
            # Loaded is what was checked, with the variables and assets beside it.
            (Path(scratch) / "saved_model.pb").write_bytes(program)
            for name in _BESIDE:
                if (path / name).is_dir():
                    (Path(scratch) / name).symlink_to((path / name).absolute(), target_is_directory=True)
            loaded = tf.saved_model.load(scratch)
    except Exception as exc:  # TensorFlow raises errors of many kinds on damage and on ops that it does not have
        raise InputError(
            f"TensorFlow cannot load {path}: {reason(exc)}. Export the model again, or convert it to .tflite where it "
            "was made"
        ) from exc
    key, function = _signature(loaded, path, wanted)
    specs: dict[str, tf.TensorSpec] = function.structured_input_signature[1]
    if not specs:
        raise InputError(f"the signature {key} of {path} takes no named tensors; export the model again with one")
    shapes = {name: sized(_shape(spec, name, path), name, str(path), size) for name, spec in specs.items()}
    try:
        graph, first = _converted(key, function, shapes, path)
    except MnedgeError:
        raise
    except Exception as exc:  # the converter's own error, and whatever tracing raises
        raise UnsupportedError(
            f"{path} cannot be converted: {reason(exc)}; convert it to .tflite where it was made"
        ) from exc
    return float_of(graph, str(path), first=first)


class _Loaded(Protocol):
    """A loaded SavedModel, for which TensorFlow names no class."""

    signatures: Mapping[str, tf.types.experimental.ConcreteFunction]


def _signature(loaded: _Loaded, path: Path, wanted: str | None) -> tuple[str, tf.types.experimental.ConcreteFunction]:
    signatures = dict(loaded.signatures)
    if wanted is not None:
        if wanted not in signatures:
            raise InputError.unknown("signature", wanted, sorted(signatures))
        return wanted, signatures[wanted]
    if _DEFAULT in signatures:
        return _DEFAULT, signatures[_DEFAULT]
    if len(signatures) == 1:
        return next(iter(signatures.items()))
    if signatures:
        raise InputError(
            f"{path} has the signatures {', '.join(sorted(signatures))}, none of them {_DEFAULT}; name the one to take "
            "with --signature NAME"
        )
    raise InputError(
        f"{path} has no signature; export it with model.export() of Keras, or with "
        "tf.saved_model.save(model, folder, signatures={'serving_default': …})"
    )


def _shape(spec: tf.TensorSpec, name: str, path: Path) -> tuple[int | None, ...]:
    if spec.shape.rank is None:
        raise InputError(f"input {name} of {path} has no known rank; export the model with an input of a known shape")
    return tuple(spec.shape.as_list())


def _converted(
    key: str,
    function: tf.types.experimental.ConcreteFunction,
    shapes: dict[str, tuple[int, ...]],
    path: Path,
) -> tuple[Graph, Graph]:
    """The graph of one signature with batch 1, which goes on being called by the same names."""
    from mnedge.formats.tensorflow import function_to_graph, renamed

    specs = function.structured_input_signature[1]
    results = sorted(function.structured_outputs)

    def call(*values: tf.Tensor) -> list[tf.Tensor]:
        made = function(**dict(zip(shapes, values, strict=True)))
        return [made[name] for name in results]

    graph, first = function_to_graph(call, [(shapes[name], specs[name].dtype) for name in shapes], str(path))
    graph = renamed(graph, (), list(shapes), results)
    arguments = tuple(zip(shapes, graph.inputs, strict=True))
    signature = Signature(key, arguments, tuple(zip(results, graph.outputs, strict=True)))
    return replace(graph, signatures=(signature,)), first


SOURCE = Source(
    what="a SavedModel of TensorFlow", suffixes=(), accepts=_accepts, read=_read, read_signature=_read_signature
)
