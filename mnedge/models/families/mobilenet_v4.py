"""MobileNet V4: universal inverted bottlenecks (https://arxiv.org/abs/2404.10518, section 3).

A universal inverted bottleneck is an inverted one with up to two depthwise convolutions: one before the expansion and
one between expansion and projection. With both it is the paper's ExtraDW, with the second the inverted bottleneck of
V2, with the first ConvNext's block, with none a feed-forward network.

The hybrid network has attention between them, whose heads share keys and values (section 3.2): the queries of all heads
are rows of one matrix, so nothing is transposed.
"""

from __future__ import annotations

from functools import partial
from itertools import pairwise
from typing import TYPE_CHECKING, Literal, NamedTuple

from mnedge.models.families._family import Family, Published
from mnedge.models.families._pytorch import Names, PyTorch, timm
from mnedge.models.network import round_to_eight

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import keras

    from mnedge.models.network import Layer, Network

# Multiply-adds and parameters: results/benchmark-infer-*.csv; top-1: results/results-imagenet.csv.
_TIMM = "timm, results-imagenet and benchmark-infer"
# Width between pooling and classifier, at every alpha.
_HIDDEN = 1280


class _Step(NamedTuple):
    """A convolution with batch norm."""

    name: str
    kind: Literal["conv", "depthwise", "pointwise"]
    channels: int
    kernel: int = 1
    stride: int = 1
    has_relu: bool = True


class _Conv(NamedTuple):
    """A standard convolution, or a pointwise one."""

    channels: int
    kernel: int
    stride: int = 1


class _Fused(NamedTuple):
    """An inverted bottleneck whose expansion is a convolution of 3 x 3."""

    channels: int
    expansion: float
    stride: int = 1


class _Universal(NamedTuple):
    """A universal inverted bottleneck; a kernel of 0 is a depthwise convolution that is left out."""

    start: int
    middle: int
    channels: int
    expansion: float
    stride: int = 1


class _Attention(NamedTuple):
    """Mobile multi-query attention; keys and values are taken from a map that `shrink` makes smaller."""

    channels: int
    shrink: int = 1
    stride: int = 1


_Block = _Conv | _Fused | _Universal | _Attention
# Of every attention: heads, length of a query, and side of the kernel that makes the map of keys and values smaller.
_HEADS, _WIDTH, _KERNEL = 4, 64, 3

_SMALL: tuple[_Block, ...] = (
    _Conv(32, 3, 2), _Conv(32, 1),
    _Conv(96, 3, 2), _Conv(64, 1),
    _Universal(5, 5, 96, 3, 2), *4 * (_Universal(0, 3, 96, 2),), _Universal(3, 0, 96, 4),
    _Universal(3, 3, 128, 6, 2), _Universal(5, 5, 128, 4), _Universal(0, 5, 128, 4), _Universal(0, 5, 128, 3),
    *2 * (_Universal(0, 3, 128, 4),),
    _Conv(960, 1),
)  # fmt: skip

_MEDIUM: tuple[_Block, ...] = (
    _Fused(48, 4, 2),
    _Universal(3, 5, 80, 4, 2), _Universal(3, 3, 80, 2),
    _Universal(3, 5, 160, 6, 2), *2 * (_Universal(3, 3, 160, 4),), _Universal(3, 5, 160, 4), _Universal(3, 3, 160, 4),
    _Universal(3, 0, 160, 4), _Universal(0, 0, 160, 2), _Universal(3, 0, 160, 4),
    _Universal(5, 5, 256, 6, 2), _Universal(5, 5, 256, 4), *2 * (_Universal(3, 5, 256, 4),), _Universal(0, 0, 256, 4),
    _Universal(3, 0, 256, 4), _Universal(3, 5, 256, 2), _Universal(5, 5, 256, 4), *2 * (_Universal(0, 0, 256, 4),),
    _Universal(5, 0, 256, 2),
    _Conv(960, 1),
)  # fmt: skip

_LARGE: tuple[_Block, ...] = (
    _Fused(48, 4, 2),
    _Universal(3, 5, 96, 4, 2), _Universal(3, 3, 96, 4),
    _Universal(3, 5, 192, 4, 2), *3 * (_Universal(3, 3, 192, 4),), _Universal(3, 5, 192, 4),
    *5 * (_Universal(5, 3, 192, 4),), _Universal(3, 0, 192, 4),
    _Universal(5, 5, 512, 4, 2), *3 * (_Universal(5, 5, 512, 4),), _Universal(5, 0, 512, 4), _Universal(5, 3, 512, 4),
    *2 * (_Universal(5, 0, 512, 4),), _Universal(5, 3, 512, 4), _Universal(5, 5, 512, 4),
    *3 * (_Universal(5, 0, 512, 4),),
    _Conv(960, 1),
)  # fmt: skip

