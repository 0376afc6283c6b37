"""Generated C against LiteRT's reference kernels: random graphs, all kernel sets and plans, with sanitizers."""

from __future__ import annotations

import shutil
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from mnedge.codegen.emit import Unit, source_text
from mnedge.codegen.header import header_text
from mnedge.codegen.lower import ALIASES, lower
from mnedge.codegen.plan import plan
from mnedge.codegen.prune import prune
from mnedge.devices import _boards, _emulated
from mnedge.errors import UnsupportedError
from mnedge.graph.graph import Graph, Op, Quantization, Tensor, constant
from mnedge.graph.ops import GATHERING
from tests.slow import rest_is_slow

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from mnedge.codegen.program import KernelSet

BATCH = 25
IMAGES = 2
KINDS = (
    "conv", "conv", "pointwise", "pointwise", "depthwise", "depthwise", "residual", "gate", "hard_swish",
    "lowered_hard_swish", "logistic", "relu6", "quantize", "average", "maximum", "pad_conv", "pad", "concat",
    "resize", "nearest", "add_channel", "subtract", "larger", "smaller", "relu", "squeeze",
    "transpose", "slice", "strided_slice", "tile", "reshape", "reshape", "exponential",
    "tangent", "leaky_relu", "clipped_relu", "prelu", "split", "split_v", "unpack", "pack", "gather", "reduce_max",
    "reduce_min", "mean_over", "broadcast", "padv2", "concat_constant",
)  # fmt: skip
HEADS = ("none", "mean", "mean_fc", "fc", "softmax", "pool_softmax", "embedding", "classes", "log_softmax", "several")


