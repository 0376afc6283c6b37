#!/usr/bin/python3
# ruff: noqa: T201, BLE001
"""Stands in for TensorFlow Lite's benchmark_model, which cannot be had as a package.

It takes that program's flags and prints its lines, but the real LiteRT computes, on the real files.
"""

import sys
import time
from pathlib import Path

FLAGS = """usage: benchmark_model <flags>
Flags:
\t--num_threads=-1
\t--graph=
\t--input_layer_value_files=
\t--output_filepath=
\t--use_gpu=false
\t--use_nnapi=false
"""
given = dict(word[2:].partition("=")[::2] for word in sys.argv[1:])
if "graph" not in given:
    print(FLAGS, file=sys.stderr)
    sys.exit(1)

import numpy as np  # noqa: E402 - slow to load under emulation, and --help needs none of it
from ai_edge_litert.interpreter import Interpreter  # noqa: E402

print("INFO: STARTING!")
try:
    interpreter = Interpreter(given["graph"], num_threads=int(given.get("num_threads", 1)))
    interpreter.allocate_tensors()
except Exception as exc:
    print(f"ERROR: {exc}\nERROR: Failed to load graph {given['graph']}\nERROR: Benchmarking failed.", file=sys.stderr)
    sys.exit(1)
nodes = len(interpreter._get_ops_details())
print("INFO: Created TensorFlow Lite XNNPACK delegate for CPU.", file=sys.stderr)
print(
    f"VERBOSE: Replacing {nodes} out of {nodes} node(s) with delegate (TfLiteXNNPackDelegate) node, "
    "yielding 1 partitions."
)
(details,) = interpreter.get_input_details()
if "input_layer_value_files" in given:
    name, _, file = given["input_layer_value_files"].partition(":")
    assert name == details["name"] == given["input_layer"]
    tensor = np.frombuffer(Path(file).read_bytes(), details["dtype"]).reshape(details["shape"])
else:
    tensor = np.zeros(details["shape"], details["dtype"])
interpreter.set_tensor(details["index"], tensor)
times_us: list[float] = []
deadline = time.monotonic() + float(given.get("min_secs", 1))
while len(times_us) < int(given.get("num_runs", 50)) or time.monotonic() < deadline:
    begin = time.perf_counter_ns()
    interpreter.invoke()
    times_us.append((time.perf_counter_ns() - begin) / 1e3)
mean = sum(times_us) / len(times_us)
print(
    f"INFO: count={len(times_us)} first={times_us[0]:.0f} curr={times_us[-1]:.0f} min={min(times_us):.0f} avg={mean:g}"
)
print(f"INFO: Inference timings in us: Init: 1, First inference: 1, Warmup (avg): 1, Inference (avg): {mean:g}")
if "output_filepath" in given:
    outputs = [interpreter.get_tensor(output["index"]).tobytes() for output in interpreter.get_output_details()]
    Path(given["output_filepath"]).write_bytes(b"".join(outputs))