_HYBRID_MEDIUM: tuple[_Block, ...] = (
    _Fused(48, 4, 2),
    _Universal(3, 5, 80, 4, 2), _Universal(3, 3, 80, 2),
    _Universal(3, 5, 160, 6, 2), _Universal(0, 0, 160, 2), _Universal(3, 3, 160, 4), _Universal(3, 5, 160, 4),
    _Attention(160, 2), _Universal(3, 3, 160, 4), _Attention(160, 2), _Universal(3, 0, 160, 4),
    _Attention(160, 2), _Universal(3, 3, 160, 4), _Attention(160, 2), _Universal(3, 0, 160, 4),
    _Universal(5, 5, 256, 6, 2), _Universal(5, 5, 256, 4), *2 * (_Universal(3, 5, 256, 4),), _Universal(0, 0, 256, 2),
    _Universal(3, 5, 256, 2), _Universal(0, 0, 256, 2), _Universal(0, 0, 256, 4),
    _Attention(256), _Universal(3, 0, 256, 4), _Attention(256), _Universal(5, 5, 256, 4),
    _Attention(256), _Universal(5, 0, 256, 4), _Attention(256), _Universal(5, 0, 256, 4),
    _Conv(960, 1),
)  # fmt: skip


def _steps(blocks: tuple[_Block, ...], stem: int, alpha: float) -> Iterator[tuple[str, tuple[_Step, ...] | _Attention]]:
    """Names and layers of the stem and the blocks, in order; a block that keeps its input's shape adds it."""
    # A thin network keeps the whole stem.
    channels = stem if alpha < 1 else round_to_eight(stem * alpha)
    yield "stem", (_Step("stem", "conv", channels, 3, 2),)
    for number, block in enumerate(blocks):
        name = f"block_{number}"
        made = round_to_eight(block.channels * alpha)
        if isinstance(block, _Conv):
            kind: Literal["conv", "pointwise"] = "pointwise" if block.kernel == 1 else "conv"
            yield name, (_Step(f"{name}_conv", kind, made, block.kernel, block.stride),)
        elif isinstance(block, _Attention):
            yield name, block
        else:
            wide = round_to_eight(channels * block.expansion)
            project = _Step(f"{name}_project", "pointwise", made, has_relu=False)
            if isinstance(block, _Fused):
                yield name, (_Step(f"{name}_expand", "conv", wide, 3, block.stride), project)
            else:
                yield name, (*_spread(name, block, channels, wide), project)
        channels = made


def _spread(name: str, block: _Universal, channels: int, wide: int) -> Iterator[_Step]:
    """The layers of a universal inverted bottleneck before its projection; the last depthwise one has the stride."""
    if block.start:
        stride = 1 if block.middle else block.stride
        yield _Step(f"{name}_start_depthwise", "depthwise", channels, block.start, stride, has_relu=False)
    yield _Step(f"{name}_expand", "pointwise", wide)
    if block.middle:
        yield _Step(f"{name}_depthwise", "depthwise", wide, block.middle, block.stride)


def _trace(network: Network, alpha: float, classes: int, *, blocks: tuple[_Block, ...], stem: int) -> None:
    for name, steps in _steps(blocks, stem, alpha):
        if isinstance(steps, _Attention):
            network.attention(name, _HEADS, _WIDTH, _KERNEL, steps.shrink)
            continue
        before = network.shape
        for step in steps:
            if step.kind == "depthwise":
                network.depthwise(step.name, step.kernel, step.stride)
            elif step.kind == "conv":
                network.conv(step.name, step.channels, step.kernel, step.stride)
            else:
                network.pointwise(step.name, step.channels)
        if len(steps) > 1 and network.shape == before:
            network.add(f"{name}_add")
    network.pool("global_average_pooling2d")
    network.pointwise("hidden", _HIDDEN)
    network.pointwise("logits", classes, bias=True, batch_norm=False)


