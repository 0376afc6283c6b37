"""Opens a model in the runtime that is there: LiteRT or tflite-runtime, and for .onnx ONNX Runtime."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import numpy as np
from pictures import ProgramError  # type: ignore[import-not-found]

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path
    from typing import TypedDict

    from numpy.typing import DTypeLike, NDArray

    class Range(TypedDict):
        """Range of a model's pixels: real = scale * pixel + offset, one value for all channels or one a channel."""

        scale: float | list[float]
        offset: float | list[float]
        order: str

    class Detail(TypedDict):
        """Description of an output, as LiteRT gives it."""

        index: int
        quantization: tuple[float, int]

    Model = Callable[[NDArray[np.uint8]], list[NDArray[np.float32]]]

CHANNELS = {"RGB": 3, "BGR": 3, "GREY": 1, "RGBA": 4}
# Of a step.
NUDGE = 1e-3


def open_model(path: Path, threads: int, told: Range) -> Model:
    """Opens a model; the function that it gives takes pixels, uint8 (height, width, channels), and gives real outputs.

    Args:
        path: A .tflite or .onnx.
        threads: Threads.
        told: What a picture is to it, of "models" in model.json: scale, offset and order.
    """
    return _open_onnx(path, threads, told) if path.suffix == ".onnx" else _open_tflite(path, threads, told)


def _open_tflite(path: Path, threads: int, told: Range) -> Model:
    try:
        from ai_edge_litert.interpreter import Interpreter
    except ImportError:
        try:
            from tflite_runtime.interpreter import Interpreter
        except ImportError:
            raise ProgramError("no runtime: pip install -r requirements.txt") from None
    interpreter = Interpreter(str(path), num_threads=threads)
    interpreter.allocate_tensors()
    source, targets = interpreter.get_input_details()[0], interpreter.get_output_details()
    table = _table(told, source["dtype"], *source["quantization"])

    def real(target: Detail) -> NDArray[np.float32]:
        steps: NDArray[np.float32] = interpreter.get_tensor(target["index"])[0].astype(np.float32)
        scale, zero_point = target["quantization"]
        return steps if scale == 0 else (steps - np.float32(zero_point)) * np.float32(scale)

    def run(pixels: NDArray[np.uint8]) -> list[NDArray[np.float32]]:
        interpreter.set_tensor(source["index"], _encoded(pixels, table)[None])
        interpreter.invoke()
        return [real(target) for target in targets]

    return run


def _open_onnx(path: Path, threads: int, told: Range) -> Model:
    # ONNX Runtime reports models to its maker unless it is told not to.
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
    try:
        import onnxruntime
    except ImportError:
        raise ProgramError("no runtime for .onnx: pip install onnxruntime") from None
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    # x86 without VNNI adds pairs of products in 16 bits, which saturate, unless it is told to be exact; Arm is exact.
    options.add_session_config_entry("session.x64quantprecision", "1")
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    source = session.get_inputs()[0]
    table = _table(told, np.float32)
    is_nchw = source.shape[1] == CHANNELS[told["order"]] != source.shape[3]

    def run(pixels: NDArray[np.uint8]) -> list[NDArray[np.float32]]:
        real = _encoded(pixels, table)[None]
        outputs = session.run(None, {source.name: real.transpose(0, 3, 1, 2) if is_nchw else real})
        return [output[0] for output in outputs]

    return run


def _table(told: Range, dtype: DTypeLike, scale: float = 0.0, zero_point: int = 0) -> NDArray[np.generic]:
    """Values of the 256 pixel values in each channel, (256, channels): reals, or steps of `scale`.

    Args:
        told: scale and offset, one for all channels or one a channel, and order: real = scale * pixel + offset.
        dtype: Of the input.
        scale: Of its steps; 0 for real values.
        zero_point: The step that stands for 0.
    """
    values = np.broadcast_to(np.arange(256.0)[:, None], (256, CHANNELS[told["order"]]))
    real = values * np.asarray(told["scale"]) + np.asarray(told["offset"])
    if scale == 0:
        return np.asarray(real, dtype)
    limits = np.iinfo(dtype)
    # Half-way between two steps, ties go up, all of them, so that each pixel keeps a step of its own.
    steps = np.clip(np.floor(real / scale + 0.5 + NUDGE) + zero_point, limits.min, limits.max)
    return np.asarray(steps, dtype)


def _encoded(pixels: NDArray[np.uint8], table: NDArray[np.generic]) -> NDArray[np.generic]:
    """Pixels, (height, width, channels), as a model takes them."""
    return np.asarray(table[pixels, np.arange(table.shape[1])])
