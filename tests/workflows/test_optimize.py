"""`optimize` on models that others made."""

from collections import Counter
from pathlib import Path

import flatbuffers
import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema

from mnedge.errors import InputError, ToolError, UnsupportedError
from mnedge.formats.onnx_write import write_onnx
from mnedge.formats.tflite_read import read_tflite
from mnedge.formats.tflite_write import write_tflite
from mnedge.graph.graph import Graph, Op, Quantization, Tensor
from mnedge.workflows.optimize import loads, optimize, passes_for, rewrite
from mnedge.workflows.quantize import quantize


def _with_hard_swish(graph: Graph) -> Graph:
    """The network with an int8 HARD_SWISH behind its convolution."""
    tensors = [
        Tensor("swish", (1, 4, 4, 4), "int8", Quantization.per_tensor(0.02, -110)),
    ]
    convolution, *others = graph.ops
    ops = (convolution, Op("HARD_SWISH", ("conv",), ("swish",)), *(op.with_inputs({"conv": "swish"}) for op in others))
    return graph.replaced(tensors=tensors, ops=ops)


def test_a_model_with_nothing_to_gain_comes_back_byte_for_byte(tmp_path: Path, small_int8: Graph) -> None:
    source, out = tmp_path / "in.tflite", tmp_path / "out.tflite"
    # Bytes that this project's writer would not make itself.
    source.write_bytes(write_tflite(small_int8) + b"\0" * 64)
    result = optimize(source, out)
    assert out.read_bytes() == source.read_bytes()
    assert not result.changed
    assert "nothing to gain" in result.why
    assert "lower-hard-swish" in result.why


def test_a_hard_swish_is_lowered_and_the_account_says_so(tmp_path: Path, small_int8: Graph) -> None:
    source, out = tmp_path / "in.tflite", tmp_path / "out.tflite"
    source.write_bytes(write_tflite(_with_hard_swish(small_int8)))
    result = optimize(source, out)
    assert result.changed
    lowered = next(row for row in result.passes if row.name == "lower-hard-swish")
    assert lowered.removed == {"HARD_SWISH": 1}
    assert result.before.partitions == 2
    assert result.after.partitions == 1
    assert result.gain is not None
    (agreed,) = result.gain.agreement
    assert agreed.inputs == "random"
    assert agreed.agreement.max_abs_difference is not None
    assert agreed.agreement.max_abs_difference <= 8
    assert result.gain.ratio is not None
    assert result.gain.ratio.verdict in ("faster", "slower", "no difference shown")
    before, after = read_tflite(source), read_tflite(out)
    for name in (*before.inputs, *before.outputs):
        assert after.tensors[name].shape == before.tensors[name].shape
        assert after.tensors[name].dtype == before.tensors[name].dtype