def _build(
    image: keras.KerasTensor, alpha: float, classes: int | None, *, blocks: tuple[_Block, ...], stem: int
) -> keras.KerasTensor:
    import keras

    made = image
    variance = 1.0
    for name, steps in _steps(blocks, stem, alpha):
        if isinstance(steps, _Attention):
            made = _attention(made, name, steps.shrink, variance)
            continue
        before, known = made, variance
        for step in steps:
            made = _layer(made, step)
            # He's kernels keep the variance through a ReLU, and double it without one.
            variance *= 1 if step.has_relu else 2
        if len(steps) > 1 and made.shape == before.shape:
            made = keras.layers.Add(name=f"{name}_add")([before, made])
            variance += known
    if classes is None:
        return made
    made = keras.layers.GlobalAveragePooling2D(keepdims=True, name="global_average_pooling2d")(made)
    made = _layer(made, _Step("hidden", "pointwise", _HIDDEN))
    made = keras.layers.Conv2D(classes, 1, name="logits")(made)
    made = keras.layers.Flatten(name="flatten")(made)
    return keras.layers.Activation("softmax", name="predictions")(made)


def _layer(source: keras.KerasTensor, step: _Step) -> keras.KerasTensor:
    """A convolution with batch norm and, unless it is linear, ReLU."""
    import keras

    if step.kind == "depthwise":
        made = keras.layers.DepthwiseConv2D(
            step.kernel, step.stride, padding="same", use_bias=False, name=step.name
        )(source)  # fmt: skip
    else:
        made = keras.layers.Conv2D(
            step.channels, step.kernel, step.stride, padding="same", use_bias=False, name=step.name
        )(source)  # fmt: skip
    made = keras.layers.BatchNormalization(name=f"{step.name}_bn")(made)
    return keras.layers.ReLU(name=f"{step.name}_relu")(made) if step.has_relu else made


def _attention(source: keras.KerasTensor, name: str, shrink: int, variance: float) -> keras.KerasTensor:
    """Multi-query attention with a shortcut around it.

    Args:
        source: float32 (1, H, W, C).
        name: What the layers' names begin with.
        shrink: Step down to the map of keys and values.
        variance: Variance of the source with random weights, which its batch norm starts with: scores are products of
            two of its values, and would be without bounds.

    Returns:
        float32 (1, H, W, C).
    """
    import keras

    _, height, width, channels = source.shape
    normed = keras.layers.BatchNormalization(
        moving_variance_initializer=keras.initializers.Constant(variance), name=f"{name}_norm"
    )(source)

    def projected(values: keras.KerasTensor, filters: int, part: str) -> keras.KerasTensor:
        return keras.layers.Conv2D(filters, 1, use_bias=False, name=f"{name}_{part}")(values)

    def shared(part: str) -> keras.KerasTensor:
        values = normed
        if shrink > 1:
            values = _layer(values, _Step(f"{name}_{part}_depthwise", "depthwise", 0, _KERNEL, shrink, has_relu=False))
        return keras.layers.Reshape((-1, _WIDTH), name=f"{name}_{part}s")(projected(values, _WIDTH, part))

    # Behind a convolution, the scale goes into its kernel when the graph is made.
    queries = keras.layers.Rescaling(_WIDTH**-0.5, name=f"{name}_scale")(projected(normed, _HEADS * _WIDTH, "query"))
    # (1, H x W x heads, width): a position's heads follow each other.
    queries = keras.layers.Reshape((-1, _WIDTH), name=f"{name}_queries")(queries)
    scores = keras.layers.Dot(axes=(2, 2), name=f"{name}_scores")([queries, shared("key")])
    weights = keras.layers.Softmax(name=f"{name}_weights")(scores)
    mixed = keras.layers.Dot(axes=(2, 1), name=f"{name}_mix")([weights, shared("value")])
    mixed = keras.layers.Reshape((height, width, _HEADS * _WIDTH), name=f"{name}_map")(mixed)
    return keras.layers.Add(name=f"{name}_add")([source, projected(mixed, channels, "project")])


def _stages(blocks: tuple[_Block, ...]) -> tuple[int, ...]:
    """Number of blocks of each stage: one begins where the map is halved, and the last convolution is one."""
    begins = [place for place, block in enumerate(blocks) if block.stride > 1] + [len(blocks) - 1, len(blocks)]
    return tuple(after - begin for begin, after in pairwise(begins))


