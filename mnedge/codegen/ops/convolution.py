"""CONV_2D, DEPTHWISE_CONV_2D and FULLY_CONNECTED: one integer multiply-accumulate, three access patterns."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from mnedge.codegen.ops import packing
from mnedge.codegen.ops._windowed import Windowed
from mnedge.codegen.program import CallSite, KernelSet, Value, descriptor, int_array

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from mnedge.codegen.ops.rescale import Rescale

_ACCUMULATOR_LIMIT = 1 << 31
# A dense kernel takes a depthwise layer of so many input channels faster than the portable one, at so many weights.
_MOST_DENSE_INPUTS = {"portable": 0, "dsp": 8, "mve": 32}
_MOST_DENSE_WEIGHTS = 16 << 10
_MOST_STACK_BYTES = 256
_FAST_CHANNELS_A_SLOW_ONE = 8


@dataclass(frozen=True, eq=False)
class Convolution(Windowed):
    """A convolution of int8 steps; a fully connected layer is one over `pixels` pixels of its input.

    Attributes:
        rescale: Requantization; `bias` holds -input_zero_point * sum(weights).
        was_depthwise: Whether it is a depthwise layer that is computed as a dense one.
        may_widen: Whether weights may take twice the flash for a faster kernel.
    """

    rescale: Rescale
    was_depthwise: bool = False
    may_widen: bool = True

    def reads_twice(self, kernels: KernelSet) -> bool:
        """See `Kernel`."""
        return bool(self._apart(kernels).any())

    def with_table(self, table: NDArray[np.int64], output: Value) -> Convolution:
        """The same layer with each output step replaced by table[step + 128]."""
        return replace(self, rescale=replace(self.rescale, table=table), output=output)

    def dense(self) -> Convolution:
        """A depthwise layer as a dense one: each output channel has weights of 0 for the other input channels."""
        rows, columns, outputs = self.weights.shape
        inputs = self.input.channels
        weights = np.zeros((outputs, rows, columns, inputs), np.int64)
        for channel in range(outputs):
            weights[channel, :, :, channel // (outputs // inputs)] = self.weights[:, :, channel]
        return replace(self, depthwise=False, weights=weights, was_depthwise=True)

    def _dense_for(self, kernels: KernelSet) -> Convolution | None:
        """The dense layer in place of a depthwise one whose channels do not fill the lanes of its kernel."""
        if not self.depthwise or kernels == "portable" or not self._is_fast():
            return None
        inputs, outputs = self.input.channels, self.output_channels
        if (inputs == outputs and inputs >= packing.DEPTHWISE_LANES[kernels]) or inputs > _MOST_DENSE_INPUTS[kernels]:
            return None
        return self.dense() if inputs * self.weights.size <= _MOST_DENSE_WEIGHTS else None

    def _slow_channels(self) -> NDArray[np.bool_]:
        """The channels that the fast kernels do not compute exactly.

        Their accumulators could overflow when doubled, or their multiplier shifts to the left, or not at all; or they
        round ties once, which goes away from zero in LiteRT and up in the fast kernels.
        """
        per_channel = np.abs(self.weights).sum(axis=(0, 1) if self.depthwise else (1, 2, 3))
        overflows = 2 * (np.abs(self.rescale.bias) + 128 * per_channel) >= _ACCUMULATOR_LIMIT
        to_the_left = (self.rescale.multiplier != 0) & (self.rescale.shift >= 0)
        slow: NDArray[np.bool_] = overflows | to_the_left | (self.rescale.meets_ties() & (per_channel > 0))
        return slow

    def _wide_channels(self) -> NDArray[np.bool_]:
        """The channels with a weight that no int8 holds: of uint8 weights."""
        axes = (0, 1) if self.depthwise else (1, 2, 3)
        wide: NDArray[np.bool_] = (self.weights.min(axis=axes) < -128) | (self.weights.max(axis=axes) > 127)
        return wide

    def _is_fast(self) -> bool:
        """Whether a fast kernel computes the layer, and another one the few channels that it cannot."""
        slow = self._slow_channels() | self._wide_channels()
        return int(slow.sum()) * _FAST_CHANNELS_A_SLOW_ONE <= self.output_channels

    def _apart(self, kernels: KernelSet) -> NDArray[np.bool_]:
        """The channels that a kernel of their own computes."""
        wide = self._wide_channels()
        return wide if self.variant(kernels).startswith("portable") else wide | self._slow_channels()

    def _without(self, slow: NDArray[np.bool_]) -> Convolution:
        """The layer with weights and biases of 0 for some channels; another kernel overwrites those."""
        keep = ~slow if self.depthwise else (~slow)[:, None, None, None]
        rescale = replace(
            self.rescale,
            bias=np.where(slow, 0, self.rescale.bias),
            multiplier=np.where(slow, 0, self.rescale.multiplier),
        )
        return replace(self, weights=self.weights * keep, rescale=rescale)

    def variant(self, kernels: KernelSet) -> str:
        """Which kernel computes it: "pointwise", "patches" or "depthwise" of a set, or the portable one.

        The fast kernels need exactness that is proven here: accumulators that cannot overflow when doubled,
        and multipliers that only ever shift to the right.
        """
        dense = self._dense_for(kernels)
        if dense is not None:
            return dense.variant(kernels)
        fast = kernels != "portable" and self._is_fast()
        if self.depthwise:
            one_to_one = self.output_channels == self.input.channels
            # Two products are summed in 16 bits.
            fast = fast and (kernels != "mve" or int(self._without(self._wide_channels()).weights.min()) > -128)
            fast = fast and one_to_one and self.output_channels >= packing.DEPTHWISE_LANES[kernels]
            # The kernel takes two taps at a time.
            fast = fast and (kernels != "dsp" or self.window.rows * self.window.columns > 1)
            return "depthwise" if kernels != "portable" and fast else "portable_depthwise"
        if kernels == "portable" or not fast:
            return "portable_convolution"
        if self._is_shallow(kernels):
            return "shallow"
        return "pointwise" if self.is_pointwise else "patches"

    def _is_shallow(self, kernels: KernelSet) -> bool:
        """Whether it is pointwise, of so few input channels that four pixels fit registers."""
        return (
            kernels == "mve"
            and not (self.depthwise or self.is_flat)
            and self.is_pointwise
            and self.input_channels <= packing.MOST_SHALLOW
            and self.output_channels % 2 == 0
        )

    def scratch_bytes(self, kernels: KernelSet) -> int:
        """See `Kernel`."""
        variant = self.variant(kernels)
        if variant == "shallow":
            return 0
        if variant in ("pointwise", "patches"):
            return 0 if self.stack_bytes(kernels) else self._tile_bytes(kernels, patches=variant == "patches")
        # The other kernels fill one pixel with padding, as long as `_geometry` says; a row of a matrix has none.
        return 0 if self.is_flat else self.input_channels

    def stack_bytes(self, kernels: KernelSet) -> int:
        """Bytes of patches that lie on the stack: those of a depthwise layer, which has no other scratch, if few."""
        if not (self.was_depthwise or self.depthwise) or self.variant(kernels) != "patches":
            return 0
        needed = self._tile_bytes(kernels, patches=True)
        return needed if needed <= _MOST_STACK_BYTES else 0

    def _tile_bytes(self, kernels: KernelSet, *, patches: bool) -> int:
        depth = self.window.rows * self.window.columns * self.input_channels
        once = self.rescale.round_once
        return packing.pointwise_scratch_bytes(kernels, depth, self.output_channels, patches=patches, round_once=once)

    def sources(self, kernels: KernelSet) -> tuple[str, ...]:
        """See `Kernel`."""
        variant = self.variant(kernels)
        beside = ("requantize", "some_channels") if self._apart(kernels).any() else ()
        if variant.startswith("portable"):
            return (*beside, "requantize", *(("geometry", "taps") if variant == "portable_depthwise" else ()), variant)
        shared = {
            "pointwise": (),
            "shallow": (),
            "patches": ("geometry", "patches", f"{kernels}_pointwise"),
            "depthwise": ("geometry", "taps"),
        }
        return (*beside, f"{kernels}_requantize", *shared[variant], f"{kernels}_{variant}")

    def constants(self, symbol: str, kernels: KernelSet) -> str:
        """See `Kernel`."""
        dense = self._dense_for(kernels)
        if dense is not None:
            return dense.constants(symbol, kernels)
        fast, beside, apart = self, "", self._apart(kernels)
        if apart.any():
            fast, beside = self._without(apart), self._slow_constants(symbol, apart)
        return beside + fast._constants(symbol, kernels, self.variant(kernels))  # noqa: SLF001 - the same layer

    def _constants(self, symbol: str, kernels: KernelSet, variant: str) -> str:
        """C definitions of the descriptor of the layer's own kernel."""
        if variant.startswith("portable"):
            return self._portable_constants(symbol)
        if variant == "shallow":
            arrays, fields = packing.shallow(self.weights, self.rescale, symbol)
        elif variant == "depthwise":
            arrays, fields = packing.depthwise(self.weights, self.rescale, kernels, symbol)
        else:
            pixels = self.pixels if self.may_widen else 1
            arrays, fields = packing.pointwise(self.weights, self.rescale, kernels, symbol, pixels)
        if variant not in ("pointwise", "shallow"):
            if variant == "patches":
                # What a patch holds beyond its last byte meets weights of 0.
                fields["input_channels"] = fields.get("depth", fields["input_channels"])
                fields = {"pointwise": braced(fields)}
            fields = {"geometry": braced(self._geometry(variant)), **fields}
        return arrays + descriptor(f"{kernels}_{variant}", symbol, fields)

    def call(self, site: CallSite, kernels: KernelSet) -> str:
        """See `Kernel`."""
        fast = self._call(site, kernels)
        if not self._apart(kernels).any():
            return fast
        pixels = site.pixels if self.form == "pixels" else str(self.pixels if self.is_flat else self.output.columns)
        rows = "rows" if self.form == "window" else "slow_rows"
        slow = f"some_channels(&{site.symbol}_slow, {rows}, {site.output}, {pixels});"
        if self.form == "window":
            return f"{fast}\n        {slow}"
        return (
            f"{fast}\n    {{\n        const int8_t *const slow_rows[1] = {{{site.inputs[0]}}};\n        {slow}\n    }}"
        )

    def _call(self, site: CallSite, kernels: KernelSet) -> str:
        variant = self.variant(kernels)
        function = variant if variant.startswith("portable") else f"{kernels}_{variant}"
        arguments = [f"&{site.symbol}", site.inputs[0], site.output, site.scratch]
        if variant.endswith("depthwise"):
            taps = self.window.rows * self.window.columns
            return f"const int8_t *taps[{taps}];\n        {function}({', '.join(arguments)}, taps);"
        if words := -(-self.stack_bytes(kernels) // 8):
            arguments[3] = "(int8_t *)patches"
            return f"uint64_t patches[{words}];\n        {function}({', '.join(arguments)});"
        pixels = str(self.pixels) if self.is_flat else site.pixels
        if variant == "portable_convolution" and self.form != "window":
            # One row pointer: the run of pixels is a row.
            arguments[1] = "one_row"
            row = f"const int8_t *const one_row[1] = {{{site.inputs[0]}}};"
            return f"{{\n        {row}\n        {function}({', '.join(arguments)}, {pixels});\n    }}"
        listed = {
            "shallow": [*arguments[:3], pixels],
            "pointwise": [*arguments[:3], pixels, site.scratch],
            "portable_convolution": [*arguments, str(self.output.columns)],
        }
        return f"{function}({', '.join(listed.get(variant, arguments))});"

    def _geometry(self, variant: str) -> dict[str, object]:
        window = self.window
        fields: dict[str, object] = {
            "input_columns": self.input.columns if self.form == "window" else 0,
            "input_channels": self.input_channels,
            "kernel_rows": window.rows,
            "kernel_columns": window.columns,
            "stride": window.stride_columns,
            "dilation": window.dilation_columns,
            "pad_left": window.pad_left,
            "pad_value": self.input.zero_point,
        }
        if not variant.startswith("portable"):
            fields["output_columns"] = self.output.columns
        return fields

    def _slow_constants(self, symbol: str, slow: NDArray[np.bool_]) -> str:
        """C definitions of the descriptor of some channels, which the layer's kernel leaves out."""
        rescale, name = self.rescale, f"{symbol}_slow"
        places = np.flatnonzero(slow)
        weights = self.weights[..., slow].transpose(2, 0, 1) if self.depthwise else self.weights[slow]
        times = self.output_channels // self.input.channels if self.depthwise else 1
        arrays = [
            int_array("int16_t", f"{name}_weights", weights),
            int_array("int32_t", f"{name}_bias", rescale.bias[slow], 8),
            int_array("int32_t", f"{name}_multiplier", rescale.multiplier[slow], 8),
            int_array("int8_t", f"{name}_shift", rescale.shift[slow]),
            int_array("int16_t", f"{name}_places", places),
            int_array("int16_t", f"{name}_sources", places // times if self.depthwise else 0 * places),
        ]
        fields: dict[str, object] = {
            **{field: f"{name}_{field}" for field in ("weights", "bias", "multiplier", "shift", "places", "sources")},
            "table": table_pointer(name, rescale.table, arrays),
            "count": places.size,
            "reads": 1 if self.depthwise else self.input_channels,
            "output_channels": self.output_channels,
            "zero_point": rescale.zero_point,
            "low": rescale.low,
            "high": rescale.high,
            "round_once": int(rescale.round_once),
            **self._geometry("portable"),
        }
        return "".join(arrays) + descriptor("some_channels", name, fields)

    def _portable_constants(self, symbol: str) -> str:
        rescale = self.rescale
        arrays = [
            int_array("int8_t", f"{symbol}_weights", self.weights if self.depthwise else packing.fours(self.weights)),
            int_array("int32_t", f"{symbol}_bias", rescale.bias, 8),
            int_array("int32_t", f"{symbol}_multiplier", rescale.multiplier, 8),
            int_array("int8_t", f"{symbol}_shift", rescale.shift),
        ]
        fields: dict[str, object] = {
            "weights": f"{symbol}_weights",
            "bias": f"{symbol}_bias",
            "multiplier": f"{symbol}_multiplier",
            "shift": f"{symbol}_shift",
            "table": table_pointer(symbol, rescale.table, arrays),
            "output_channels": self.output_channels,
            "zero_point": rescale.zero_point,
            "low": rescale.low,
            "high": rescale.high,
        }
        if self.depthwise:
            fields = {"geometry": braced(self._geometry("depthwise")), **fields}
            fields["multiplicity"] = self.output_channels // self.input.channels
        else:
            fields = {**fields, "round_once": int(rescale.round_once), **self._geometry("portable")}
        kind = "portable_depthwise" if self.depthwise else "portable_convolution"
        return "".join(arrays) + descriptor(kind, symbol, fields)


def table_pointer(symbol: str, table: NDArray[np.int64] | None, arrays: list[str]) -> str:
    """Appends the table's array where there is one and returns the C expression that points at it."""
    if table is None:
        return "NULL"
    arrays.append(int_array("int8_t", f"{symbol}_table", table))
    return f"{symbol}_table"


def braced(fields: dict[str, object]) -> str:
    """An initializer of a struct within a struct."""
    return "{" + ", ".join(f".{name} = {value}" for name, value in fields.items()) + "}"
