"""Seeded mutants of models go through the verbs: each ends in a result or an MnedgeError, soon, and in little memory.

The verbs run in a process that this one watches: a signal, a hang and a memory limit are seen from outside.
`python tests/workflows/test_mutants.py KIND SEED COUNT FOLDER [FILE…]` is that process.
"""

from __future__ import annotations

import importlib.util
import itertools
import json
import os
import resource
import selectors
import signal
import subprocess
import sys
import time
import traceback
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_LONGEST_S = 10.0
_MOST_BYTES = 2 << 30
# Of the machine that runs the tests, which may be busy; a hang takes longer than that.
_WATCH_S = 60.0
# TensorFlow may have to come from a cold disk.
_START_S = 300.0
# Of so many mutants one is also timed.
_MEASURED = 12


def _from_checks() -> Any:
    """The mutations of tables, and the network that they start from, of the test of `check_graph`."""
    path = Path(__file__).parent.parent / "graph" / "test_check_mutants.py"
    spec = importlib.util.spec_from_file_location("test_check_mutants", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _flipped(data: bytes, rng: np.random.Generator) -> bytes:
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


def _changed_onnx(data: bytes, rng: np.random.Generator) -> bytes:
    """An .onnx file with one to three of its nodes, attributes, constants, types or ends changed."""
    import onnx

    model = onnx.load_model_from_string(data)
    for _ in range(int(rng.integers(1, 4))):
        _ONNX_CHANGES[int(rng.integers(len(_ONNX_CHANGES)))](model.graph, rng)
    return bytes(model.SerializeToString())


def _one(rng: np.random.Generator, values: Any) -> Any:
    return values[int(rng.integers(len(values)))]


def _rewire(graph: Any, rng: np.random.Generator) -> None:
    node = _one(rng, graph.node)
    names = _one(rng, (node.input, node.output))
    made = [name for other in graph.node for name in other.output]
    way = int(rng.integers(4))
    if way == 0 and names:
        names[int(rng.integers(len(names)))] = _one(rng, [*made, "", "nobody"])
    elif way == 1 and names:
        del names[-1]
    elif way == 2:
        names.append(_one(rng, made))
    else:
        kept = list(names)[::-1]
        del names[:]
        names.extend(kept)


def _change_attribute(graph: Any, rng: np.random.Generator) -> None:
    nodes = [node for node in graph.node if node.attribute]
    if not nodes:
        return
    attribute = _one(rng, _one(rng, nodes).attribute)
    numbers = (-1, 0, 1, 2, 7, 1000, 2**31, -(2**63))
    way = int(rng.integers(4))
    if attribute.ints and way < 2:
        attribute.ints[int(rng.integers(len(attribute.ints)))] = int(_one(rng, numbers))
    elif attribute.ints and way == 2:
        del attribute.ints[-1]
    elif way == 3:
        attribute.type = int(rng.integers(0, 15))
    else:
        attribute.i, attribute.f = int(_one(rng, numbers)), float(_one(rng, (np.nan, np.inf, 0.0, -1e30)))


def _change_constant(graph: Any, rng: np.random.Generator) -> None:
    tensor = _one(rng, graph.initializer)
    way = int(rng.integers(4))
    if way == 0:
        tensor.data_type = int(rng.integers(0, 24))
    elif way == 1 and tensor.dims:
        tensor.dims[int(rng.integers(len(tensor.dims)))] = int(_one(rng, (-1, 0, 1, 3, 4096, 2**40)))
    elif way == 2:
        tensor.raw_data = tensor.raw_data[: int(rng.integers(len(tensor.raw_data) + 1))]
    elif tensor.raw_data:
        values = bytearray(tensor.raw_data)
        values[int(rng.integers(len(values)))] = int(_one(rng, (0, 127, 128, 255)))
        tensor.raw_data = bytes(values)


def _change_end(graph: Any, rng: np.random.Generator) -> None:
    ends = _one(rng, (graph.input, graph.output))
    if not ends:
        return
    kind = _one(rng, ends).type.tensor_type
    way = int(rng.integers(5))
    if way == 0:
        kind.elem_type = int(rng.integers(0, 24))
    elif way == 1 and kind.shape.dim:
        _one(rng, kind.shape.dim).dim_value = int(_one(rng, (-1, 0, 1, 3, 5, 65536, 2**40)))
    elif way == 2 and kind.shape.dim:
        _one(rng, kind.shape.dim).dim_param = "free"
    elif way == 3:
        ends.append(_one(rng, ends))
    else:
        del ends[-1]


def _change_node(graph: Any, rng: np.random.Generator) -> None:
    node = _one(rng, graph.node)
    kinds = [other.op_type for other in graph.node]
    node.op_type = str(_one(rng, [*kinds, "Loop", "If", "NonZero", "Resize", "Nothing", ""]))
    if rng.random() < 0.2:
        graph.node.remove(_one(rng, graph.node))


_ONNX_CHANGES = (_rewire, _change_attribute, _change_constant, _change_end, _change_node)


def _tflite_verbs(file: Path, folder: Path, number: int) -> dict[str, Callable[[], object]]:
    from mnedge.workflows.compile import compile as compile_model
    from mnedge.workflows.inspect import inspect
    from mnedge.workflows.optimize import optimize
    from mnedge.workflows.quantize import quantize

    inputs = folder / "inputs.npy"
    out = folder / f"out{number}"
    measured = number % _MEASURED == 0
    return {
        "inspect": lambda: inspect(file),
        "optimize": lambda: optimize(file, out.with_suffix(".tflite"), measure=measured),
        "optimize for a microcontroller": lambda: optimize(
            file, out.with_suffix(".m4.tflite"), target="cortex-m4", measure=False
        ),
        "compile": lambda: compile_model(file, out, "generic", name="mutant"),
        "quantize": lambda: quantize(file, out.with_suffix(".int8.tflite"), str(inputs), effort="fast"),
    }


def _onnx_verbs(file: Path, folder: Path, number: int) -> dict[str, Callable[[], object]]:
    from mnedge import devices
    from mnedge.data import open_dataset
    from mnedge.validation.predict import predict
    from mnedge.workflows.inspect import inspect

    del folder, number
    dataset = open_dataset("demo")
    numbers = dataset.split("eval", 2)
    return {
        "inspect": lambda: inspect(file),
        "validate": lambda: predict(file, dataset, numbers, device=devices.get("local"), pixels=_symmetric()),
    }


def _symmetric() -> Any:
    from mnedge.pixels import SYMMETRIC

    return SYMMETRIC


def _sources(kind: str, files: list[str]) -> list[bytes]:
    if files:
        return [Path(file).read_bytes() for file in files]
    from mnedge.formats.onnx_write import write_onnx
    from mnedge.formats.tflite_write import write_tflite

    graphs = [_from_checks()._many_ops(dtype) for dtype in ("float32", "int8")]
    return [write_onnx(graph) if kind == "onnx" else write_tflite(graph) for graph in graphs]


def _work(kind: str, seed: int, first: int, count: int, folder: Path, files: list[str]) -> None:
    from mnedge.errors import MnedgeError
    from mnedge.silence import start_tensorflow

    signal.signal(signal.SIGALRM, _late)
    if kind == "tflite":
        start_tensorflow()
    sources, rng_of = _sources(kind, files), np.random.default_rng
    np.save(folder / "inputs.npy", rng_of(0).uniform(-1, 1, (3, 6, 6, 4)).astype(np.float32))
    mutate = _changed_onnx if kind == "onnx" else _from_checks()._mutated
    verbs = _onnx_verbs if kind == "onnx" else _tflite_verbs
    warnings.simplefilter("ignore")
    for number in range(first, first + count):
        rng = rng_of([seed, number])
        data = sources[number % len(sources)]
        file = folder / f"mutant{number}.{kind}"
        try:
            data = _flipped(data, rng) if rng.random() < 0.3 else mutate(data, rng)
        except Exception:  # noqa: BLE001, S112 - values that no table can hold
            continue
        file.write_bytes(data)
        for verb, run in verbs(file, folder, number).items():
            _tell(number=number, verb=verb)
            begin = time.monotonic()
            # What is timed is warmed up first, for seconds where the machine is busy.
            signal.alarm(int(_WATCH_S if number % _MEASURED == 0 else _LONGEST_S + 5) - 5)
            try:
                run()
                end = "passed"
            except MnedgeError as exc:
                end = type(exc).__name__
                if "\n" in str(exc).strip() and os.environ.get("MNEDGE_FUZZ_LINES"):
                    end += " of several lines"
            except BaseException:  # noqa: BLE001 - that is what is looked for
                end = traceback.format_exc()
            signal.alarm(0)
            _tell(number=number, verb=verb, end=end, seconds=time.monotonic() - begin, peak=_peak_bytes())
        file.unlink()
    _tell(done=True)


def _peak_bytes() -> int:
    """The most memory that this process or one of its children took, bytes.

    `ru_maxrss` of this process itself starts at that of the process which started it.
    """
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    own = next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM:"))
    return max(own, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss) * 1024


def _late(*_: object) -> None:
    raise TimeoutError("more than the longest time")


def _tell(**values: object) -> None:
    sys.stdout.write(json.dumps(values) + "\n")
    sys.stdout.flush()


def _ends(kind: str, seed: int, count: int, folder: Path, files: list[str]) -> Iterator[dict[str, Any]]:
    """What each verb made of each mutant; a process that ends is started again at the next one."""
    first = 0
    while first < count:
        folder.mkdir(exist_ok=True)
        arguments = [kind, str(seed), str(first), str(count - first), str(folder), *files]
        last: dict[str, Any] = {"number": first - 1, "verb": "start"}
        with subprocess.Popen(
            [sys.executable, __file__, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE
        ) as process:
            assert process.stdout is not None
            lines = selectors.DefaultSelector()
            lines.register(process.stdout, selectors.EVENT_READ)
            while True:
                if not lines.select(_START_S if last["number"] < first else _WATCH_S):
                    process.kill()
                    assert last["number"] >= first, "the verbs do not start"
                    yield {**last, "end": "hang", "seconds": _WATCH_S}
                    break
                line = process.stdout.readline()
                if not line and last["number"] < first:
                    raise AssertionError(f"the verbs do not start: status {process.wait()}")
                if not line:
                    words = process.stderr.read().decode(errors="replace")[-2000:] if process.stderr else ""
                    yield {**last, "end": f"status {process.wait()}: {words}", "seconds": 0.0}
                    break
                told = json.loads(line)
                if "done" in told:
                    return
                last = told
                if "end" in told:
                    yield told
        first = int(last["number"]) + 1


_GOOD = ("passed", "InputError", "UnsupportedError", "BudgetError", "ToolError")


def _faults(ends: Iterator[dict[str, Any]]) -> tuple[list[str], dict[str, int]]:
    faults, counts = [], dict.fromkeys(_GOOD, 0)
    for end in ends:
        if end["end"] not in _GOOD:
            faults.append(f"mutant {end['number']}, {end['verb']}: {end['end']}")
        else:
            counts[end["end"]] += 1
        if end.get("peak", 0) > _MOST_BYTES:
            faults.append(f"mutant {end['number']}, {end['verb']}: {end['peak']:,} bytes")
    return faults, counts


@pytest.mark.parametrize("kind", ["tflite", "onnx"])
def test_mutants_of_models_end_in_a_result_or_one_error(
    kind: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    # Ten seconds by default, all of it with --fuzz.
    asked = request.config.getoption("--fuzz")
    faults, counts = _faults(_ends(kind, 15, asked // 15 if asked <= 300 else asked, tmp_path / "work", []))
    assert faults == []
    assert counts["InputError"] > 0


if __name__ == "__main__":
    _kind, _seed, _first, _count, _folder, *_files = sys.argv[1:]
    os.environ.setdefault("MNEDGE_CACHE", str(Path(_folder) / "cache"))
    _work(_kind, int(_seed), int(_first), int(_count), Path(_folder), list(itertools.chain(_files)))