def _block_names(prefix: str, layers: Sequence[Layer], *, has_gains: bool) -> Iterator[Names]:
    """Names the layers of one block as timm does; the hybrid network has gains behind its projections."""
    kinds = [layer.kind for layer in layers]
    if len(layers) == 1:
        yield Names(layers[0], f"{prefix}conv", f"{prefix}bn1")
        return
    if kinds[0] == "norm":
        yield from _attention_names(prefix, layers)
        return
    if kinds[0] == "conv":
        for layer, name, norm in zip(layers, ("conv_exp", "conv_pwl"), ("bn1", "bn2"), strict=True):
            yield Names(layer, prefix + name, prefix + norm)
        return
    names = ["pw_exp", *(["dw_mid"] if "depthwise" in kinds[1:] else []), "pw_proj"]
    if kinds[0] == "depthwise":
        names.insert(0, "dw_start")
    for layer, name in zip(layers, names, strict=True):
        gain = f"{prefix}layer_scale.gamma" if has_gains and name == "pw_proj" else ""
        yield Names(layer, f"{prefix}{name}.conv", f"{prefix}{name}.bn", gain)


def _attention_names(prefix: str, layers: Sequence[Layer]) -> Iterator[Names]:
    norm, query, *shared, project = layers
    yield Names(norm, "", f"{prefix}norm")
    yield Names(query, f"{prefix}attn.query.proj")
    for part, found in (("key", shared[: len(shared) // 2]), ("value", shared[len(shared) // 2 :])):
        for layer in found[:-1]:
            yield Names(layer, f"{prefix}attn.{part}.down_conv", f"{prefix}attn.{part}.norm")
        yield Names(found[-1], f"{prefix}attn.{part}.proj")
    yield Names(project, f"{prefix}attn.output.proj", gain=f"{prefix}layer_scale.gamma")


def _timm(alpha: float, resolution: int, macs: float, parameters: float, top1: float | None) -> Published:
    return Published(
        alpha, resolution, macs, parameters, top1, _TIMM,
        macs_unit_millions=10, difference="timm counts batch norm too and prints two digits",
    )  # fmt: skip


def _family(
    kind: Literal["conv", "hybrid"], size: str, blocks: tuple[_Block, ...], stem: int, published: tuple[Published, ...]
) -> Family:
    block_names = partial(_block_names, has_gains=kind == "hybrid")
    names = timm(_stages(blocks), (("conv_head", "norm_head"), ("classifier", "")), block_names)
    return Family(
        name=f"v4-{kind}-{size}",
        title=f"MobileNet V4-{kind.capitalize()}-{size.capitalize()}",
        slug=f"mobilenet_v4_{kind}_{size}",
        published=published,
        trace=partial(_trace, blocks=blocks, stem=stem),
        build=partial(_build, blocks=blocks, stem=stem),
        pytorch=(PyTorch("timm", names),),
        ops_without_c=("BATCH_MATMUL",) if kind == "hybrid" else (),
    )


FAMILIES = (
    _family(
        "conv",
        "small",
        _SMALL,
        32,
        (
            #  alpha resolution MACs/M parameters/M top-1
            _timm(1.0, 256, 250, 3.77, 0.745),
            _timm(1.0, 224, 190, 3.77, 0.738),
            _timm(0.5, 256, 90, 2.24, 0.658),
            _timm(0.5, 224, 70, 2.24, 0.648),
            _timm(0.35, 256, 60, 1.91, None),
            _timm(0.35, 224, 50, 1.91, None),
        ),
    ),
    _family(
        "conv",
        "medium",
        _MEDIUM,
        32,
        (
            _timm(1.0, 320, 1710, 9.72, 0.809),
            _timm(1.0, 256, 1100, 9.72, 0.799),
            _timm(1.0, 224, 840, 9.72, 0.791),
        ),
    ),
    _family(
        "conv",
        "large",
        _LARGE,
        24,
        (
            _timm(1.0, 448, 8750, 32.59, 0.834),
            _timm(1.0, 384, 6430, 32.59, 0.830),
            _timm(1.0, 320, 4470, 32.59, 0.827),
            _timm(1.0, 256, 2860, 32.59, 0.819),
        ),
    ),
    _family(
        "hybrid",
        "medium",
        _HYBRID_MEDIUM,
        32,
        (
            _timm(1.0, 448, 4200, 11.07, 0.834),
            _timm(1.0, 384, 3010, 11.07, 0.830),
            _timm(1.0, 320, 2050, 11.07, 0.825),
            _timm(1.0, 256, 1290, 11.07, 0.815),
            _timm(1.0, 224, 980, 11.07, 0.804),
            _timm(0.75, 224, 660, 7.31, None),
        ),
    ),
)

REFUSED = {
    "v4-hybrid-large": (
        "its layers have GELU, which the families here have not; take v4-hybrid-medium, or export the network with "
        "torch.onnx.export and give the .onnx as MODEL"
    )
}
