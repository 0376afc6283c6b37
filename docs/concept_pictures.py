# ruff: noqa: INP001 - a script, no package
"""Draws the pictures of the concepts, concepts/*.svg: `python docs/concept_pictures.py`; a test holds them together.

Every figure is computed here by mnedge itself: cost tables, memory plans, scales, intervals, crops. Nothing is
measured, so each machine draws the same bytes.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from mnedge.codegen.lower import lower
from mnedge.codegen.plan import Plan, plan
from mnedge.codegen.prepare import prepare
from mnedge.data.preprocess import Preprocessing, kept
from mnedge.graph.graph import Graph, Op, Quantization, Tensor, constant
from mnedge.models.cost import cost, standard_convolution
from mnedge.models.variant import Variant, trace
from mnedge.passes import lower_hard_swish
from mnedge.pixels import Pixels
from mnedge.validation.accuracy import wilson_interval
from mnedge.validation.candidates import chance_of

_FOLDER = Path(__file__).parent / "concepts"
_DEMO = Path(__file__).parent.parent / "mnedge" / "models" / "demo_v3_small_1.0_96.h5"
_WIDTH = 760
_NETWORK = "V1 0.25 at 96 px with 10 classes, int8, portable kernels"
_INK, _FAINT, _ONE, _OTHER, _THIRD = "#1f2430", "#8a91a3", "#3f51b5", "#d97706", "#2e7d60"
# A panel of its own colour: the same words are read on a light and on a dark page.
_SVG = """<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" role="img" aria-label="{title}">
<title>{title}</title>
<style>text {{ font: 13px system-ui, "DejaVu Sans", sans-serif; fill: #1f2430 }} .small {{ font-size: 11px }} \
.right {{ text-anchor: end }} .middle {{ text-anchor: middle }} .strong {{ font-weight: 600 }}</style>
<rect width="{width}" height="{height}" rx="8" fill="#f4f5f8"/>
{body}
</svg>
"""


def render() -> dict[str, str]:
    """The text of every picture by its file name."""
    return {
        "int8.svg": _int8(),
        "hard_swish.svg": _hard_swish(),
        "separable.svg": _separable(),
        "arena.svg": _arena(),
        "intervals.svg": _intervals(),
        "pixels.svg": _pixels(),
    }


def _page(title: str, height: int, *parts: str) -> str:
    head = _text(20, 28, title, "strong")
    return _SVG.format(width=_WIDTH, height=height, title=_safe(title), body="\n".join((head, *parts)))


def _safe(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace('"', "&quot;")


def _n(value: float) -> str:
    """A coordinate; a tenth of a pixel hides what processors round differently."""
    return f"{value + 0.0:.1f}".removesuffix(".0").replace("-0", "0") if abs(value) < 0.05 else f"{value:.1f}"


def _text(x: float, y: float, words: str, style: str = "") -> str:
    return f'<text x="{_n(x)}" y="{_n(y)}" class="{style}">{_safe(words)}</text>'


def _box(x: float, y: float, width: float, height: float, fill: str, *, edge: str = "none", words: str = "") -> str:
    told = f"<title>{_safe(words)}</title>" if words else ""
    place = f'x="{_n(x)}" y="{_n(y)}" width="{_n(width)}" height="{_n(height)}"'
    return f'<rect {place} fill="{fill}" stroke="{edge}">{told}</rect>'


def _line(points: list[tuple[float, float]], colour: str = _INK, width: float = 1.5, dash: str = "") -> str:
    path = " ".join(f"{_n(x)},{_n(y)}" for x, y in points)
    dashes = f' stroke-dasharray="{dash}"' if dash else ""
    return f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="{width}"{dashes}/>'


def _int8() -> str:
    """One scale for a tensor, and one for each channel, on the weights that come along."""
    import h5py

    name = "expanded_conv_depthwise"
    with h5py.File(_DEMO) as file:
        found: dict[str, np.ndarray] = {}
        file.visititems(
            lambda path, entry: found.update({path: entry[...]}) if isinstance(entry, h5py.Dataset) else None
        )
    kernel = next(values for path, values in found.items() if path.startswith(f"{name}/") and path.endswith("/kernel"))
    norm = {path.rpartition("/")[2]: values for path, values in found.items() if path.startswith(f"{name}_bn/")}
    factor = norm["gamma"] / np.sqrt(norm["moving_variance"] + 1e-3)
    largest = np.abs(kernel[..., 0] * factor).max(axis=(0, 1)).astype(np.float64)
    top, count = float(largest.max()), len(largest)
    left, bottom, tall, step = 60.0, 250.0, 170.0, 40.0
    parts = [
        _line([(left, bottom), (left + step * count, bottom)]),
        _line([(left, bottom - tall), (left + step * count, bottom - tall)], _OTHER, 1.5, "5 4"),
        _text(left, 62, f"per-tensor: one range, ±{top:.3f}, for all channels", "small"),
        _text(left - 8, bottom - tall + 4, "127", "small right"),
        _text(left - 8, bottom + 4, "0", "small right"),
    ]
    for channel, value in enumerate(largest):
        height = tall * float(value) / top
        x = left + step * channel + 7
        steps = int(np.rint(127 * value / top))
        parts.append(
            _box(x, bottom - height, step - 14, height, _ONE, words=f"channel {channel}: {steps} of 127 steps")
        )
        parts.append(_text(x + step / 2 - 7, bottom - height - 6, str(steps), "small middle"))
        parts.append(_text(x + step / 2 - 7, bottom + 16, str(channel), "small middle"))
    fewest = int(np.rint(127 * largest.min() / top))
    parts += [
        _text(
            left,
            288,
            f"Bars: the steps that each channel's largest weight reaches with one scale; the least is {fewest}.",
        ),
        _text(left, 308, "Per-channel: every channel has a scale of its own, and its largest weight is step 127."),
        _text(
            left, 328, "Weights: first depthwise layer of the V3 small that comes along, batch norm folded.", "small"
        ),
    ]
    return _page("One scale for all channels wastes steps on the small ones", 344, *parts)


def _hard_swish() -> str:
    """The curve, its steps in int8, and the ops that `lower-hard-swish` writes."""
    end = 6.0
    low, scale = -0.375, (end + 0.375) / 255
    x_of, y_of = (lambda x: 60 + (x + 4) * 32), (lambda y: 250 - (y + 0.5) * 46)
    xs = np.linspace(-4, 4, 161)
    curve = [
        (x_of(float(x)), y_of(float(x * np.clip(x + 3, 0, 6) / 6))) for x in xs if x * np.clip(x + 3, 0, 6) / 6 < 4
    ]
    dip = int(np.rint(-low / scale))
    graph = _one_hard_swish()
    lowered = lower_hard_swish.apply(graph)
    parts = [
        _line([(x_of(-4), y_of(0)), (x_of(4), y_of(0))], _FAINT, 1),
        _line([(x_of(0), y_of(-0.5)), (x_of(0), y_of(4))], _FAINT, 1),
        _line(curve, _ONE, 2.5),
        _box(x_of(-3), y_of(0), x_of(0) - x_of(-3), y_of(-0.4) - y_of(0), "#d9770633", edge=_OTHER),
        _text(x_of(-4), y_of(1.2), f"the dip: {dip} of 255 steps", "small"),
        _text(x_of(-4), y_of(0.85), f"if the range is -0.375..{end:g}", "small"),
        _text(x_of(-3) - 10, y_of(0) + 15, "-3", "small"),
        _text(x_of(3) - 3, y_of(0) + 15, "3", "small"),
        _line([(x_of(3), y_of(0) - 3), (x_of(3), y_of(0) + 3)], _FAINT, 1),
        _text(x_of(0.15), y_of(3.85), "x · relu6(x + 3) / 6", "small"),
        _text(400, 70, "one op"),
        _chain(400, 82, [op.kind for op in graph.ops], _OTHER),
        _text(400, 150, "what lowering writes, every op int8"),
        _chain(400, 162, [_named(op, lowered) for op in lowered.ops], _ONE),
        _text(400, 222, "The first has a fused RELU6; its output is 0..6 always.", "small"),
        _text(400, 240, "The product takes 6 times the scale of y: the last op", "small"),
        _text(400, 258, "changes no byte, and folds into the next layer.", "small"),
    ]
    return _page("Hard-swish, and the ops that it is lowered to", 300, *parts)


def _named(op: Op, graph: Graph) -> str:
    number = next((graph.tensors[name] for name in op.inputs if name and graph.tensors[name].data is not None), None)
    if number is None or number.data is None:
        return f"{op.kind} x"
    assert number.quantization is not None
    value = (int(number.data.ravel()[0]) - number.quantization.zero_point[0]) * number.quantization.scale[0]
    return f"{op.kind} {value:.3g}"


def _chain(x: float, y: float, words: list[str], colour: str) -> str:
    parts = []
    for index, word in enumerate(words):
        left = x + index * 112
        parts += [_box(left, y, 98, 30, "#ffffff", edge=colour), _text(left + 49, y + 20, word, "small middle")]
        if index:
            parts.append(_line([(left - 14, y + 15), (left, y + 15)]))
    return "\n".join(parts)


def _one_hard_swish() -> Graph:
    shape, steps = (1, 8, 8, 16), Quantization.per_tensor(8 / 255, 0)
    tensors = (
        Tensor("x", shape, "int8", steps),
        Tensor("y", shape, "int8", Quantization.per_tensor((6 + 0.375) / 255, -113)),
    )
    return Graph({tensor.name: tensor for tensor in tensors}, (Op("HARD_SWISH", ("x",), ("y",)),), ("x",), ("y",))


def _separable() -> str:
    """Multiply-adds of V1 beside standard convolutions, and of V2 under the two multipliers."""
    variant = Variant("v1", 1.0, 224)
    own, standard = cost(variant).macs, standard_convolution(variant).macs
    kinds = {
        kind: sum(layer.macs for layer in cost(variant).layers if layer.kind == kind)
        for kind in ("depthwise", "pointwise")
    }
    wide = 300.0
    parts = [
        _text(20, 58, "V1 1.0 at 224 px, million multiply-adds"),
        _box(20, 68, wide, 24, _FAINT),
        _text(28, 85, f"standard convolutions: {standard / 1e6:,.0f}", "small"),
        _box(20, 102, wide * own / standard, 24, _ONE),
        _text(
            28 + wide * own / standard,
            119,
            f"depthwise separable: {own / 1e6:,.0f}, {standard / own:.1f} times less",
            "small",
        ),
        _text(
            20,
            154,
            f"of these pointwise {kinds['pointwise'] / own:.1%}, depthwise {kinds['depthwise'] / own:.1%}",
            "small",
        ),
    ]
    left, bottom, tall = 400.0, 250.0, 160.0
    most = cost(Variant("v2", 1.0, 224)).macs
    resolutions = (96, 128, 160, 192, 224)
    parts += [
        _text(400, 58, "V2, million multiply-adds by the two multipliers"),
        _line([(left, bottom), (left + 240, bottom)]),
    ]
    for alpha, colour in ((1.0, _ONE), (0.5, _OTHER), (0.35, _THIRD)):
        counts = [cost(Variant("v2", alpha, resolution)).macs for resolution in resolutions]
        points = [(left + 20 + 55 * at, bottom - tall * count / most) for at, count in enumerate(counts)]
        parts.append(_line(points, colour, 2.5))
        x, y = points[-1]
        parts.append(_text(x + 8, y + 4, f"alpha {alpha:g}: {counts[-1] / 1e6:,.0f}", "small"))
    parts += [
        _text(left + 20 + 55 * at, bottom + 16, f"{resolution} px", "small middle")
        for at, resolution in enumerate(resolutions)
    ]
    parts.append(_text(20, 200, "Resolution scales multiply-adds by its square;", "small"))
    parts.append(_text(20, 218, "alpha by about its square, and parameters too:", "small"))
    for at, alpha in enumerate((1.0, 0.5, 0.35)):
        parameters = cost(Variant("v2", alpha, 224)).parameters
        parts.append(_text(20, 238 + 17 * at, f"V2 {alpha:g}: {parameters / 1e6:.2f} million parameters", "small"))
    return _page("What depthwise separable convolutions and the two multipliers save", 290, *parts)


def _arena() -> str:
    """The memory plan of a whole network, layer by layer and with rings."""
    program = lower(prepare(_v1()))
    by_layer, rings = (plan(program, "portable", prefer=prefer) for prefer in ("speed", "ram"))
    most = by_layer.arena_bytes
    parts = [
        _plan(by_layer, most, 20, f"layer by layer: {by_layer.arena_bytes / 1024:.1f} KiB"),
        _plan(rings, most, 395, f"with rings: {rings.arena_bytes / 1024:.1f} KiB"),
        _box(20, 322, 12, 12, _ONE), _text(38, 332, "values", "small"),
        _box(100, 322, 12, 12, _OTHER), _text(118, 332, "rings: a few rows of a map", "small"),
        _box(290, 322, 12, 12, _THIRD), _text(308, 332, "scratch", "small"),
        _text(20, 354, f"{_NETWORK}: across the steps, upwards the bytes of the arena.", "small"),
    ]  # fmt: skip
    return _page("One arena: a place is used again when nobody reads it any more", 368, *parts)


def _plan(made: Plan, most: int, left: float, words: str) -> str:
    wide, tall, bottom = 345.0, 230.0, 306.0
    across = wide / len(made.segments)
    colours = {"ring": _OTHER, "scratch": _THIRD}
    parts = [_text(left, 58, words), _line([(left, bottom), (left + wide, bottom)])]
    top = bottom - tall * made.arena_bytes / most
    parts.append(_line([(left, top), (left + wide, top)], _FAINT, 1, "4 3"))
    for block in made.blocks:
        height = tall * block.size_bytes / most
        y = bottom - tall * made.offsets[block.name] / most - height
        x, width = left + across * block.first, across * (block.last + 1 - block.first)
        told = f"{block.name}: {block.size_bytes:,} bytes"
        parts.append(_box(x, y, width, height, colours.get(block.kind, _ONE), edge="#f4f5f8", words=told))
    return "\n".join(parts)


def _v1() -> Graph:
    """V1 0.25 at 96 px in int8 with weights of 1; a plan depends on shapes alone."""
    layers = trace(Variant("v1", 0.25, 96, classes=10))
    steps = Quantization.per_tensor(0.05, 0)
    tensors = [Tensor("image", (1, 96, 96, 3), "int8", steps)]
    ops, source = [], "image"
    for layer in layers:
        height, width, channels = layer.output_shape
        result = Tensor(layer.name, (1, height, width, channels), "int8", steps)
        if layer.kind == "pool":
            tensors += [constant(f"{layer.name}/axes", np.array([1, 2], np.int32)), result]
            ops.append(Op("MEAN", (source, f"{layer.name}/axes"), (layer.name,), {"keep_dims": True}))
        else:
            depthwise = layer.kind == "depthwise"
            side, inside = layer.kernel, layer.input_shape[2]
            shape = (1, side, side, channels) if depthwise else (channels, side, side, inside)
            scales = np.full(channels, 0.01, np.float32)
            weights = Quantization.per_channel(scales, 3 if depthwise else 0)
            sums = Quantization.per_channel(scales * np.float32(0.05), 0)
            tensors += [
                constant(f"{layer.name}/weights", np.ones(shape, np.int8), weights),
                constant(f"{layer.name}/bias", np.ones(channels, np.int32), sums),
                result,
            ]
            options: dict[str, object] = {
                "padding": "SAME", "stride_h": layer.stride, "stride_w": layer.stride, "dilation_h_factor": 1,
                "dilation_w_factor": 1, "activation": "RELU6",
            }  # fmt: skip
            kind = "DEPTHWISE_CONV_2D" if depthwise else "CONV_2D"
            options |= {"depth_multiplier": 1} if depthwise else {}
            inputs = (source, f"{layer.name}/weights", f"{layer.name}/bias")
            ops.append(Op(kind, inputs, (layer.name,), options))
        source = layer.name
    return Graph({tensor.name: tensor for tensor in tensors}, tuple(ops), ("image",), (source,))


def _intervals() -> str:
    """Interval of one accuracy by the number of pictures; what a paired test sees on the same pictures."""
    left, middle, scale = 110.0, 170.0, 7.5
    parts = [_text(20, 58, "A top-1 of 80 %, its 95 % interval (Wilson), by pictures")]
    for at, count in enumerate((50, 100, 200, 800, 3000, 10000)):
        low, high = (100 * value for value in wilson_interval(count * 4 // 5, count))
        y = 84 + 27 * at
        x = [middle + scale * (value - 80) + 60 for value in (low, 80, high)]
        parts += [
            _text(left - 40, y + 4, f"{count:,}", "small right"),
            _line([(x[0], y), (x[2], y)], _ONE, 4),
            _line([(x[1], y - 6), (x[1], y + 6)], _INK, 1.5),
            _text(330, y + 4, f"{low:.1f}–{high:.1f} %", "small"),
        ]
    parts.append(_text(430, 58, "Float and int8 on the same 800 pictures, paired"))
    parts.append(_text(430, 80, "one right, other wrong", "small"))
    parts.append(_text(585, 80, "loss, points", "small"))
    parts.append(_text(670, 80, "p (McNemar)", "small"))
    for at, (float_alone, int8_alone) in enumerate(((6, 4), (9, 1), (14, 6), (20, 10), (27, 13))):
        chance = _paired(float_alone, int8_alone)
        y = 104 + 24 * at
        parts += [
            _text(430, y, f"float {float_alone}, int8 {int8_alone}", "small"),
            _text(600, y, f"{100 * (float_alone - int8_alone) / 800:.2f}", "small"),
            _text(685, y, f"{chance:.3f}", "small"),
            _box(670, y - 9, 9, 9, _OTHER if chance < 0.05 else _FAINT),
        ]
    low, high = (100 * value for value in wilson_interval(640, 800))
    parts += [
        _text(430, 236, f"Alone, each accuracy is known to {(high - low) / 2:.1f} points. Paired, a loss", "small"),
        _text(430, 252, "of 1 point shows (orange: p below 0.05) if few", "small"),
        _text(430, 268, "pictures changed sides, and not if many did.", "small"),
    ]
    return _page("An interval for each figure, and pairs for each difference", 284, *parts)


def _paired(one_alone: int, other_alone: int, pictures: int = 800) -> float:
    one, other = np.zeros((2, pictures), bool)
    one[:one_alone] = True
    other[one_alone : one_alone + other_alone] = True
    return chance_of(one, other)


def _pixels() -> str:
    """The part of a picture that a model sees, and what a pixel becomes under each range."""
    from PIL import Image

    picture = Image.new("RGB", (320, 240))
    preprocessing = Preprocessing()
    x1, y1, x2, y2 = kept(picture, preprocessing)
    left, top, scale = 20.0, 72.0, 0.75
    parts = [
        _text(20, 58, f"a picture of {picture.width} x {picture.height}; crop_fraction {preprocessing.crop_fraction}"),
        _box(left, top, 320 * scale, 240 * scale, "#d5d9e4"),
        f'<circle cx="{_n(left + 120)}" cy="{_n(top + 95)}" r="46" fill="{_OTHER}"/>',
        _box(left + x1 * scale, top + y1 * scale, (x2 - x1) * scale, (y2 - y1) * scale, "none", edge=_ONE),
        _text(20, 274, f"kept: {x2 - x1:g} x {y2 - y1:g} from ({x1:g}, {y1:g}), resized with antialiasing", "small"),
        _line([(275, 162), (300, 162)], _INK, 2),
        _text(306, 130, "224 x 224", "small"),
        _box(306, 138, 50, 50, "none", edge=_ONE),
        f'<circle cx="331" cy="163" r="{_n(46 / scale / (x2 - x1) * 50)}" fill="{_OTHER}"/>',
        _text(400, 58, "what the pixels 0, 128 and 255 (red) become"),
    ]
    for at, (words, x) in enumerate((("--pixels", 400), ("0", 520), ("128", 590), ("255", 660))):
        parts.append(_text(x, 84, words, "small strong" if at == 0 else "small strong right"))
    pixels = np.array([0, 128, 255], np.uint8)[:, None].repeat(3, 1)
    for at, name in enumerate(("0..1", "-1..1", "0..255", "imagenet", "caffe RGB")):
        y = 108 + 22 * at
        parts.append(_text(400, y, name, "small"))
        for x, value in zip((520, 590, 660), Pixels.parse(name).real(pixels)[:, 0], strict=True):
            parts.append(_text(x, y, f"{value:.3f}".rstrip("0").rstrip("."), "small right"))
    parts += [
        _line([(400, 222), (670, 222)], _FAINT, 1),
        _text(400, 242, "int8 input", "small"),
        *(_text(x, 242, str(value - 128), "small right") for x, value in ((520, 0), (590, 128), (660, 255))),
        _text(400, 264, "whatever the range: it is folded into the first layer", "small"),
    ]
    return _page("From a picture to numbers", 292, *parts)


if __name__ == "__main__":
    for name, text in render().items():
        (_FOLDER / name).write_text(text, encoding="utf-8")
