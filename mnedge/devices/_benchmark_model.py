"""The benchmark_model programs, classic TFLite's and LiteRT's: their flags and their output."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mnedge.errors import ToolError

if TYPE_CHECKING:
    from mnedge.runtimes import TensorSpec

# Names by which the delegates of an accelerator show in the logs.
_DELEGATES = {
    "cpu": re.compile(r"xnnpack", re.IGNORECASE),
    "gpu": re.compile(r"gpu|_cl\b|opencl|webgpu|vulkan", re.IGNORECASE),
    "npu": re.compile(r"npu|nnapi|dispatch|hexagon|neuron|qnn|edgetpu", re.IGNORECASE),
}
# A time, as both programs print it: finite whatever its digits are.
_NUMBER = r"([0-9]{1,15}(?:\.[0-9]{1,15})?(?:e\+[0-9]{1,2})?)"
ACCELERATORS = tuple(_DELEGATES)


@dataclass(frozen=True)
class Program:
    """A benchmark_model program on the phone.

    Attributes:
        path: Path on the device.
        writes_outputs: Whether it takes input files and writes outputs (the classic one).
        npu_flag: Its flag for an NPU.
    """

    path: str
    writes_outputs: bool
    npu_flag: str

    @classmethod
    def from_help(cls, path: str, text: str) -> Program:
        """Reads a program's abilities from its --help.

        Raises:
            ToolError: It is no benchmark_model.
        """
        if "graph" not in text:
            raise ToolError(f"{path} is no benchmark_model: its --help does not name --graph; it says: {text[-300:]}")
        outputs = "input_layer_value_files" in text and "output_filepath" in text
        return cls(path, outputs, "--use_npu=true" if "use_npu" in text else "--use_nnapi=true")

    def flags(self, accelerator: str, threads: int) -> list[str]:
        """Flags for an accelerator (cpu, gpu, npu) and a number of CPU threads."""
        chosen = {"cpu": [], "gpu": ["--use_gpu=true"], "npu": [self.npu_flag]}[accelerator]
        return [f"--num_threads={threads}", *chosen]


def input_flags(spec: TensorSpec, file: str) -> list[str]:
    """Flags of the classic program that feed an input from a file of raw bytes.

    Raises:
        ToolError: The input's name has a character that the flags use themselves.
    """
    if re.search(r"[:,\s]", spec.name):
        raise ToolError(
            f"benchmark_model cannot feed the input {spec.name!r}: its flags use : and , themselves; rename it"
        )
    shape = ",".join(str(size) for size in spec.shape)
    return [
        f"--input_layer={spec.name}",
        f"--input_layer_shape={shape}",
        f"--input_layer_value_files={spec.name}:{file}",
    ]


@dataclass(frozen=True)
class Delegation:
    """Reads the delegates from a log.

    Attributes:
        delegate: Name of the delegate, or "no delegate".
        partitions: Delegated parts of the graph; None where it is not told.
    """

    delegate: str
    partitions: int | None


def delegation(log: str, accelerator: str) -> Delegation:
    """Reads from a log which delegate of an accelerator was applied; names of other accelerators do not count."""
    matches = _DELEGATES[accelerator].search
    for name, partitions in re.findall(r"with delegate \(([^)]{1,80})\) node, yielding ([0-9]{1,6}) partitions", log):
        if matches(name):
            return Delegation("XNNPACK" if accelerator == "cpu" else name, int(partitions))
    explicit = re.search(r"xplicitly applied (\w+) delegate, and the model graph will be (\w+) executed", log)
    if explicit and matches(explicit[1]):
        kernels = re.search(r"w/ ([0-9]{1,6}) delegate kernels", log)
        return Delegation(explicit[1], int(kernels[1]) if kernels else 1)
    if accelerator == "cpu" and "Created TensorFlow Lite XNNPACK delegate" in log:
        return Delegation("XNNPACK", None)
    return Delegation("no delegate", 0)


@dataclass(frozen=True)
class Measured:
    """Measurements of one run of a program.

    Attributes:
        mean_ms: Mean of the timed inferences, in milliseconds.
        runs: Number of the runs.
    """

    mean_ms: float
    runs: int


def parse(log: str) -> Measured:
    """Reads the time of an inference from what a program printed.

    Classic: "Inference timings in us: …, Inference (avg): 33209.4" (before 2020: "no stats: 66767.6") after
    "count=50 first=…" lines. LiteRT: "Inference (avg):      7430.20 ms (10 runs)".

    Raises:
        ToolError: Neither stands there.
    """
    litert = re.search(rf"Inference \(avg\):\s+{_NUMBER} ms \(([0-9]{{1,9}}) runs\)", log)
    if litert:
        return Measured(float(litert[1]), int(litert[2]))
    classic = re.search(rf"timings in us:.*?(?:Inference \(avg\)|no stats): {_NUMBER}(?![\w.])", log)
    counts = re.findall("count=([0-9]{1,9}) ", log)
    if classic:
        return Measured(float(classic[1]) / 1e3, int(counts[-1]) if counts else 1)
    raise ToolError(f"benchmark_model printed no time that is known here; it said: {log[-600:].strip()}")
