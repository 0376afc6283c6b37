"""The main job as whole processes: start-up, the README's build against a plain script, evaluation, opening files.

    python tests/benchmarks/main_job.py [--rounds 5]

Everything is run in turns in one call; ratios are pair by pair, with their 95 % interval (bootstrap of the median).
The plain script does what the README's build does with the stock converter and nothing more: Keras model with the same
weights, float and int8 .tflite, accuracy of both in one interpreter.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from typer import echo

_ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(_ROOT))
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

_PLAIN = """
import os, sys
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
import numpy as np, tensorflow as tf
from mnedge.data import open_dataset
from mnedge.models import Variant
from mnedge.models.build import build_model
from ai_edge_litert.interpreter import Interpreter
data = open_dataset("demo")
model = build_model(Variant("v3-small", 1.0, 96, 10), "demo")
images, _ = data.pixels(data.split("calibration"), 96)
images = images / np.float32(127.5) - 1
concrete = tf.function(lambda image: model(image)).get_concrete_function(tf.TensorSpec((1, 96, 96, 3), tf.float32))
from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2
frozen = convert_variables_to_constants_v2(concrete)
plain = tf.lite.TFLiteConverter.from_concrete_functions([frozen]).convert()
converter = tf.lite.TFLiteConverter.from_concrete_functions([frozen])
converter.optimizations = [tf.lite.Optimize.DEFAULT]
converter.representative_dataset = lambda: ([image[None]] for image in images)
converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
converter.inference_input_type = converter.inference_output_type = tf.int8
quantized = converter.convert()
pixels, labels = data.pixels(data.split("eval"), 96)
for content in (plain, quantized):
    interpreter = Interpreter(model_content=content)
    interpreter.allocate_tensors()
    source, result = interpreter.get_input_details()[0], interpreter.get_output_details()[0]
    hits = 0
    for picture, label in zip(pixels, labels):
        real = picture[None] / np.float32(127.5) - 1
        if source["dtype"] == np.int8:
            scale, zero = source["quantization"]
            real = np.clip(np.round(real / scale) + zero, -128, 127).astype(np.int8)
        interpreter.set_tensor(source["index"], real)
        interpreter.invoke()
        hits += int(interpreter.get_tensor(result["index"])[0].argmax() == label)
    print(hits / len(labels), file=sys.stderr)
"""


def whole_process(words: list[str]) -> tuple[float, float]:
    """Wall time (s) and peak memory (MiB, of the largest process) of a program."""
    with tempfile.TemporaryDirectory() as folder:
        environment = {**os.environ, "MNEDGE_CACHE": f"{folder}/cache", "PYTHONPATH": str(_ROOT)}
        probe = (
            "import resource, subprocess, sys, time; t = time.monotonic(); "
            "subprocess.run(sys.argv[1:], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL); "
            "print(time.monotonic() - t, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024)"
        )
        done = subprocess.run(
            [sys.executable, "-c", probe, *words],
            cwd=folder,
            env=environment,
            capture_output=True,
            text=True,
            check=True,
        )
    wall, memory = done.stdout.split()
    return float(wall), float(memory)


def interval(ratios: list[float]) -> str:
    """Median of ratios and its 95 % bootstrap interval."""
    rng = np.random.default_rng(0)
    medians = np.median(rng.choice(ratios, (2000, len(ratios))), axis=1)
    low, high = np.percentile(medians, [2.5, 97.5])
    return f"{np.median(ratios):.2f} [{low:.2f}, {high:.2f}]"


def start_up(rounds: int) -> None:
    """`mnedge --help` beside a Python that does nothing."""
    times: list[float] = []
    bare: list[float] = []
    for _ in range(4 * rounds):
        times.append(whole_process([sys.executable, "-m", "mnedge", "--help"])[0])
        bare.append(whole_process([sys.executable, "-c", ""])[0])
    echo(f"mnedge --help: median {np.median(times):.3f} s; a bare Python: {np.median(bare):.3f} s")


def builds(rounds: int) -> None:
    """The README's build beside the plain script."""
    ours = [sys.executable, "-m", "mnedge", "build", "--variant", "v3-small", "--int8"]
    plain = [sys.executable, "-c", _PLAIN]
    pairs = [(whole_process(ours), whole_process(plain)) for _ in range(rounds)]
    for place, unit in enumerate(("s wall", "MiB peak")):
        one, other = [pair[0][place] for pair in pairs], [pair[1][place] for pair in pairs]
        ratio = interval([a / b for a, b in zip(one, other, strict=True)])
        echo(f"README build {np.median(one):.1f} {unit}, plain script {np.median(other):.1f}; ratio {ratio}")


