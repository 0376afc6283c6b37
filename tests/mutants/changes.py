"""Seeded damage: of bytes, of text, of nested JSON, and of ONNX graphs."""

from __future__ import annotations

import copy
import json
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence


def one(rng: np.random.Generator, values: Sequence[Any]) -> Any:
    """One of some values."""
    return values[int(rng.integers(len(values)))]


def flipped(data: bytes, rng: np.random.Generator) -> bytes:
    """A file with one to eight bytes or words changed, or cut short."""
    found = bytearray(data)
    for _ in range(int(rng.integers(1, 9))):
        place = int(rng.integers(len(found)))
        way = int(rng.integers(4))
        if way == 0:
            found[place] ^= 1 << int(rng.integers(8))
        elif way == 1:
            found[place] = int(rng.choice([0, 1, 2, 127, 128, 255]))
        elif way == 2:
            word = int(rng.choice([0, 1, 0x7F, 0xFF, 0x7FFFFFFF, 0xFFFFFFFF]))
            found[place : place + 4] = word.to_bytes(4, "little")[: len(found) - place]
        elif rng.random() < 0.1:
            del found[place:]
            found += b"\0"
    return bytes(found)


_ODD: tuple[Any, ...] = (
    None, True, False, -1, 0, 1, 0.5, 1e308, -1e308, 1e-300, 5e-324, 10**18, -(10**18), 10**400, 2**31, 2**63,
    float("nan"), float("inf"), "", " ", "x" * 300, "x" * 70_000, "a\x00b", "a\x1b[31mb", "../..", "/etc/passwd",
    "\ud800", "a\nb", "\u2028", "\u202eabc", "conv[/b]x", "[int8]", "tflite", "NaN", "1e999", "0x10", "-0", [], {},
    [[]], [{}],
    {"id": 1}, {"a": {"b": []}}, [None], [1, 2, 3], [1e308] * 4, "é", "数字", "\U0001f600",
)  # fmt: skip
_WORDS = (
    b"", b"\x00", b"\xff\xfe", b"\xef\xbb\xbf", b"\xe2\x80\xa8", b"\xed\xa0\x80", b"\x1b[31m", b"\r", b"\n", b"\n  ",
    b"\t", b'"', b"'", b",", b";", b": ", b"- ", b"*a", b"&a ", b"!!set ", b"!!python/name:os.system ", b"{", b"}",
    b"[", b"]",
    b"[" * 3000, b'{"a":' * 3000, b".nan", b".inf", b"NaN", b"1e999", b"9" * 5000, b"-1", b"0", b"1", b"2", b"0.5",
    b"2147483648", b"<", b">", b"</object>", b"<object>", b"&#0;", b"&lol;", b"<!DOCTYPE x [<!ENTITY l 'l'>]>",
    b"UTF-7", b"utf-16", b" # x", b"x" * 300, b"2024-13-45", b"true", b"null", b"~", b"|\n", b">\n", b"%", b"@", b"`",
    b"<<: ", b"? ", b"../../..", b"$HOME", b"demo", b"1_000", b"0o17", b"1:30", b"=1+1", b"\\", b"\\u0000",
)  # fmt: skip


def damaged_text(text: bytes, rng: np.random.Generator) -> bytes:
    """Some bytes lost, changed or put in, a line lost or doubled, or the end cut off."""
    if rng.random() < 0.1 and text.count(b"\n") > 1:
        lines = text.splitlines(keepends=True)
        del lines[int(rng.integers(len(lines)))]
        return b"".join(lines)
    data = bytearray(text)
    for _ in range(int(one(rng, (1, 1, 1, 2, 3)))):
        start = int(rng.integers(len(data) + 1))
        data[start : start + int(one(rng, (0, 0, 1, 1, 4, 30)))] = one(rng, _WORDS)
    if rng.random() < 0.15:
        lines = bytes(data).splitlines(keepends=True)
        lines.insert(int(rng.integers(len(lines) + 1)), one(rng, lines) if lines else b"")
        data = bytearray(b"".join(lines))
    return bytes(data[: int(rng.integers(len(data) + 1))] if rng.random() < 0.1 else data)


