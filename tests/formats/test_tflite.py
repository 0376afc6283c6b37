"""The .tflite reader and writer, against LiteRT."""

import collections
from pathlib import Path

import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter

from mnedge.errors import InputError, MnedgeError, UnsupportedError
from mnedge.formats.tflite_read import parse_tflite, read_tflite
from mnedge.formats.tflite_write import write_tflite
from mnedge.graph.graph import Graph, Op, Tensor


def _outputs(data: bytes) -> list[np.ndarray]:
    interpreter = Interpreter(model_content=data)
    interpreter.allocate_tensors()
    detail = interpreter.get_input_details()[0]
    rng = np.random.default_rng(0)
    image = rng.normal(size=detail["shape"]).astype(np.float32)
    if detail["dtype"] != np.float32:
        image = rng.integers(0, 256, detail["shape"]).astype(detail["dtype"])
    interpreter.set_tensor(detail["index"], image)
    interpreter.invoke()
    return [interpreter.get_tensor(output["index"]) for output in interpreter.get_output_details()]


def test_what_is_written_runs_and_reads_back(small_int8: Graph) -> None:
    data = write_tflite(small_int8)
    again = parse_tflite(data, "again")
    assert list(again.tensors) == list(small_int8.tensors)
    assert [op.kind for op in again.ops] == ["CONV_2D", "MEAN", "SOFTMAX"]
    assert again.ops[0].options["padding"] == "SAME"
    weights = again.tensors["weights"]
    assert weights.quantization is not None
    assert weights.quantization.axis == 0
    written = small_int8.tensors["weights"].data
    assert weights.data is not None
    assert written is not None
    assert np.array_equal(weights.data, written)
    assert write_tflite(again) == data
    assert abs(int(_outputs(data)[0].astype(int).sum()) + 128 * 4 - 256) <= 4


def test_equal_vectors_are_stored_once(small_int8: Graph) -> None:
    data = write_tflite(small_int8)
    zeros = np.zeros(4, np.int64).tobytes()
    assert data.count(zeros) <= 2
    twice = small_int8.replaced(
        tensors=[Tensor("copy", small_int8.tensors["weights"].shape, "int8", data=small_int8.tensors["weights"].data)],
        ops=[
            *small_int8.ops[:2],
            Op("SOFTMAX", ("mean",), ("scores",), {"beta": 1.0}),
            Op("QUANTIZE", ("copy",), ("q",)),
        ],
        outputs=["scores", "q"],
    )
    twice = Graph({**twice.tensors, "q": Tensor("q", (4, 3, 3, 3), "int8")}, twice.ops, twice.inputs, twice.outputs)
    assert len(write_tflite(twice)) - len(data) < 600


@pytest.mark.shared
def test_real_files_keep_their_outputs_bit_for_bit(shared_data: Path) -> None:
    files = sorted((shared_data / "models").rglob("*.tflite"))
    assert len(files) > 10
    for path in files:
        data = write_tflite(read_tflite(path))
        for before, after in zip(_outputs(path.read_bytes()), _outputs(data), strict=True):
            assert np.array_equal(before, after), path


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "TFL3 is missing"),
        (b"PK\x03\x04" + b"\0" * 40, "TFL3 is missing"),
        (b"\x10\0\0\0TFL3" + b"\0" * 4, "damaged"),
    ],
)
def test_what_is_no_tflite_is_refused(data: bytes, said: str) -> None:
    with pytest.raises(InputError, match=said):
        parse_tflite(data, "f.tflite")


def test_a_name_that_is_not_utf8_is_refused(small_int8: Graph) -> None:
    """LiteRT's Python interface ends in UnicodeDecodeError on it."""
    data = write_tflite(small_int8)
    assert data.count(b"weights") == 1
    with pytest.raises(InputError, match=r"f\.tflite is damaged: the name of tensor 1 is not UTF-8 text \(b'w.xc0"):
        parse_tflite(data.replace(b"weights", b"w\xc0\xffghts"), "f.tflite")


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"gone\.tflite cannot be read"):
        read_tflite(tmp_path / "gone.tflite")


def test_an_op_outside_the_list_is_named(small_int8: Graph) -> None:
    from mnedge.formats import tflite_schema as schema

    data = bytearray(write_tflite(small_int8))
    softmax, lstm = schema.OP_CODES["SOFTMAX"], schema.OP_CODES["LSTM"]
    model = schema.schema.ModelT.InitFromPackedBuf(bytes(data), 0)
    for code in model.operatorCodes:
        if code.builtinCode == softmax:
            code.builtinCode = code.deprecatedBuiltinCode = lstm
    import flatbuffers

    builder = flatbuffers.Builder(0)
    builder.Finish(model.Pack(builder), file_identifier=b"TFL3")
    with pytest.raises(
        UnsupportedError, match=r"op 2 is LSTM \(makes .*\), which mnedge does not read. Export the model without it"
    ):
        parse_tflite(bytes(builder.Output()), "f.tflite")


def test_what_vela_made_is_named(small_int8: Graph) -> None:
    compiled = Op("ethos-u", small_int8.inputs, small_int8.outputs, {"custom_options": b"x"})
    with pytest.raises(UnsupportedError, match=r"compiled for Arm's Ethos-U already: op 0 .* that Vela was given"):
        parse_tflite(write_tflite(small_int8.replaced(ops=[compiled])), "f.tflite")


def test_mutated_files_end_in_an_error_or_a_graph(small_int8: Graph, request: pytest.FixtureRequest) -> None:
    """Bit flips, cuts and overwritten words: an error each time or a graph that holds together, never a crash."""
    data = write_tflite(small_int8)
    rng = np.random.default_rng(7)
    ends: collections.Counter[str] = collections.Counter()
    for _ in range(request.config.getoption("--fuzz")):
        mutated = bytearray(data)
        for _ in range(int(rng.integers(1, 6))):
            place = int(rng.integers(8, len(mutated)))
            if rng.random() < 0.5:
                mutated[place] ^= 1 << int(rng.integers(8))
            else:
                mutated[place : place + 4] = rng.integers(0, 256, 4).astype(np.uint8).tobytes()
        if rng.random() < 0.3:
            mutated = mutated[: int(rng.integers(8, len(mutated)))]
        try:
            parse_tflite(bytes(mutated), "mutated").check()
            ends["graph"] += 1
        except MnedgeError:
            ends["error"] += 1
    assert ends["error"] > 0
    assert ends["graph"] > 0
