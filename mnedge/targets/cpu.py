"""Phones, Raspberry Pi and PCs: LiteRT with XNNPACK, and ONNX Runtime."""

from mnedge.targets._target import Target

TARGET = Target(
    description="phones, Raspberry Pi, PC: LiteRT with XNNPACK, ONNX Runtime on x86",
    passes=(
        "fold-shapes",
        "fuse-l2-normalization",
        "square-to-multiply",
        "divide-to-multiply",
        "sink-transposes",
        "fold-pad",
        "fuse-activation",
        "sink-resize",
        "fold-constants",
        "pool-to-mean",
        "fully-connected-to-conv",
        "lower-hard-swish",
        "fold-scale",
        "split-concatenation",
        "drop-identities",
    ),
    int8_passes=(
        "fold-shapes",
        "sink-transposes",
        "fold-batch-norm",
        "fold-pad",
        "fuse-activation",
        "pool-to-mean",
        "lower-hard-swish",
        "fold-scale",
        "rescale-concatenation",
        "split-concatenation",
        "drop-identities",
        "split-resize",
        "bound-scales",
    ),
    tflite_passes=("split-resize",),
    onnx_passes=("pad-channels", "quad-columns", "tile-gate"),
)
