""".onnx to .ort, ONNX Runtime's own format for mobile, with ONNX Runtime's own tools."""

from __future__ import annotations

import sys
import tempfile
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

from mnedge import command
from mnedge.errors import InputError, ToolError
from mnedge.formats._ort_order import in_order

_TOOL = "onnxruntime.tools.convert_onnx_models_to_ort"
Platform = Literal["arm", "amd64"]


@dataclass(frozen=True)
class OrtModel:
    """A model in ORT format.

    Attributes:
        data: The bytes of the .ort file.
        required_operators: The configuration that a minimal build of ONNX Runtime takes with
            `--include_ops_by_config`: one line "domain;opset;operators" each.
    """

    data: bytes
    required_operators: str


def write_ort(onnx: Path, *, platform: Platform = "arm") -> OrtModel:
    """Converts an .onnx file to ORT format, all optimizations baked in; the same .onnx gives the same bytes.

    Args:
        onnx: The .onnx file.
        platform: Platform that it will run on; "arm" leaves out layouts and fusions that only x86 has.

    Raises:
        InputError: The file cannot be read, or ONNX Runtime refuses it.
        ToolError: ONNX Runtime or its tools are not installed.
    """
    try:
        model = onnx.read_bytes()
    except OSError as exc:
        raise InputError(f"{onnx} cannot be read: {exc.strerror}") from exc
    if find_spec("onnxruntime") is None:
        raise ToolError("onnxruntime is not installed; pip install onnxruntime")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "model.onnx").write_bytes(model)
        arguments: list[str | Path] = [
            "--optimization_style",
            "Fixed",
            "--target_platform",
            platform,
            folder / "model.onnx",
        ]
        # In a process of its own: the tool prints on standard output and leaves files open.
        done = command.run([sys.executable, "-m", _TOOL, *arguments], check=False)
        if done.returncode != 0:
            command.check_room(done)
            raise InputError(f"ONNX Runtime cannot convert {onnx}: {done.last_words}")
        config = next(folder.glob("*.required_operators.config"))
        lines = [line for line in config.read_text().splitlines() if line and not line.startswith("#")]
        return OrtModel(in_order((folder / "model.ort").read_bytes()), "\n".join(lines) + "\n")
