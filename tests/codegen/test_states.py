"""Models that keep state between calls: variables, LSTM and SVDF against LiteRT, call after call."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING, Any

import flatbuffers
import numpy as np
import pytest

from mnedge.codegen import vectors
from mnedge.codegen.emit import Unit
from mnedge.codegen.lower import lower
from mnedge.codegen.plan import plan
from mnedge.errors import InputError, UnsupportedError
from mnedge.formats.tflite_read import parse_tflite
from mnedge.formats.tflite_schema import schema
from mnedge.formats.tflite_write import write_tflite
from mnedge.graph.cut import cut
from mnedge.graph.graph import Graph, Op, Quantization, Tensor, constant
from tests.slow import rest_is_slow

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from mnedge.codegen.program import KernelSet

CALLS = 5
STEPS = Quantization.per_tensor(0.05, 3)
needs_gcc = pytest.mark.skipif(shutil.which("gcc") is None, reason="no gcc on this machine")
KERNEL_SETS: tuple[KernelSet, ...] = ("portable", "dsp", "mve")


def _packed(model: Any) -> bytes:
    builder = flatbuffers.Builder(1 << 16)
    builder.Finish(model.Pack(builder), file_identifier=b"TFL3")
    return bytes(builder.Output())


def _code(model: Any, kind: str, version: int = 1) -> int:
    code = schema.OperatorCodeT()
    code.builtinCode = getattr(schema.BuiltinOperator, kind)
    code.deprecatedBuiltinCode, code.version = min(code.builtinCode, 127), version
    model.operatorCodes.append(code)
    return len(model.operatorCodes) - 1


def _op(model: Any, kind: str, inputs: Sequence[int], outputs: Sequence[int], options: Any = None) -> Any:
    op = schema.OperatorT()
    op.opcodeIndex, op.inputs, op.outputs = _code(model, kind), list(inputs), list(outputs)
    if options is not None:
        name = type(options).__name__.removesuffix("T")
        op.builtinOptions, op.builtinOptionsType = options, getattr(schema.BuiltinOptions, name)
    return op


def with_variables(graph: Graph, pairs: Sequence[tuple[str, str, int]]) -> bytes:
    """The graph as a file in which some inputs are variables.

    Args:
        graph: Takes and gives what is kept as inputs and outputs.
        pairs: Input, output, and the step that the variable starts from, of each.
    """
    model = schema.ModelT.InitFromPackedBuf(write_tflite(graph), 0)
    (main,) = model.subgraphs
    places = {tensor.name.decode(): place for place, tensor in enumerate(main.tensors)}
    first, last = [], []
    other = schema.SubGraphT()
    other.tensors, other.operators, other.inputs, other.outputs, other.name = [], [], [], [], "NoOp"
    for read, written, start in pairs:
        options = schema.VarHandleOptionsT()
        options.container, options.sharedName = "", f"{read}/kept"
        for side in (main, other):
            handle = schema.TensorT()
            handle.shape, handle.type, handle.name = [], schema.TensorType.RESOURCE, f"{read}/handle"
            side.tensors.append(handle)
        handle_place = len(main.tensors) - 1
        data = schema.BufferT()
        tensor = main.tensors[places[read]]
        data.data = np.full(int(np.prod(tensor.shape)), start, np.int8).view(np.uint8)
        model.buffers.append(data)
        value = schema.TensorT()
        value.shape, value.type, value.name = tensor.shape, tensor.type, f"{read}/start"
        value.buffer, value.quantization = len(model.buffers) - 1, tensor.quantization
        other.tensors.append(value)
        start_place = len(other.tensors) - 1
        other.operators.append(_op(model, "VAR_HANDLE", [], [start_place - 1], options))
        other.operators.append(_op(model, "ASSIGN_VARIABLE", [start_place - 1, start_place], []))
        first.append(_op(model, "VAR_HANDLE", [], [handle_place], options))
        first.append(_op(model, "READ_VARIABLE", [handle_place], [places[read]]))
        last.append(_op(model, "ASSIGN_VARIABLE", [handle_place, places[written]], []))
        main.inputs = [place for place in main.inputs if place != places[read]]
        main.outputs = [place for place in main.outputs if place != places[written]]
    once = schema.CallOnceOptionsT()
    once.initSubgraphIndex = 1
    main.operators = [_op(model, "CALL_ONCE", [], [], once), *first, *main.operators, *last]
    model.subgraphs.append(other)
    return _packed(model)


def _check(folder: Path, model: bytes, run: Callable[..., Any], kernels: KernelSet) -> Unit:
    """Compares what C and LiteRT make of inputs one after another."""
    program = lower(parse_tflite(model, "m.tflite", stateful=True))
    unit = Unit("model0", program, plan(program, kernels), kernels, "kept")
    images = np.random.default_rng(3).integers(-128, 128, (CALLS, unit.input_bytes)).astype(np.int8)
    expected = vectors.reference_outputs(model, images, vectors.ends_of(unit))
    assert expected is not None
    (ran,) = run(folder, [(unit, images)])
    assert np.array_equal(ran.outputs, expected)
    return unit


def _window(*, direct: bool) -> Graph:
    """The last four values of a stream, and their mean; the state moves on by a slice, or as it was by a table."""
    tensors = [
        Tensor("x", (1, 2, 1, 3), "int8", STEPS),
        Tensor("kept", (1, 4, 1, 3), "int8", STEPS),
        Tensor("joined", (1, 6, 1, 3), "int8", STEPS),
        Tensor("next", (1, 4, 1, 3), "int8", STEPS),
        Tensor("mean", (1, 3), "int8", Quantization.per_tensor(0.04, 0)),
        constant("begin", np.array([0, 2, 0, 0], np.int32)),
        constant("size", np.array([1, 4, 1, 3], np.int32)),
        constant("axes", np.array([1, 2], np.int32)),
    ]
    ops = [
        Op("CONCATENATION", ("kept", "x"), ("joined",), {"axis": 1, "activation": "NONE"}),
        Op("SLICE", ("joined", "begin", "size"), ("next",)),
        Op("MEAN", ("joined", "axes"), ("mean",), {"keep_dims": False}),
    ]
    if not direct:
        # A table is made row by row, and in the place of what it reads.
        tensors.append(Tensor("relu", (1, 4, 1, 3), "int8", STEPS))
        ops.append(Op("RELU", ("next",), ("relu",)))
    outputs = ("mean", "next" if direct else "relu")
    return Graph({tensor.name: tensor for tensor in tensors}, tuple(ops), ("x", "kept"), outputs)


@needs_gcc
@pytest.mark.parametrize("kernels", KERNEL_SETS)
@pytest.mark.parametrize("direct", [True, False])
def test_variables_live_from_call_to_call(
    tmp_path: Path, run_sanitized: Callable[..., Any], kernels: KernelSet, *, direct: bool
) -> None:
    written = "next" if direct else "relu"
    unit = _check(tmp_path, with_variables(_window(direct=direct), [("kept", written, -7)]), run_sanitized, kernels)
    assert unit.program.homes == {("next" if direct else "kept (next)"): "kept"}
    # In a part of the arena of its own: nothing else ever lies there.
    kept = next(block for block in unit.plan.blocks if block.kind == "kept")
    assert kept.size_bytes == 16
    start = unit.plan.offsets[kept.name]
    for block in unit.plan.blocks:
        place = unit.plan.offsets[block.name]
        assert block is kept or place >= start + 16 or place + block.size_bytes <= start


@needs_gcc
def test_a_state_that_is_handed_out_is_what_the_call_found(tmp_path: Path, run_sanitized: Callable[..., Any]) -> None:
    graph = _window(direct=True)
    model = with_variables(graph.replaced(outputs=("mean", "kept", "next")), [("kept", "next", 5)])
    _check(tmp_path, model, run_sanitized, "portable")


def test_two_states_that_take_each_others_value_are_refused() -> None:
    tensors = [Tensor(name, (1, 4), "int8", STEPS) for name in ("x", "a", "b", "y", "z")]
    options = {"activation": "NONE", "pot_scale_int16": True}
    ops = (Op("ADD", ("x", "a"), ("y",), options), Op("ADD", ("y", "b"), ("z",), options))
    graph = Graph({tensor.name: tensor for tensor in tensors}, ops, ("x", "a", "b"), ("z", "y"))
    model = schema.ModelT.InitFromPackedBuf(with_variables(graph, [("a", "y", 0), ("b", "y", 0)]), 0)
    assigned = [op for op in model.subgraphs[0].operators if len(op.inputs) == 2 and not len(op.outputs)]
    for op, other in zip(assigned, ("b", "a"), strict=True):
        place = next(i for i, tensor in enumerate(model.subgraphs[0].tensors) if tensor.name.decode() == other)
        op.inputs = [int(op.inputs[0]), place]
    with pytest.raises(UnsupportedError, match="is read after it was written"):
        lower(parse_tflite(_packed(model), "m.tflite", stateful=True))


def test_a_model_with_state_is_neither_cut_nor_written_and_others_say_so() -> None:
    model = with_variables(_window(direct=True), [("kept", "next", 0)])
    with pytest.raises(UnsupportedError, match="`mnedge compile` takes state"):
        parse_tflite(model, "m.tflite")
    graph = parse_tflite(model, "m.tflite", stateful=True)
    assert [(state.name, state.written) for state in graph.states] == [("kept", "next")]
    with pytest.raises(InputError, match="compile it whole"):
        cut(graph, (), ("joined",))
    with pytest.raises(UnsupportedError, match="cannot be written"):
        write_tflite(graph)


def _recurrent(kind: str, seed: int) -> bytes:
    """A layer with variables of its own: a stand-in op's inputs are put in the places that the kind has for them."""
    rng = np.random.default_rng(seed)
    lstm = kind == "UNIDIRECTIONAL_SEQUENCE_LSTM"
    inputs, units, steps, rank = (int(rng.integers(low, 12)) for low in (1, 1, 1, 1))
    rank = rank % 3 + 1
    hidden = Quantization.per_tensor(1 / 128, int(rng.integers(-10, 10)))

    def weights(name: str, shape: tuple[int, ...], scale: float = 0.01) -> Tensor:
        return constant(name, rng.integers(-127, 128, shape).astype(np.int8), Quantization.per_tensor(scale, 0))

    def bias(name: str, count: int) -> Tensor:
        return constant(name, rng.integers(-2000, 2000, count).astype(np.int32), Quantization.per_tensor(0.0005, 0))

    if lstm:
        names = [f"w{gate}" for gate in "ifco"] + [f"r{gate}" for gate in "ifco"]
        tensors = [weights(name, (units, inputs if name[0] == "w" else units)) for name in names]
        tensors += [bias(f"b{gate}", units) for gate in "ifco"]
        x, y = Tensor("x", (1, steps, inputs), "int8", STEPS), Tensor("y", (1, steps, units), "int8", hidden)
        kept = [
            Tensor("h", (1, units), "int8", hidden),
            Tensor("c", (1, units), "int16", Quantization.per_tensor(2**-11, 0)),
        ]
        order = [
            "x",
            *names,
            None,
            None,
            None,
            *[f"b{gate}" for gate in "ifco"],
            None,
            None,
            "h",
            "c",
            None,
            None,
            None,
            None,
        ]
    else:
        memory, filters = steps + 1, units * rank
        times = constant(
            "t", rng.integers(-3000, 3000, (filters, memory)).astype(np.int16), Quantization.per_tensor(2e-4, 0)
        )
        tensors = [weights("f", (filters, inputs)), times, bias("b", units)]
        x, y = Tensor("x", (1, inputs), "int8", STEPS), Tensor("y", (1, units), "int8", hidden)
        kept = [Tensor("m", (1, filters * memory), "int16", Quantization.per_tensor(1e-3, 0))]
        order = ["x", "f", "t", "b", "m"]
    table = {tensor.name: tensor for tensor in (x, *tensors, *kept, y)}
    stand_in = Op("STAND_IN", tuple(name for name in order if name), ("y",), {"custom_options": b""})
    graph = Graph(table, (stand_in,), ("x", *(tensor.name for tensor in kept)), ("y",))
    model = schema.ModelT.InitFromPackedBuf(write_tflite(graph), 0)
    (main,) = model.subgraphs
    places = {tensor.name.decode(): place for place, tensor in enumerate(main.tensors)}
    for tensor in kept:
        main.tensors[places[tensor.name]].isVariable = True
    options = schema.UnidirectionalSequenceLSTMOptionsT() if lstm else schema.SVDFOptionsT()
    if lstm:
        options.fusedActivationFunction, options.cellClip = schema.ActivationFunctionType.TANH, 0.0 if seed % 2 else 4.0
    else:
        options.rank, options.fusedActivationFunction = rank, schema.ActivationFunctionType.RELU
    op = _op(model, kind, [places[name] if name else -1 for name in order], [places["y"]], options)
    if lstm:
        for number in range(5):
            tensor = schema.TensorT()
            tensor.shape, tensor.type, tensor.name = [], schema.TensorType.INT16, f"intermediate{number}"
            tensor.quantization = main.tensors[places["h" if number == 4 else "c"]].quantization
            main.tensors.append(tensor)
        op.intermediates = list(range(len(main.tensors) - 5, len(main.tensors)))
    main.operators, main.inputs = [op], [places["x"]]
    return _packed(model)


@needs_gcc
@pytest.mark.parametrize("kind", ["UNIDIRECTIONAL_SEQUENCE_LSTM", "SVDF"])
@pytest.mark.parametrize("seed", rest_is_slow(range(12), 4))
def test_recurrent_layers_are_bit_exact_call_after_call(
    tmp_path: Path, run_sanitized: Callable[..., Any], kind: str, seed: int
) -> None:
    unit = _check(tmp_path, _recurrent(kind, seed), run_sanitized, KERNEL_SETS[seed % 3])
    assert [layer.op for layer in unit.program.layers] == [kind]