def throughput(rounds: int) -> None:
    """Evaluation of pictures from disk beside a single interpreter in a loop (decode, run, decode, run, …)."""
    from mnedge.data import open_dataset
    from mnedge.devices.local import LocalDevice
    from mnedge.formats.keras import keras_to_graph
    from mnedge.formats.tflite_write import write_tflite
    from mnedge.models import Variant
    from mnedge.models.build import build_model
    from mnedge.pixels import SYMMETRIC
    from mnedge.runtimes import get
    from mnedge.runtimes._runtime import encode
    from mnedge.validation.predict import predict

    with tempfile.TemporaryDirectory() as folder:
        photos = _photos(Path(folder) / "photos")
        path = Path(folder) / "m.tflite"
        path.write_bytes(write_tflite(keras_to_graph(build_model(Variant("v2", 1.0, 224, 10), "random"))))
        dataset = open_dataset(str(photos))
        numbers = np.arange(dataset.labels.size)
        session = get("litert").open(path, 1)
        ratios, rates = [], []
        for _ in range(2 * rounds):
            started = time.perf_counter()
            for number in numbers.tolist():
                session.run(encode(dataset.read(number, 224)[None], session.input, SYMMETRIC))
            single = time.perf_counter() - started
            started = time.perf_counter()
            predict(path, dataset, numbers, device=LocalDevice())
            parallel = time.perf_counter() - started
            ratios.append(single / parallel)
            rates.append(numbers.size / parallel)
    echo(f"evaluation: {np.median(rates):.0f} images/s, {interval(ratios)} times a single interpreter in a loop")


def openings(rounds: int) -> None:
    """Opening a file in the fork of a process that has imported the runtime, beside a new process for each file."""
    from contextlib import closing

    from mnedge.formats.keras import keras_to_graph
    from mnedge.formats.onnx_write import write_onnx
    from mnedge.formats.tflite_write import write_tflite
    from mnedge.models import Variant
    from mnedge.models.build import build_model
    from mnedge.runtimes import _session, open_session

    def opened_s(runtime: str, path: Path) -> float:
        started = time.perf_counter()
        with closing(open_session(runtime, path, 1)):
            return time.perf_counter() - started

    graph = keras_to_graph(build_model(Variant("v1", 0.25, 96, 10), "random"))
    with tempfile.TemporaryDirectory() as folder:
        for runtime, name, data in (
            ("litert", "m.tflite", write_tflite(graph)),
            ("onnxruntime", "m.onnx", write_onnx(graph)),
        ):
            path = Path(folder) / name
            path.write_bytes(data)
            forked, started = [], []
            for _ in range(4 * rounds):
                while _session._IDLE_TO_FORK:
                    _session._IDLE_TO_FORK.pop().end()
                started.append(opened_s(runtime, path))
                forked.append(opened_s(runtime, path))
            ratio = interval([a / b for a, b in zip(started, forked, strict=True)])
            fork, process = (f"{np.median(times) * 1e3:.0f} ms" for times in (forked, started))
            echo(f"{runtime} opens a file in {fork} in a fork, {process} in a process of its own; ratio {ratio}")


def _photos(root: Path) -> Path:
    from PIL import Image

    rng = np.random.default_rng(0)
    for number in range(300):
        path = root / f"class_{number % 10}" / f"{number}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        small = rng.integers(0, 256, (12, 12, 3)).astype(np.uint8)
        Image.fromarray(small).resize((320, 256), Image.Resampling.BICUBIC).save(path)
    return root


def main() -> None:
    """Measures what was asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", choices=("start-up", "build", "throughput", "openings"))
    given = parser.parse_args()
    parts = {"start-up": start_up, "build": builds, "throughput": throughput, "openings": openings}
    for name, part in parts.items():
        if given.only in (None, name):
            part(given.rounds)


if __name__ == "__main__":
    main()