@dataclass
class Builder:
    """A graph under construction."""

    rng: np.random.Generator
    tensors: list[Tensor] = field(default_factory=list)
    ops: list[Op] = field(default_factory=list)

    def value(self, shape: tuple[int, ...], *, scale: float | None = None, zero_point: int | None = None) -> Tensor:
        scale = float(self.rng.uniform(0.004, 0.08)) if scale is None else scale
        zero_point = (
            int(self.rng.choice([-128, 0, int(self.rng.integers(-128, 128))])) if zero_point is None else zero_point
        )
        tensor = Tensor(f"t{len(self.tensors)}", shape, "int8", Quantization.per_tensor(scale, zero_point))
        self.tensors.append(tensor)
        return tensor

    def constant(self, data: np.ndarray, quantization: Quantization | None = None) -> str:
        tensor = constant(f"c{len(self.tensors)}", data, quantization)
        self.tensors.append(tensor)
        return tensor.name

    def op(self, kind: str, inputs: tuple[str, ...], output: Tensor, **options: Any) -> Tensor:
        self.ops.append(Op(kind, inputs, (output.name,), options))
        return output

    def like(self, x: Tensor, shape: tuple[int, ...]) -> Tensor:
        assert x.quantization is not None
        return self.value(shape, scale=float(x.quantization.scale[0]), zero_point=int(x.quantization.zero_point[0]))

    def weights(self, shape: tuple[int, ...], axis: int, x: Tensor, y: Tensor, taps: int) -> tuple[str, str]:
        """Weights and bias whose sums fill the range of y; some channels dead, some scales extreme."""
        rng, channels = self.rng, shape[axis]
        assert x.quantization is not None
        assert y.quantization is not None
        data = rng.integers(-127, 128, shape)
        if rng.random() < 0.5:
            dead = rng.random(channels) < 0.3
            data = np.where(dead.reshape([-1 if dim == axis else 1 for dim in range(len(shape))]), 0, data)
        reach = 127.0 * 70.0 * np.sqrt(taps)
        scales = 60.0 / reach * y.quantization.scale[0] / x.quantization.scale[0] * rng.uniform(0.2, 3.0, channels)
        if rng.random() < 0.2:
            scales[0] *= 2.0 ** float(rng.integers(-20, 4))
        count = channels if rng.random() < 0.8 else 1
        scales = scales[:count].astype(np.float32)
        quantization = (
            Quantization.per_channel(scales, axis) if count > 1 else Quantization.per_tensor(float(scales[0]), 0)
        )
        bias = rng.integers(-3000, 3000, channels).astype(np.int32)
        bias_scales = (scales * x.quantization.scale[0]).astype(np.float32)
        bias_quantization = (
            Quantization.per_channel(bias_scales, 0) if count > 1 else Quantization.per_tensor(float(bias_scales[0]), 0)
        )
        return self.constant(data.astype(np.int8), quantization), self.constant(bias, bias_quantization)

    def store_as_int4(self, name: str) -> None:
        """Gives the weights of a dense layer 4 bits."""
        place = next(place for place, tensor in enumerate(self.tensors) if tensor.name == name)
        tensor = self.tensors[place]
        assert tensor.data is not None
        self.tensors[place] = replace(tensor, data=tensor.data // 16, is_int4=True)

    def conv(
        self, x: Tensor, *, kernel: tuple[int, int] | None = None, depthwise: bool = False, padding: str | None = None
    ) -> Tensor:
        rng = self.rng
        _, rows, columns, channels = x.shape
        stride = 1 if kernel == (1, 1) else int(rng.choice([1, 1, 2, 3]))
        # The runtime takes no stride together with a dilation in depthwise kernels.
        dilation = int(rng.choice([1, 1, 1, 2])) if stride == 1 and kernel is None else 1
        padding = padding or str(rng.choice(["SAME", "VALID"]))
        if kernel is None:
            kernel = (int(rng.integers(1, 6)), int(rng.integers(1, 6))) if rng.random() < 0.5 else (3, 3)
        reach = [(taps - 1) * dilation + 1 for taps in kernel]
        if padding == "VALID" and (reach[0] > rows or reach[1] > columns):
            padding = "SAME"
        extents = [rows, columns] if padding == "SAME" else [rows - reach[0] + 1, columns - reach[1] + 1]
        new_rows, new_columns = (-(-extent // stride) for extent in extents)
        multiplicity = int(rng.choice([1, 1, 1, 2])) if depthwise else 1
        out = channels * multiplicity if depthwise else int(rng.choice([1, 2, 3, 4, 7, 8, 16, 24]))
        y = self.value((1, new_rows, new_columns, out))
        taps = kernel[0] * kernel[1] * (1 if depthwise else channels)
        shape = (1, *kernel, out) if depthwise else (out, *kernel, channels)
        weights, bias = self.weights(shape, 3 if depthwise else 0, x, y, taps)
        options = {
            "padding": padding, "stride_h": stride, "stride_w": stride, "dilation_h_factor": dilation,
            "dilation_w_factor": dilation, "activation": str(rng.choice(["NONE", "NONE", "RELU", "RELU6"])),
        }  # fmt: skip
        if depthwise:
            options["depth_multiplier"] = multiplicity
        return self.op("DEPTHWISE_CONV_2D" if depthwise else "CONV_2D", (x.name, weights, bias), y, **options)

    def fully_connected(self, x: Tensor) -> Tensor:
        """Over the picture as a row of its own, over the picture as it is, or pixel by pixel."""
        form = str(self.rng.choice(["flat", "picture", "pixels"]))
        depth, out = int(x.shape[-1] if form == "pixels" else np.prod(x.shape)), int(self.rng.integers(1, 14))
        y = self.value((*x.shape[:-1], out) if form == "pixels" else (1, out))
        weights, bias = self.weights((out, depth), 0, x, y, depth)
        if self.rng.random() < 0.4:
            self.store_as_int4(weights)
        if form == "pixels":
            return self.op("FULLY_CONNECTED", (x.name, weights, bias), y, activation="NONE", keep_num_dims=True)
        if form == "flat" and x.shape != (1, depth):
            flat = self.like(x, (1, depth))
            x = self.op("RESHAPE", (x.name, self.constant(np.array([1, depth], np.int32))), flat, new_shape=(1, depth))
        return self.op("FULLY_CONNECTED", (x.name, weights, bias), y, activation="NONE")

    def reshape(self, x: Tensor) -> Tensor:
        """Other rows, and in most cases an elementwise op behind them, as a detector's heads have it."""
        _, rows, columns, channels = x.shape
        shape = [(1, rows * columns, 1, channels), (1, 1, rows * columns * channels, 1), (1, columns, rows, channels)]
        flat = self.like(x, shape[int(self.rng.integers(3))])
        sizes = self.constant(np.array(flat.shape, np.int32))
        flat = self.op("RESHAPE", (x.name, sizes), flat, new_shape=flat.shape)
        kind = str(self.rng.choice(["QUANTIZE", "RELU6", "ADD", "none"]))
        if kind == "ADD":
            flat = self.op(
                "ADD", (flat.name, flat.name), self.value(flat.shape), activation="NONE", pot_scale_int16=True
            )
        elif kind != "none":
            flat = self.op(kind, (flat.name,), self.value(flat.shape))
        if self.rng.random() < 0.5:
            return flat
        back = self.constant(np.array(x.shape, np.int32))
        return self.op("RESHAPE", (flat.name, back), self.like(flat, x.shape), new_shape=x.shape)

    def transpose(self, x: Tensor) -> Tensor:
        order = np.array([0, *(1 + self.rng.permutation(3))], np.int32)
        y = self.like(x, tuple(x.shape[axis] for axis in order))
        return self.op("TRANSPOSE", (x.name, self.constant(order)), y)

    def slice(self, x: Tensor) -> Tensor:
        begin = [0, *(int(self.rng.integers(0, extent)) for extent in x.shape[1:])]
        size = [
            1,
            *(
                int(self.rng.integers(1, extent - first + 1))
                for extent, first in zip(x.shape[1:], begin[1:], strict=True)
            ),
        ]
        names = (self.constant(np.array(begin, np.int32)), self.constant(np.array(size, np.int32)))
        return self.op("SLICE", (x.name, *names), self.like(x, tuple(size)))

    def strided_slice(self, x: Tensor) -> Tensor:
        ranges = [(0, 1, 1)]
        for extent in x.shape[1:]:
            first, step = int(self.rng.integers(0, extent)), int(self.rng.choice([1, 1, 2, 3]))
            ranges.append((first, int(self.rng.integers(first + 1, extent + 1)), step))
        names = [self.constant(np.array(numbers, np.int32)) for numbers in zip(*ranges, strict=True)]
        shape = tuple(len(range(*numbers)) for numbers in ranges)
        masks = {"begin_mask": 0, "end_mask": 0, "ellipsis_mask": 0, "new_axis_mask": 0, "shrink_axis_mask": 0}
        return self.op("STRIDED_SLICE", (x.name, *names), self.like(x, shape), **masks, offset=False)

    def tile(self, x: Tensor) -> Tensor:
        repeats = [1, 1, 1, 1]
        repeats[int(self.rng.integers(1, 4))] = 2
        if x.shape[1:3] == (1, 1):
            repeats[1:3] = [3, 5]
        y = self.like(x, tuple(extent * count for extent, count in zip(x.shape, repeats, strict=True)))
        return self.op("TILE", (x.name, self.constant(np.array(repeats, np.int32))), y)

    def mean(self, x: Tensor, *, keep: bool) -> Tensor:
        y = self.value((1, 1, 1, x.shape[3]) if keep else (1, x.shape[3]))
        return self.op("MEAN", (x.name, self.constant(np.array([1, 2], np.int32))), y, keep_dims=keep)

    def scalar(self) -> str:
        quantization = Quantization.per_tensor(float(self.rng.uniform(0.01, 0.05)), int(self.rng.integers(-128, 128)))
        return self.constant(np.array(self.rng.integers(-128, 128), np.int8), quantization)

    def softmax(self, x: Tensor) -> Tensor:
        return self.op("SOFTMAX", (x.name,), self.value(x.shape, scale=1 / 256, zero_point=-128), beta=1.0)

    def step(self, kind: str, x: Tensor) -> Tensor:  # noqa: C901, PLR0911, PLR0912 - one case a kind
        rng = self.rng
        if kind == "pad_conv":
            return self.conv(self.pad(x, same=True), padding="VALID", depthwise=bool(rng.random() < 0.5))
        if kind == "conv":
            return self.conv(x)
        if kind == "pointwise":
            return self.conv(x, kernel=(1, 1))
        if kind == "depthwise":
            return self.conv(x, depthwise=True)
        if kind == "residual":
            y = self.conv(self.conv(x, kernel=(1, 1)), kernel=(1, 1))
            if y.shape != x.shape:
                return y
            return self.op("ADD", (x.name, y.name), self.value(x.shape), activation="NONE", pot_scale_int16=True)
        if kind == "gate":
            gate = self.mean(x, keep=True)
            return self.op("MUL", (x.name, gate.name), self.value(x.shape), activation="NONE")
        if kind == "add_channel":
            quantization = Quantization.per_tensor(0.02, 3)
            each = self.constant(rng.integers(-128, 128, (1, 1, 1, x.shape[3])).astype(np.int8), quantization)
            return self.op("ADD", (x.name, each), self.value(x.shape), activation="RELU", pot_scale_int16=True)
        if kind == "hard_swish":
            scale = float(x.quantization.scale[0])  # type: ignore[union-attr]
            return self.op("HARD_SWISH", (x.name,), self.value(x.shape, scale=scale * 0.7))
        if kind == "lowered_hard_swish":
            inner = self.op(
                "ADD", (x.name, self.scalar()), self.value(x.shape), activation="RELU6", pot_scale_int16=True
            )
            return self.op("MUL", (x.name, inner.name), self.value(x.shape), activation="NONE")
        if kind == "logistic":
            return self.op("LOGISTIC", (x.name,), self.value(x.shape, scale=1 / 256, zero_point=-128))
        if kind == "exponential":
            return self.op("EXP", (x.name,), self.value(x.shape))
        if kind in ("relu", "relu6"):
            return self.op(kind.upper(), (x.name,), self.value(x.shape))
        if kind == "quantize":
            return self.op("QUANTIZE", (x.name,), self.value(x.shape))
        if kind in ("average", "maximum"):
            size = (int(rng.integers(1, x.shape[1] + 1)), int(rng.integers(1, x.shape[2] + 1)))
            stride = int(rng.integers(1, 3))
            padding = str(rng.choice(["SAME", "VALID"]))
            extents = (
                x.shape[1:3]
                if padding == "SAME"
                else [extent - taps + 1 for extent, taps in zip(x.shape[1:3], size, strict=True)]
            )
            rows, columns = (-(-extent // stride) for extent in extents)
            y = self.like(x, (1, rows, columns, x.shape[3]))
            options = {
                "padding": padding,
                "stride_h": stride,
                "stride_w": stride,
                "filter_height": size[0],
                "filter_width": size[1],
                "activation": "NONE",
            }
            return self.op("AVERAGE_POOL_2D" if kind == "average" else "MAX_POOL_2D", (x.name,), y, **options)
        if kind == "pad":
            return self.pad(x, same=False)
        if kind in ("transpose", "slice", "strided_slice", "tile"):
            return getattr(self, kind)(x)
        if kind == "reshape":
            return self.reshape(x)
        if kind in ("split", "split_v", "unpack", "pack", "gather", "mean_over", "broadcast", "prelu", "padv2"):
            return getattr(self, kind)(x)
        if kind in ("reduce_max", "reduce_min"):
            return self.over(kind.upper(), x, self.like)
        if kind in ("tangent", "clipped_relu"):
            name = "TANH" if kind == "tangent" else "RELU_N1_TO_1"
            fixed = {"scale": 1 / 128, "zero_point": 0} if kind == "tangent" else {}
            return self.op(name, (x.name,), self.value(x.shape, **fixed))  # type: ignore[arg-type]
        if kind == "leaky_relu":
            return self.op("LEAKY_RELU", (x.name,), self.value(x.shape), alpha=float(rng.uniform(-0.5, 1.5)))
        if kind == "concat_constant":
            part = rng.integers(-128, 128, (*x.shape[:3], 2)).astype(np.int8)
            y = self.like(x, (*x.shape[:3], x.shape[3] + 2))
            names = [x.name, self.constant(part, x.quantization)]
            return self.op("CONCATENATION", tuple(rng.permutation(names)), y, axis=3, activation="NONE")
        if kind == "subtract":
            other = self.conv(x, kernel=(1, 1)) if rng.random() < 0.5 else self.branch(x)
            other = other if other.shape == x.shape else self.branch(x)
            options = {"activation": str(rng.choice(["NONE", "RELU6"])), "pot_scale_int16": True}
            return self.op("SUB", (x.name, other.name), self.value(x.shape), **options)
        if kind in ("larger", "smaller"):
            name = "MAXIMUM" if kind == "larger" else "MINIMUM"
            return self.op(name, (x.name, self.branch(x).name), self.like(x, x.shape))
        if kind == "squeeze":
            flat = self.like(x, (1, *(extent for extent in x.shape[1:] if extent > 1)))
            flat = self.op(
                "SQUEEZE", (x.name,), flat, squeeze_dims=tuple(dim for dim in (1, 2, 3) if x.shape[dim] == 1)
            )
            shape = self.constant(np.array(x.shape, np.int32))
            return self.op("RESHAPE", (flat.name, shape), self.like(x, x.shape), new_shape=x.shape)
        if kind == "concat":
            other = self.op("QUANTIZE", (x.name,), self.like(x, x.shape)) if rng.random() < 0.3 else self.branch(x)
            y = self.like(x, (*x.shape[:3], x.shape[3] + other.shape[3]))
            return self.op("CONCATENATION", (x.name, other.name), y, axis=3, activation="NONE")
        rows, columns = int(rng.integers(1, 12)), int(rng.integers(1, 12))
        y = self.like(x, (1, rows, columns, x.shape[3]))
        corners = bool(rng.random() < 0.3) and rows > 1 and columns > 1
        half = not corners and bool(rng.random() < 0.5)
        name = "RESIZE_BILINEAR" if kind == "resize" else "RESIZE_NEAREST_NEIGHBOR"
        size_name = self.constant(np.array([rows, columns], np.int32))
        return self.op(name, (x.name, size_name), y, align_corners=corners, half_pixel_centers=half)

    def split(self, x: Tensor) -> Tensor:
        """Three parts along an axis, of which the last is used, then the first."""
        axis = int(self.rng.integers(1, 4))
        shape = tuple(3 * extent if place == axis else extent for place, extent in enumerate(x.shape))
        times = [3 if place == axis else 1 for place in range(4)]
        wide = self.op("TILE", (x.name, self.constant(np.array(times, np.int32))), self.like(x, shape))
        parts = [self.like(x, x.shape) for _ in range(3)]
        names = (self.constant(np.array(axis, np.int32)), wide.name)
        self.ops.append(Op("SPLIT", names, tuple(part.name for part in parts), {"num_splits": 3}))
        return self.op(
            "ADD", (parts[2].name, parts[0].name), self.value(x.shape), activation="NONE", pot_scale_int16=True
        )

    def split_v(self, x: Tensor) -> Tensor:
        axis = int(np.argmax(x.shape[1:])) + 1
        if x.shape[axis] == 1:
            return x
        first = int(self.rng.integers(1, x.shape[axis]))
        sizes = (first, x.shape[axis] - first)
        shapes = [tuple(size if place == axis else extent for place, extent in enumerate(x.shape)) for size in sizes]
        parts = [self.like(x, shape) for shape in shapes]
        names = (x.name, self.constant(np.array(sizes, np.int32)), self.constant(np.array(axis, np.int32)))
        self.ops.append(Op("SPLIT_V", names, tuple(part.name for part in parts), {"num_splits": 2}))
        return parts[int(self.rng.integers(2))]

    def unpack(self, x: Tensor) -> Tensor:
        """The parts along an axis, packed in reverse."""
        axis = int(np.argmin(x.shape[1:])) + 1
        parts = [self.like(x, x.shape[:axis] + x.shape[axis + 1 :]) for _ in range(x.shape[axis])]
        self.ops.append(Op("UNPACK", (x.name,), tuple(part.name for part in parts), {"axis": axis, "num": len(parts)}))
        names = tuple(part.name for part in reversed(parts))
        return self.op("PACK", names, self.like(x, x.shape), axis=axis, values_count=len(parts))

    def pack(self, x: Tensor) -> Tensor:
        """Two of a shape without its batch, packed to where it was, then as many rows."""
        y = self.like(x, (1, *x.shape[1:3], 2, x.shape[3]))
        y = self.op("PACK", (x.name, self.branch(x).name), y, axis=3, values_count=2)
        shape = (1, x.shape[1], x.shape[2], 2 * x.shape[3])
        return self.op(
            "RESHAPE", (y.name, self.constant(np.array(shape, np.int32))), self.like(x, shape), new_shape=shape
        )

    def gather(self, x: Tensor) -> Tensor:
        axis = int(self.rng.integers(1, 4))
        places = self.rng.integers(0, x.shape[axis], int(self.rng.integers(1, 6))).astype(np.int32)
        shape = tuple(len(places) if place == axis else extent for place, extent in enumerate(x.shape))
        return self.op("GATHER", (x.name, self.constant(places)), self.like(x, shape), axis=axis, batch_dims=0)

    def over(self, kind: str, x: Tensor, make: Callable[..., Tensor]) -> Tensor:
        """A reduction over some axes, which stay as extents of one."""
        axes = sorted({int(axis) for axis in self.rng.integers(1, 4, int(self.rng.integers(1, 3)))})
        shape = tuple(1 if place in axes else extent for place, extent in enumerate(x.shape))
        y = make(x, shape) if make == self.like else make(shape)
        return self.op(kind, (x.name, self.constant(np.array(axes, np.int32))), y, keep_dims=True)

    def mean_over(self, x: Tensor) -> Tensor:
        return self.over("MEAN", x, self.value)

    def broadcast(self, x: Tensor) -> Tensor:
        """An op of the whole and of what a mean over some axes leaves, or of a constant that broadcasts."""
        other = self.mean_over(x).name
        if self.rng.random() < 0.3:
            shape = tuple(extent if self.rng.random() < 0.5 else 1 for extent in x.shape)
            quantization = Quantization.per_tensor(0.03, int(self.rng.integers(-20, 20)))
            other = self.constant(self.rng.integers(-128, 128, shape).astype(np.int8), quantization)
        names = [x.name, other] if self.rng.random() < 0.5 else [other, x.name]
        kind = str(self.rng.choice(["ADD", "SUB", "MUL"]))
        options = {"activation": "NONE", **({} if kind == "MUL" else {"pot_scale_int16": True})}
        return self.op(kind, tuple(names), self.value(x.shape), **options)

    def prelu(self, x: Tensor) -> Tensor:
        shape = (1, 1, x.shape[3]) if self.rng.random() < 0.7 else x.shape[1:]
        slopes = self.rng.integers(-128, 128, shape).astype(np.int8)
        alpha = self.constant(slopes, Quantization.per_tensor(float(self.rng.uniform(0.001, 0.02)), 0))
        return self.op("PRELU", (x.name, alpha), self.value(x.shape))

    def padv2(self, x: Tensor) -> Tensor:
        amounts = np.zeros((4, 2), np.int32)
        amounts[1:] = self.rng.integers(0, 2, (3, 2))
        shape = tuple(int(extent + before + after) for extent, (before, after) in zip(x.shape, amounts, strict=True))
        step = self.constant(np.array(self.rng.integers(-128, 128), np.int8), x.quantization)
        return self.op("PADV2", (x.name, self.constant(amounts), step), self.like(x, shape))

    def branch(self, x: Tensor) -> Tensor:
        """A max pool of one pixel: the same scale, another tensor."""
        y = self.like(x, x.shape)
        options = {
            "padding": "SAME",
            "stride_h": 1,
            "stride_w": 1,
            "filter_height": 3,
            "filter_width": 3,
            "activation": "NONE",
        }
        return self.op("MAX_POOL_2D", (x.name,), y, **options)

    def pad(self, x: Tensor, *, same: bool) -> Tensor:
        amounts = np.zeros((4, 2), np.int32)
        amounts[1:3] = self.rng.integers(0, 3, (2, 2))
        if not same:
            amounts[3] = self.rng.integers(0, 2, 2)
        shape = tuple(int(extent + before + after) for extent, (before, after) in zip(x.shape, amounts, strict=True))
        return self.op("PAD", (x.name, self.constant(amounts)), self.like(x, shape))


def build(seed: int, kinds: list[str], head: str) -> Graph:  # noqa: C901 - one case a head
    """A chain of random ops; the same arguments give the same graph."""
    builder = Builder(np.random.default_rng(seed))
    rng = builder.rng
    x = first = builder.value(
        (1, int(rng.integers(1, 14)), int(rng.integers(1, 14)), int(rng.choice([1, 3, 4, 8, 16, 24])))
    )
    for kind in kinds:
        x = builder.step(kind, x)
    if head in ("mean", "mean_fc"):
        x = builder.mean(x, keep=bool(rng.random() < 0.5))
    if head in ("fc", "mean_fc"):
        x = builder.fully_connected(x)
    if head == "embedding":
        x = builder.fully_connected(x)
        x = builder.op("L2_NORMALIZATION", (x.name,), builder.value(x.shape, scale=1 / 128, zero_point=0))
    if head == "classes":
        dtype = str(rng.choice(["int32", "int64"]))
        builder.tensors.append(Tensor("classes", x.shape[:-1], dtype))
        axis = builder.constant(np.array(-1, np.int32))
        x = builder.op("ARG_MAX", (x.name, axis), builder.tensors[-2], output_type=2 if dtype == "int32" else 4)
    if head == "softmax":
        x = builder.softmax(x)
    if head == "pool_softmax":
        x = builder.softmax(builder.fully_connected(builder.mean(x, keep=True)))
    if head == "log_softmax":
        x = builder.op("LOG_SOFTMAX", (x.name,), builder.value(x.shape, scale=16 / 256, zero_point=127))
    inputs, outputs = [first.name], []
    if head == "several":
        other = builder.value(x.shape)
        inputs.append(other.name)
        outputs = [first.name if rng.random() < 0.3 else x.name, x.name]
        x = builder.op("ADD", (x.name, other.name), builder.value(x.shape), activation="NONE", pot_scale_int16=True)
    if all(op.kind in ALIASES for op in builder.ops):
        x = builder.op("RELU6", (x.name,), builder.value(x.shape))
    tensors = {tensor.name: tensor for tensor in builder.tensors}
    return Graph(tensors, tuple(builder.ops), tuple(inputs), (*dict.fromkeys((*outputs, x.name)),))


UNSIGNED = (
    "conv", "pointwise", "depthwise", "residual", "gate", "relu6", "quantize", "average", "maximum", "pad_conv", "pad",
    "concat", "nearest", "squeeze", "transpose", "strided_slice", "reshape", "logistic", "hard_swish", "larger",
)  # fmt: skip


def unsigned(graph: Graph, rng: np.random.Generator) -> Graph:
    """The graph as Google's first quantized models are: uint8, weights with a zero point and one scale of a layer."""
    shared: dict[str, float] = {}
    tensors = []
    for op in graph.ops:
        if op.kind in GATHERING:
            weights, bias = graph.tensors[str(op.inputs[1])], str(op.inputs[2])
            assert weights.quantization is not None
            shared[weights.name] = float(np.median(weights.quantization.scale))
            source = graph.tensors[str(op.inputs[0])].quantization
            assert source is not None
            shared[bias] = float(np.float32(shared[weights.name]) * source.scale[0])
    for tensor in graph.tensors.values():
        if tensor.dtype == "int32" and tensor.name in shared:
            tensors.append(replace(tensor, quantization=Quantization.per_tensor(shared[tensor.name], 0)))
        if tensor.dtype != "int8":
            continue
        assert tensor.quantization is not None
        zero_point = 128 + int(tensor.quantization.zero_point[0])
        scale = shared.get(tensor.name, float(tensor.quantization.scale[0]))
        data = None if tensor.data is None else (tensor.data.astype(np.int16) + 128).astype(np.uint8)
        if tensor.name in shared:
            zero_point = int(rng.integers(60, 200))
        tensors.append(
            replace(
                tensor, dtype="uint8", quantization=Quantization.per_tensor(scale, zero_point), data=data, is_int4=False
            )
        )
    return graph.replaced(tensors=tensors)


@pytest.mark.skipif(shutil.which("gcc") is None, reason="no gcc on this machine")
def test_a_concatenation_in_uint8_joins_several_scales(
    tmp_path: Path, run_sanitized: Callable, reference: Callable
) -> None:
    ends = {"a": (0.031, 117), "b": (0.052, 140), "y": (0.047, 128)}
    shapes = {"a": (1, 4, 3, 2), "b": (1, 4, 3, 5), "y": (1, 4, 3, 7)}
    tensors = {
        name: Tensor(name, shapes[name], "uint8", Quantization.per_tensor(*steps)) for name, steps in ends.items()
    }
    join = Op("CONCATENATION", ("a", "b"), ("y",), {"axis": 3, "activation": "NONE"})
    graph = Graph(tensors, (join,), ("a", "b"), ("y",))
    program = lower(graph)
    unit = Unit("model0", program, plan(program, "portable"), "portable", "joined")
    images = np.random.default_rng(5).integers(-128, 128, (20, 84)).astype(np.int8)
    (ran,) = run_sanitized(tmp_path, [(unit, images)])
    assert np.array_equal(ran.outputs, reference(graph, images.view(np.uint8)))


@pytest.mark.skipif(shutil.which("gcc") is None, reason="no gcc on this machine")
@pytest.mark.parametrize("kernels", rest_is_slow(["portable", "dsp", "mve"]))
def test_graphs_in_uint8_are_bit_exact(
    tmp_path: Path, kernels: KernelSet, run_sanitized: Callable, reference: Callable
) -> None:
    cases = []
    for seed in range(12):
        rng = np.random.default_rng(seed)
        kinds = [str(kind) for kind in rng.choice(UNSIGNED, int(rng.integers(1, 5)))]
        graph = unsigned(build(seed, kinds, str(rng.choice(["none", "mean_fc", "fc", "softmax", "mean"]))), rng)
        program, _ = prune(lower(graph))
        memory = plan(program, kernels, prefer="ram" if seed % 2 else "balanced")
        images = rng.integers(-128, 128, (IMAGES, graph_bytes(graph))).astype(np.int8)
        cases.append((graph, Unit(f"model{seed}", program, memory, kernels, "uint8"), images))
    results = run_sanitized(tmp_path, [(unit, images) for _, unit, images in cases])
    for (graph, _, images), ran in zip(cases, results, strict=True):
        expected = reference(graph, images.view(np.uint8))
        assert np.array_equal(ran.outputs, expected), [op.kind for op in graph.ops]


def graph_bytes(graph: Graph) -> int:
    """Bytes of the inputs of an 8-bit graph."""
    return sum(int(np.prod(graph.tensors[name].shape)) for name in graph.inputs)


@dataclass(frozen=True)
class Case:
    graph: Graph
    unit: Unit
    images: np.ndarray


def case(number: int, seed: int, kinds: list[str], head: str, kernels: Any, options: dict[str, Any]) -> Case:
    graph = build(seed, kinds, head)
    program, _ = prune(lower(graph))
    if len(program.inputs) > 1:
        options = {"prefer": options.get("prefer", "balanced")}
    try:
        memory = plan(program, kernels, **options)
    except UnsupportedError:
        assert options["streamed"]
        memory = plan(program, kernels)
    unit = Unit(f"model{number}", program, memory, kernels, "random")
    chance = np.random.default_rng(seed)
    images = chance.integers(-128, 128, (IMAGES, unit.input_bytes)).astype(np.int8)
    return Case(graph, unit, images)


OPTIONS = st.sampled_from(
    [
        {},
        {"prefer": "ram"},
        {"prefer": "speed"},
        {"streamed": True},
        {"input_in_arena": True},
        {"streamed": True, "prefer": "ram"},
    ]
)
CASE = st.tuples(
    st.integers(0, 2**32),
    st.lists(st.sampled_from(KINDS), max_size=6),
    st.sampled_from(HEADS),
    st.sampled_from(["portable", "dsp", "mve"]),
    OPTIONS,
)


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("gcc") is None, reason="no gcc on this machine")
def test_random_graphs_are_bit_exact(
    tmp_path_factory: pytest.TempPathFactory,
    request: pytest.FixtureRequest,
    run_sanitized: Callable,
    reference: Callable,
) -> None:
    batches = max(request.config.getoption("--fuzz") // BATCH, 1)

    @settings(
        max_examples=batches, deadline=None, database=None, derandomize=True,
        suppress_health_check=list(HealthCheck), phases=[Phase.generate],
    )  # fmt: skip
    @given(st.lists(CASE, min_size=BATCH, max_size=BATCH))
    def check(drawn: list[Any]) -> None:
        folder = tmp_path_factory.mktemp("c")
        cases = [case(number, *arguments) for number, arguments in enumerate(drawn)]
        results = run_sanitized(folder, [(each.unit, each.images) for each in cases])
        for each, arguments, ran in zip(cases, drawn, results, strict=True):
            expected = reference(each.graph, each.images)
            assert np.array_equal(ran.outputs, expected), (arguments, int((ran.outputs != expected).sum()))
        shutil.rmtree(folder)

    check()


@pytest.mark.soak
@pytest.mark.toolchain
@pytest.mark.skipif(bool(_boards.missing_tools()), reason=f"missing {_boards.missing_tools()}; {_boards.ADVICE}")
@pytest.mark.parametrize("core", ["cortex-m4", "cortex-m55"])
@pytest.mark.parametrize("seed", range(20))
def test_assembly_is_bit_exact_too(tmp_path: Path, core: str, seed: int, reference: Callable) -> None:
    chance = np.random.default_rng(seed)
    kinds = [str(kind) for kind in chance.choice(KINDS, int(chance.integers(0, 7)))]
    kernels = "dsp" if core == "cortex-m4" else "mve"
    each = case(0, seed, kinds, str(chance.choice(HEADS)), kernels, {"prefer": "ram"})
    (tmp_path / "model0.c").write_text(source_text(each.unit))
    (tmp_path / "model0.h").write_text(header_text(each.unit))
    run = _emulated.run_inputs(tmp_path, each.images, core=core)
    assert np.array_equal(run.outputs.view(np.int8), reference(each.graph, each.images))