def test_a_rewrite_that_cannot_be_measured_is_not_left(
    tmp_path: Path, small_int8: Graph, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, out = tmp_path / "in.tflite", tmp_path / "new" / "out.tflite"
    source.write_bytes(write_tflite(_with_hard_swish(small_int8)))

    def no_runtime(path: Path) -> str | None:
        raise ToolError(f"no runtime for {path}")

    monkeypatch.setattr("mnedge.workflows.optimize.loads", no_runtime)
    with pytest.raises(ToolError, match="no runtime"):
        optimize(source, out)
    assert not out.parent.exists()
    optimize(source, out, measure=False)
    assert out.is_file()


def test_a_float_model_keeps_its_hard_swish(small_int8: Graph) -> None:
    value, result = Tensor("x", (1, 4), "float32"), Tensor("y", (1, 4), "float32")
    graph = Graph({"x": value, "y": result}, (Op("HARD_SWISH", ("x",), ("y",)),), ("x",), ("y",))
    assert "lower-hard-swish" not in passes_for(graph, "cpu")
    assert rewrite(graph, passes_for(graph, "cpu"))[1] == []
    assert "lower-hard-swish" in passes_for(small_int8, "cpu")


def test_a_wrong_target_or_file_is_named(tmp_path: Path, small_int8: Graph) -> None:
    source = tmp_path / "in.tflite"
    source.write_bytes(write_tflite(small_int8))
    with pytest.raises(InputError, match="unknown target"):
        optimize(source, tmp_path / "out.tflite", target="cpuu")
    with pytest.raises(InputError, match="cannot be read"):
        optimize(tmp_path / "absent.tflite", tmp_path / "out.tflite")
    with pytest.raises(InputError, match="the input itself"):
        optimize(source, source)
    assert not (tmp_path / "out.tflite").exists()


def test_a_refusal_is_told_and_not_fatal(tmp_path: Path, small_int8: Graph) -> None:
    source, out = tmp_path / "refused.tflite", tmp_path / "out.tflite"
    conv = small_int8.tensors["conv"]
    refused = small_int8.replaced(
        tensors=[Tensor(conv.name, conv.shape, conv.dtype, Quantization.per_tensor(1e-8, -10))]
    )
    source.write_bytes(write_tflite(refused))
    assert loads(source) is not None
    result = optimize(source, out)
    assert result.gain is not None
    assert result.gain.refused
    assert result.gain.ratio is None
    assert result.after.partitions == 1
    assert loads(out) is None


@pytest.mark.shared
def test_googles_uint8_v3_small_runs_in_one_partition(shared_data: Path, tmp_path: Path) -> None:
    source, out = shared_data / "models" / "imagenet" / "v3-small_224_1.0_uint8.tflite", tmp_path / "out.tflite"
    result = optimize(source, out)
    assert result.before.partitions is not None
    assert result.before.partitions > 10
    assert result.after.partitions == 1
    assert result.gain is not None
    assert result.gain.ratio is not None
    weights = [
        tensor for tensor in read_tflite(source).tensors.values() if tensor.is_constant and tensor.dtype == "uint8"
    ]
    after = read_tflite(out).tensors
    kept = [(tensor.data, after[tensor.name].data) for tensor in weights if tensor.name in after]
    assert len(kept) >= 54
    assert all(one is not None and other is not None and np.array_equal(one, other) for one, other in kept)


def test_a_file_that_litert_refuses_is_held_against_the_same_graph_written_anew(
    tmp_path: Path, small_int8: Graph
) -> None:
    source, out = tmp_path / "in.tflite", tmp_path / "out.tflite"
    model = schema.ModelT.InitFromPackedBuf(write_tflite(_with_hard_swish(small_int8)))
    for tensor in model.subgraphs[0].tensors:
        # Old converters gave a bias the axis of its weights.
        if tensor.name == b"bias":
            tensor.quantization.quantizedDimension = 3
    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), b"TFL3")
    source.write_bytes(builder.Output())
    assert loads(source) is not None
    result = optimize(source, out)
    assert loads(out) is None
    assert result.gain is not None
    assert result.gain.refused is not None
    assert result.gain.agreement[0].agreement.max_abs_difference is not None


@pytest.mark.slow
@pytest.mark.shared
@pytest.mark.usefixtures("private_cache")
def test_every_file_of_others_is_rewritten_and_quantized_or_refused_by_name(shared_data: Path, tmp_path: Path) -> None:
    files = sorted(path for path in shared_data.parent.rglob("*.tflite") if ".git" not in path.parts)
    assert len(files) > 20
    done: Counter[str] = Counter()
    reasons: list[str] = []
    for place, path in enumerate(files):
        for verb in ("optimize", "quantize"):
            out = tmp_path / f"{place}.{verb}.tflite"
            try:
                if verb == "optimize":
                    optimize(path, out, measure=False)
                else:
                    quantize(path, out, pixels="-1..1", effort="fast")
            except (InputError, UnsupportedError) as refused:
                reasons.append(str(refused))
                done[f"{verb} refused"] += 1
                assert not out.exists()
            else:
                read_tflite(out)
                done[verb] += 1
    assert done["optimize"] > done["optimize refused"]
    assert done["quantize"] >= 10
    # What and where, and what to do: never a bare word.
    assert min(len(reason) for reason in reasons) > 60


def test_an_int8_onnx_becomes_a_tflite_with_its_scales(tmp_path: Path, small_int8: Graph) -> None:
    source, out = tmp_path / "m.int8.onnx", tmp_path / "m.int8.tflite"
    source.write_bytes(write_onnx(small_int8))
    result = optimize(source, out)
    assert result.after.ops == 3
    made = read_tflite(out)
    assert [op.kind for op in made.ops] == ["CONV_2D", "MEAN", "SOFTMAX"]
    for ours, theirs in ((made.inputs, small_int8.inputs), (made.outputs, small_int8.outputs)):
        one, other = made.tensors[ours[0]].quantization, small_int8.tensors[theirs[0]].quantization
        assert one is not None
        assert other is not None
        assert (one.scale, one.zero_point) == (other.scale, other.zero_point)
    weights = made.tensors[str(made.ops[0].inputs[1])].data
    assert weights is not None
    assert np.array_equal(weights, np.asarray(small_int8.tensors["weights"].data))


def test_a_float_onnx_becomes_a_float_tflite(tmp_path: Path, digits_fp32: Graph) -> None:
    source, out = tmp_path / "m.onnx", tmp_path / "m.tflite"
    source.write_bytes(write_onnx(digits_fp32))
    optimize(source, out)
    assert [op.kind for op in read_tflite(out).ops] == ["CONV_2D", "MEAN", "FULLY_CONNECTED", "SOFTMAX"]
    with pytest.raises(InputError, match=r"becomes an \.ort for mobile, or a \.tflite"):
        optimize(source, tmp_path / "m.bin")
