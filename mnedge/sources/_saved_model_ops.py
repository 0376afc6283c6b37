"""A SavedModel is a program: what of it reaches files, networks or Python is refused before anything of it runs."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from mnedge.errors import InputError, UnsupportedError
from mnedge.sources._source import reason

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    import tensorflow as tf

_BINARY, _TEXT = "saved_model.pb", "saved_model.pbtxt"
_MOST_BYTES = 2 << 30
_MOST_NAMED = 8
# Ops that read or write files, talk to other processes, or run Python. Loading a SavedModel runs its initializers, and
# conversion folds what reads constants, so it does not help that nobody calls them.
_REACHES_OUT = re.compile(
    r"ReadFile|WriteFile|MatchingFiles|.*Reader.*|.*Dataset.*|.*Iterator.*|.*PyFunc.*|PrintV2|"
    r".*SummaryWriter.*|.*SummaryFileWriter.*|.*SummaryDbWriter.*|Write.*Summary.*|ImportEvent|"
    r"InitializeTableFromTextFile.*|InitializeTRTResource|TRTEngineOp|LoadAndRemapMatrix|GenerateVocabRemapping|"
    r"DecodeProto.*|EncodeProto|LoadTPU.*|RetrieveTPU.*|.*Rpc.*|RemoteCall|RemoteFusedGraphExecute|_?HostSend|_?HostRecv|"
    r"_?Send|_?Recv|Collective.*|Debug.*|Abort|DeleteMultiDeviceIterator|Stage.*Server|.*DistributedTPU.*|.*Bigtable.*"
)
# Every SavedModel holds these to save and load its own variables; nothing else may lead to them.
_WRITES = frozenset(("SaveV2", "Save", "SaveSlices", "MergeV2Checkpoints"))
_READS = frozenset(("RestoreV2", "Restore", "RestoreSlice"))
_INIT_COLLECTIONS = ("saved_model_main_op", "legacy_init_op", "main_op")


def read_checked(path: Path) -> bytes:
    """The program of a SavedModel folder, as the bytes of its protocol buffer, once it has been seen to be harmless.

    Raises:
        InputError: It cannot be read, or is no SavedModel.
        UnsupportedError: It holds ops that reach outside the model.
    """
    from google.protobuf import text_format
    from google.protobuf.message import DecodeError
    from tensorflow.core.protobuf import saved_model_pb2

    file = path / _BINARY if (path / _BINARY).is_file() else path / _TEXT
    model = saved_model_pb2.SavedModel()
    try:
        if file.stat().st_size > _MOST_BYTES:
            raise InputError(f"{file} is larger than {_MOST_BYTES:,} bytes, the limit")
        data = file.read_bytes()
        if file.name == _BINARY:
            model.ParseFromString(data)
        else:
            text_format.Parse(data.decode(), model)
    except OSError as exc:
        raise InputError(f"{file} cannot be read: {exc.strerror}") from exc
    except (DecodeError, text_format.ParseError, UnicodeDecodeError, RecursionError) as exc:
        raise InputError(
            f"TensorFlow cannot load {path}: {file.name} is damaged ({reason(exc)}). Export the model again"
        ) from exc
    for meta in model.meta_graphs:
        check_harmless(meta, str(path))
    content: bytes = model.SerializeToString(deterministic=True)
    return content


def check_harmless(meta: tf.compat.v1.MetaGraphDef, source: str) -> None:
    """Refuses a graph with ops that reach outside the model, or whose functions save or load files.

    Raises:
        UnsupportedError: It holds such ops; the message names them.
    """
    functions = {function.signature.name: list(function.node_def) for function in meta.graph_def.library.function}
    nodes = {node.name: node for node in meta.graph_def.node}
    every = [*nodes.values(), *(node for body in functions.values() for node in body)]
    found = {node.op for node in every if _REACHES_OUT.fullmatch(node.op)}
    # Of what is called by name or runs at loading, nothing touches files; the saver may do its own.
    called = _reached(_roots(meta), [*meta.object_graph_def.concrete_functions], nodes, functions)
    found |= called & (_WRITES | _READS)
    restoring = _reached([_node_of(meta.saver_def.restore_op_name)], [], nodes, functions)
    found |= restoring & _WRITES
    if found:
        listed = sorted(found)
        more = f" and {len(listed) - _MOST_NAMED} more" if len(listed) > _MOST_NAMED else ""
        raise UnsupportedError(
            f"{source} holds {', '.join(listed[:_MOST_NAMED])}{more}, which read or write files, reach other programs, "
            "or run Python; nothing of it was run. Export the part from the input tensor to the output without them"
        )


def _roots(meta: tf.compat.v1.MetaGraphDef) -> list[str]:
    """Top-level nodes that make the outputs of signatures, or that run at loading."""
    ends = [end.name for signature in meta.signature_def.values() for end in signature.outputs.values()]
    for key in _INIT_COLLECTIONS:
        if key in meta.collection_def:
            ends += meta.collection_def[key].node_list.value
    return [_node_of(name) for name in ends]


def _reached(
    roots: Iterable[str],
    called: Iterable[str],
    nodes: Mapping[str, tf.compat.v1.NodeDef],
    functions: Mapping[str, list[tf.compat.v1.NodeDef]],
) -> set[str]:
    """Kinds of the ops that run for top-level nodes and functions, with the functions that they call."""
    found: set[str] = set()
    waiting, seen = list(roots), set()
    bodies, entered = list(called), set()
    while waiting or bodies:
        if waiting:
            name = waiting.pop()
            if name in seen or name not in nodes:
                continue
            seen.add(name)
            waiting += [_node_of(source) for source in nodes[name].input]
            run = [nodes[name]]
        else:
            body = bodies.pop()
            if body in entered or body not in functions:
                continue
            entered.add(body)
            run = functions[body]
        for node in run:
            found.add(node.op)
            bodies.append(node.op)
            for value in node.attr.values():
                bodies.append(value.func.name)
                bodies += [item.name for item in value.list.func]
    return found


def _node_of(tensor: str) -> str:
    return tensor.removeprefix("^").split(":", maxsplit=1)[0]
