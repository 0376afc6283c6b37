"""Graph to .onnx bytes with the `onnx` package: float, or int8 as QDQ with the graph's own scales."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Literal

import numpy as np

from mnedge.data.detections import METADATA
from mnedge.data.origin import METADATA as ORIGIN
from mnedge.errors import UnsupportedError
from mnedge.formats._onnx_detection import detections
from mnedge.formats._onnx_layout import NCHW_TO_NHWC, NHWC_TO_NCHW
from mnedge.formats._onnx_movers import MOVERS, SPLITTERS
from mnedge.formats._onnx_ops import EMITTERS, clipped
from mnedge.formats.custom_options import DETECTION
from mnedge.graph.graph import fresh_name
from mnedge.graph.ops import ACTIVATION_LIMITS, bias_of, operands
from mnedge.pixels import METADATA as PIXELS
from mnedge.pixels import SYMMETRIC, Pixels

if TYPE_CHECKING:
    from collections.abc import Sequence

    from onnx import NodeProto, TensorProto, ValueInfoProto

    from mnedge.formats._onnx_layout import Attribute
    from mnedge.graph.graph import Graph, Op, Quantization, Tensor
    from mnedge.untyped import AnyArray

# QuantizeLinear per channel is from opset 13, HardSwish from 14; 17 is what ONNX Runtime 1.12 and later read.
_OPSET = 17
_IR_VERSION = 8
# Metadata in UTF-8 that goes along.
_CARRIED = (METADATA, ORIGIN, PIXELS)
_STEP_TYPES = ("int8", "uint8")
# Real values between which a fused activation clips.


def write_onnx(graph: Graph, *, activations: Literal["uint8", "int8"] = "uint8", name: str = "mnedge") -> bytes:
    """Serializes a graph as ONNX; the same graph gives the same bytes.

    Input and outputs keep their names, their shapes (NHWC) and their order, and are float32 also for an int8 graph: a
    QuantizeLinear stands behind the input, a DequantizeLinear before each output. Inside, images are NCHW.

    An int8 graph becomes QDQ: each activation one QuantizeLinear and a DequantizeLinear for each reader, weights
    int8 with their own scales, biases int32. Where an activation's range ends where its ReLU clips, saturation
    does the clipping and no Clip is written; elsewhere it stands on the steps, behind the QuantizeLinear: between
    convolution and QuantizeLinear it would keep ONNX Runtime from fusing them.

    int16 activations become float32, which holds each of their steps: ONNX Runtime has no integer kernel for them.
    Weights stay int8 there too.

    On x86 without VNNI, ONNX Runtime sums two products of uint8 and int8 in 16 bits, which can saturate; the session
    entry `session.x64quantprecision` = "1" makes it take a slower kernel that does not.

    Args:
        graph: Float or quantized.
        activations: dtype of quantized activations. ONNX Runtime has integer kernels for uint8 activations on x86 and
            for int8 on Arm; uint8 is int8 with 128 added to value and zero point, so both compute the same.
        name: Name of the ONNX graph.

    Raises:
        UnsupportedError: An op, or a form of it, that has no ONNX equivalent here, or a shape that is left open.
    """
    graph.check()
    _check_shapes(graph)
    return _Writer(_with_real_16(graph), activations).model(name)


def _with_real_16(graph: Graph) -> Graph:
    """The graph with float32 in place of int16 activations, and of the biases that go with them."""
    wide = {name for name, tensor in graph.tensors.items() if tensor.dtype == "int16" and tensor.quantization}
    wide |= {str(bias_of(op)) for op in graph.ops if op.outputs[0] in wide and bias_of(op) is not None}
    tensors = []
    for name in wide:
        tensor = graph.tensors[name]
        data = None if tensor.data is None else tensor.real()
        tensors.append(replace(tensor, dtype="float32", quantization=None, data=data))
    return graph.replaced(tensors=tensors) if tensors else graph


def _check_shapes(graph: Graph) -> None:
    for name in graph.inputs:
        shape = graph.tensors[name].open_shape
        if -1 in shape[1:]:
            told = " x ".join("?" if extent < 0 else str(extent) for extent in shape)
            raise UnsupportedError(
                f"input {name} leaves its shape open ({told}), and the layout of ONNX files is made for one shape; fix "
                "it, e.g. with --size HEIGHTxWIDTH where the model is read"
            )


class _Writer:
    """Builds nodes in the graph's order.

    Attributes:
        held: The value of each activation, NCHW where it has rank 4; integer steps where it is quantized.
    """

    def __init__(self, graph: Graph, activations: str) -> None:
        self.graph = graph
        self.activations = activations
        self.nodes: list[NodeProto] = []
        self.initializers: dict[str, TensorProto] = {}
        self.constants: dict[tuple[object, ...], str] = {}
        self.taken: set[str] = {*graph.inputs, *graph.outputs}
        self.held: dict[str, str] = {}
        self.pads: dict[str, tuple[tuple[int, int], tuple[int, int]]] = {}

    def model(self, name: str) -> bytes:
        from onnx import helper

        for tensor in self.graph.inputs:
            self._enter(self.graph.tensors[tensor])
        for op in self.graph.ops:
            self._op(op)
        for tensor in self.graph.outputs:
            self._leave(self.graph.tensors[tensor])
        ends = [[self._info(item) for item in names] for names in (self.graph.inputs, self.graph.outputs)]
        body = helper.make_graph(self.nodes, name, *ends, initializer=list(self.initializers.values()))
        model = helper.make_model(
            body,
            opset_imports=[helper.make_opsetid("", _OPSET)],
            ir_version=_IR_VERSION,
            producer_name="mnedge",
        )
        texts = {name: data.decode() for name, data in sorted(self.graph.metadata.items()) if name in _CARRIED}
        helper.set_model_props(model, texts)
        return bytes(model.SerializeToString(deterministic=True))

    def _info(self, name: str) -> ValueInfoProto:
        from onnx import TensorProto, helper

        tensor = self.graph.tensors[name]
        kinds = {"int32": TensorProto.INT32, "int64": TensorProto.INT64, "bool": TensorProto.BOOL}
        return helper.make_tensor_value_info(name, kinds.get(tensor.dtype, TensorProto.FLOAT), tensor.shape)

    # -- names, nodes, constants

    def _fresh(self, wish: str) -> str:
        name = fresh_name(wish, self.taken)
        self.taken.add(name)
        return name

    def node(self, kind: str, inputs: Sequence[str], hint: str, **attributes: Attribute) -> str:
        """Adds a node of one output and returns the name of its value."""
        return self._node(kind, inputs, self._fresh(hint), **attributes)

    def _node(self, kind: str, inputs: Sequence[str], output: str, **attributes: Attribute) -> str:
        from onnx import helper

        self.nodes.append(helper.make_node(kind, list(inputs), [output], name=output, **attributes))
        return output

    def node_of_several(
        self,
        kind: str,
        inputs: Sequence[str],
        hints: Sequence[str],
        **attributes: Attribute,
    ) -> tuple[str, ...]:
        """Adds a node of several outputs and returns the names of their values."""
        from onnx import helper

        outputs = tuple(self._fresh(hint) for hint in hints)
        self.nodes.append(helper.make_node(kind, list(inputs), list(outputs), name=outputs[0], **attributes))
        return outputs

    def values(self, array: AnyArray, hint: str, *, owner: str = "") -> str:
        """Adds an initializer, one for equal arrays (of an owner), and returns its name."""
        from onnx import numpy_helper

        array = np.ascontiguousarray(array) if array.ndim else array
        key = (str(array.dtype), array.shape, array.tobytes(), owner)
        if key not in self.constants:
            name = self._fresh(hint)
            self.constants[key] = name
            self.initializers[name] = numpy_helper.from_array(array, name)
        return self.constants[key]

    # -- quantization

    def _is_steps(self, tensor: Tensor) -> bool:
        return tensor.quantization is not None and tensor.dtype in _STEP_TYPES

    def _parameters(self, quantization: Quantization, dtype: str, stored: str) -> tuple[str, str]:
        """Names of scale and zero point, the zero point moved along where int8 is stored as uint8 or back."""
        shift = int(np.iinfo(stored).min) - int(np.iinfo(dtype).min)
        scale, zero_point = quantization.scale, quantization.zero_point + shift
        if quantization.axis is None:
            scale, zero_point = scale.reshape(()), zero_point.reshape(())
        return self.values(scale, "scale"), self.values(zero_point.astype(stored), "zero_point")

    def _quantized(self, value: str, tensor: Tensor, hint: str) -> str:
        assert tensor.quantization is not None
        parameters = self._parameters(tensor.quantization, tensor.dtype, self.activations)
        return self.node("QuantizeLinear", (value, *parameters), hint)

    def _dequantized(self, value: str, tensor: Tensor, hint: str) -> str:
        assert tensor.quantization is not None
        parameters = self._parameters(tensor.quantization, tensor.dtype, self.activations)
        return self.node("DequantizeLinear", (value, *parameters), hint)

    def real(self, name: str | None) -> str:
        """The value of a tensor in float32; each reader of a quantized one gets a DequantizeLinear of its own."""
        tensor = self.graph.tensors[str(name)]
        if tensor.is_constant:
            return self._real_constant(tensor)
        if self._is_steps(tensor):
            return self._dequantized(self.held[tensor.name], tensor, f"{tensor.name}/real")
        return self.held[tensor.name]

    def _real_constant(self, tensor: Tensor) -> str:
        """An operand of an elementwise op, its channels where NCHW has them."""
        assert tensor.data is not None
        data, order = tensor.data, None
        if data.ndim == 4:
            order = NHWC_TO_NCHW
            data = data.transpose(order)
        elif data.ndim in (1, 2, 3) and data.size > 1 and self._meets_images(tensor.name):
            data = np.moveaxis(data.reshape((1,) * (3 - data.ndim) + data.shape), 2, 0)
        if not self._is_steps(tensor):
            return self.values(data, tensor.name)
        assert tensor.quantization is not None
        if tensor.quantization.axis is not None:
            return self.weights(tensor.name, order, 0)
        shift = int(np.iinfo(self.activations).min) - int(np.iinfo(tensor.dtype).min)
        steps = self.values((data.astype(np.int16) + shift).astype(self.activations), tensor.name)
        return self._dequantized(steps, tensor, f"{tensor.name}/real")

    def _meets_images(self, name: str) -> bool:
        readers = self.graph.consumers()[name]
        return any(len(self.graph.tensors[op.outputs[0]].shape) == 4 for op in readers)

    def weights(self, name: str, order: tuple[int, ...] | None, channel_axis: int) -> str:
        """The value of a constant in float32, its axes reordered, channels along `channel_axis` then."""
        tensor = self.graph.tensors[name]
        if tensor.data is None:
            raise UnsupportedError(f"the weights {name} are computed, not constant; such a layer does not go to ONNX")
        data = tensor.data if order is None else tensor.data.transpose(order)
        if tensor.quantization is None:
            return self.values(data.astype(np.float32), name)
        scale, zero_point = tensor.quantization.scale, tensor.quantization.zero_point.astype(tensor.dtype)
        axis = {} if tensor.quantization.axis is None else {"axis": channel_axis}
        if not axis:
            scale, zero_point = scale.reshape(()), zero_point.reshape(())
        # For `session.x64quantprecision` ONNX Runtime rewrites weights, and fails where two layers share one of these.
        steps, zero_points = self.values(data, name, owner=name), self.values(zero_point, f"{name}/zero", owner=name)
        inputs = (steps, self.values(scale, "scale"), zero_points)
        return self.node("DequantizeLinear", inputs, f"{name}/real", **axis)

    def bias(self, op: Op, place: int) -> tuple[str, ...]:
        """The value of an op's bias, or nothing where it has none."""
        name = op.inputs[place] if len(op.inputs) > place else None
        if name is None:
            return ()
        tensor = self.graph.tensors[name]
        if tensor.data is None:
            raise UnsupportedError(f"the bias {name} is computed, not constant; such a layer does not go to ONNX")
        if tensor.quantization is None:
            return (self.values(tensor.data.astype(np.float32), name),)
        scale = tensor.quantization.scale
        axis = {} if scale.size == 1 else {"axis": 0}
        scale_name = self.values(scale if axis else scale.reshape(()), "scale")
        return (self.node("DequantizeLinear", (self.values(tensor.data, name), scale_name), f"{name}/real", **axis),)

    def zero(self, tensor: Tensor) -> tuple[str, ...]:
        """The step that stands for 0, or nothing where a tensor holds real values."""
        if not self._is_steps(tensor):
            return ()
        assert tensor.quantization is not None
        return (self._parameters(tensor.quantization, tensor.dtype, self.activations)[1],)

    # -- the three parts of the graph

    def _enter(self, tensor: Tensor) -> None:
        value = tensor.name
        if self._is_steps(tensor):
            assert tensor.quantization is not None
            value = self._quantized(self._off_ties(value, tensor.quantization, tensor.dtype), tensor, f"{value}/steps")
        if len(tensor.shape) == 4:
            value = self.node("Transpose", (value,), f"{tensor.name}/nchw", perm=list(NHWC_TO_NCHW))
        self.held[tensor.name] = value

    def _off_ties(self, value: str, quantization: Quantization, dtype: str) -> str:
        """Moves 8-bit pixels off the middle between two steps.

        p / 127.5 - 1 at scale 1 / 127.5 lies half-way between steps for every p, and rounding to even would merge
        neighbours; a quarter of a step more, and each pixel keeps a step of its own, the one the .tflite gives it. So
        with every range whose real 0 lies half-way between two pixels.
        """
        scale, middle = float(quantization.scale[0]), int(quantization.zero_point[0]) - int(np.iinfo(dtype).min)
        told = self.graph.metadata.get(PIXELS)
        # A graph without that metadata is of an older file, or none of pictures.
        pixels = SYMMETRIC if told is None else Pixels.from_bytes(told)
        zero = -pixels.offset[0] / pixels.scale[0]
        steps_are_pixels = pixels.is_per_tensor and abs(scale / pixels.scale[0] - 1) < 1e-5
        if not steps_are_pixels or abs(zero - middle - 0.5) > 1e-3:
            return value
        quarter = self.values(np.array(-scale / 4, np.float32), "quarter_step")
        return self.node("Sub", (value, quarter), f"{value}/off_ties")

    def _leave(self, tensor: Tensor) -> None:
        value = self.held[tensor.name]
        if len(tensor.shape) == 4:
            value = self.node("Transpose", (value,), f"{tensor.name}/nhwc", perm=list(NCHW_TO_NHWC))
        if self._is_steps(tensor):
            assert tensor.quantization is not None
            parameters = self._parameters(tensor.quantization, tensor.dtype, self.activations)
            self._node("DequantizeLinear", (value, *parameters), tensor.name)
        else:
            self._node("Identity", (value,), tensor.name)

    def _op(self, op: Op) -> None:
        source, result = self.graph.tensors[operands(op)[0]], self.graph.tensors[op.outputs[0]]
        if op.kind in SPLITTERS:
            self.held.update(zip(op.outputs, SPLITTERS[op.kind](self, op, self.held[source.name]), strict=True))
        elif op.kind in MOVERS and source.name in self.held:
            self.held[result.name] = MOVERS[op.kind](self, op, self.held[source.name])
        elif op.kind in ("QUANTIZE", "DEQUANTIZE"):
            self._convert(source, result)
        elif op.kind in EMITTERS and len(op.outputs) == 1:
            value = EMITTERS[op.kind](self, op)
            self.held[result.name] = self._finished(op, value, result)
        elif op.kind == DETECTION:
            self.held.update(zip(op.outputs, detections(self, op), strict=True))
        else:
            known = ", ".join(sorted((*EMITTERS, *MOVERS, *SPLITTERS, "QUANTIZE", "DEQUANTIZE", DETECTION)))
            raise UnsupportedError(f"{op.kind}, which makes {op.outputs[0]}, does not go to ONNX; these do: {known}")

    def _convert(self, source: Tensor, result: Tensor) -> None:
        value = self.held[source.name]
        if self._is_steps(source) and self._is_steps(result) and self._same_steps(source, result):
            self.held[result.name] = value
            return
        value = self.real(source.name)
        self.held[result.name] = self._quantized(value, result, result.name) if self._is_steps(result) else value

    @staticmethod
    def _same_steps(source: Tensor, result: Tensor) -> bool:
        """Returns whether both are stored as the same integers: int8 and uint8 that differ by 128."""
        one, other = source.quantization, result.quantization
        assert one is not None
        assert other is not None
        shift = int(np.iinfo(source.dtype).min) - int(np.iinfo(result.dtype).min)
        return bool(np.isclose(one.scale[0], other.scale[0], rtol=1e-6)) and bool(
            one.zero_point[0] - other.zero_point[0] == shift
        )

    def _finished(self, op: Op, value: str, result: Tensor) -> str:
        """Applies the fused activation and rounds to the result's steps."""
        activation = str(op.options.get("activation", "NONE"))
        if not self._is_steps(result):
            return clipped(self, value, activation, f"{result.name}/{activation.lower()}")
        assert result.quantization is not None
        steps = self._quantized(value, result, f"{result.name}/steps")
        limits = _step_limits(activation, result, self.activations)
        if limits is None:
            return steps
        bounds = [self.values(np.array(limit, self.activations), "limit") for limit in limits]
        return self.node("Clip", (steps, *bounds), f"{result.name}/clipped")


def _step_limits(activation: str, tensor: Tensor, stored: str) -> tuple[int, int] | None:
    """The steps between which a fused activation clips; None where the dtype's own limits do it."""
    if activation not in ACTIVATION_LIMITS:
        raise UnsupportedError(f"the activation {activation} of {tensor.name} does not go to ONNX")
    assert tensor.quantization is not None
    scale, zero_point = float(tensor.quantization.scale[0]), int(tensor.quantization.zero_point[0])
    ends = np.iinfo(stored)
    zero_point += int(ends.min) - int(np.iinfo(tensor.dtype).min)
    low, high = (zero_point + np.round(np.clip(limit / scale, -512, 512)) for limit in ACTIVATION_LIMITS[activation])
    limits = (int(max(low, ends.min)), int(min(high, ends.max)))
    return None if limits == (ends.min, ends.max) else limits