def replaced(content: Any, rng: np.random.Generator) -> Any:
    """Nested JSON with one or two values lost, doubled, in another's place, or of another kind."""
    content = copy.deepcopy(content)
    for _ in range(int(rng.integers(1, 3))):
        places: list[tuple[Any, Any]] = []
        waiting = [content]
        while waiting:
            node = waiting.pop()
            for key in list(node) if isinstance(node, dict) else range(len(node)):
                places.append((node, key))
                waiting += [node[key]] if isinstance(node[key], (dict, list)) else []
        if not places:
            return content
        node, key = one(rng, places)
        way = rng.random()
        if way < 0.15:
            del node[key]
        elif way < 0.25 and isinstance(node, list):
            node.append(copy.deepcopy(node[key]))
        elif way < 0.35:
            other, place = one(rng, places)
            node[key] = copy.deepcopy(other[place]) if _has(other, place) else None
        else:
            node[key] = copy.deepcopy(one(rng, _ODD))
    return content


def _has(node: Any, key: Any) -> bool:
    return key in node if isinstance(node, dict) else key < len(node)


def damaged_json(text: bytes, rng: np.random.Generator) -> bytes:
    """JSON whose values are changed, mostly; else its bytes."""
    if rng.random() < 0.3:
        return damaged_text(text, rng)
    return json.dumps(replaced(json.loads(text), rng)).encode()


def damaged_onnx(data: bytes, rng: np.random.Generator) -> bytes:
    """An .onnx file with one to three of its nodes, attributes, constants, types or ends changed."""
    import onnx

    model = onnx.load_model_from_string(data)
    for _ in range(int(rng.integers(1, 4))):
        one(rng, _ONNX)(model.graph, rng)
    return bytes(model.SerializeToString())


def _rewire(graph: Any, rng: np.random.Generator) -> None:
    node = one(rng, graph.node)
    names = one(rng, (node.input, node.output))
    made = [name for other in graph.node for name in other.output]
    way = int(rng.integers(4))
    if way == 0 and names:
        names[int(rng.integers(len(names)))] = one(rng, [*made, "", "nobody"])
    elif way == 1 and names:
        del names[-1]
    elif way == 2:
        names.append(one(rng, made))
    else:
        kept = list(names)[::-1]
        del names[:]
        names.extend(kept)


def _change_attribute(graph: Any, rng: np.random.Generator) -> None:
    nodes = [node for node in graph.node if node.attribute]
    if not nodes:
        return
    attribute = one(rng, one(rng, nodes).attribute)
    numbers = (-1, 0, 1, 2, 7, 1000, 2**31, -(2**63))
    way = int(rng.integers(4))
    if attribute.ints and way < 2:
        attribute.ints[int(rng.integers(len(attribute.ints)))] = int(one(rng, numbers))
    elif attribute.ints and way == 2:
        del attribute.ints[-1]
    elif way == 3:
        attribute.type = int(rng.integers(0, 15))
    else:
        attribute.i, attribute.f = int(one(rng, numbers)), float(one(rng, (np.nan, np.inf, 0.0, -1e30)))


def _change_constant(graph: Any, rng: np.random.Generator) -> None:
    tensor = one(rng, graph.initializer)
    way = int(rng.integers(4))
    if way == 0:
        tensor.data_type = int(rng.integers(0, 24))
    elif way == 1 and tensor.dims:
        tensor.dims[int(rng.integers(len(tensor.dims)))] = int(one(rng, (-1, 0, 1, 3, 4096, 2**40)))
    elif way == 2:
        tensor.raw_data = tensor.raw_data[: int(rng.integers(len(tensor.raw_data) + 1))]
    elif tensor.raw_data:
        values = bytearray(tensor.raw_data)
        values[int(rng.integers(len(values)))] = int(one(rng, (0, 127, 128, 255)))
        tensor.raw_data = bytes(values)


def _change_end(graph: Any, rng: np.random.Generator) -> None:
    ends = one(rng, (graph.input, graph.output))
    if not ends:
        return
    kind = one(rng, ends).type.tensor_type
    way = int(rng.integers(5))
    if way == 0:
        kind.elem_type = int(rng.integers(0, 24))
    elif way == 1 and kind.shape.dim:
        one(rng, kind.shape.dim).dim_value = int(one(rng, (-1, 0, 1, 3, 5, 65536, 2**40)))
    elif way == 2 and kind.shape.dim:
        one(rng, kind.shape.dim).dim_param = "free"
    elif way == 3:
        ends.append(one(rng, ends))
    else:
        del ends[-1]


def _change_node(graph: Any, rng: np.random.Generator) -> None:
    node = one(rng, graph.node)
    kinds = [other.op_type for other in graph.node]
    node.op_type = str(one(rng, [*kinds, "Loop", "If", "NonZero", "Resize", "Nothing", ""]))
    if rng.random() < 0.2:
        graph.node.remove(one(rng, graph.node))


_ONNX = (_rewire, _change_attribute, _change_constant, _change_end, _change_node)
