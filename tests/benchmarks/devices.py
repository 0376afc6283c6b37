"""What it costs to validate over a connection: `mnedge validate` as a whole against the board's own inference time.

    python -m tests.benchmarks.devices MODEL.tflite ssh://pi@raspberrypi.local --data photos/labels.csv --images 800

The limit is the board's inference time plus 20 % plus 10 s. Inference time is measured on the board itself, by the
agent's own pool, without any connection; both are printed as seconds, and their ratio. The whole is the command as a
user types it, with an empty cache: start, decoding, connection, the host's own outputs, accuracy and parity.
"""

from __future__ import annotations

import argparse
import base64
import json
import os
import shlex
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from mnedge import devices
from mnedge.devices import _agent
from mnedge.devices.ssh import ENVIRONMENT, SshDevice

# Runs on the device: the agent's work without its wire.
_ALONE = """
import base64, json, os, sys, tempfile, time
given = json.loads(sys.stdin.readline())
agent = {"__name__": "mnedge_agent"}
exec(compile(given["agent"], "agent", "exec"), agent)
import numpy as np
class Silent:
    def send(self, *_): pass
    def send_json(self, *_): pass
with tempfile.NamedTemporaryFile() as model:
    model.write(base64.b64decode(given["model"]))
    model.flush()
    worker = agent["Agent"](Silent(), "")
    worker.model_path = model.name
    worker.load("litert", 1)
    spec = worker.first.info["input"]
    tensor = np.zeros(spec["shape"], spec["dtype"])
    pool = agent["ThreadPoolExecutor"](min(os.cpu_count() or 1, 4))
    list(pool.map(worker.infer, [tensor] * 8))
    begin = time.monotonic()
    list(pool.map(worker.infer, [tensor] * given["images"]))
    print(time.monotonic() - begin)
"""


def inference_s(device: SshDevice, path: Path, images: int) -> float:
    """Seconds that the device needs for the inferences alone."""
    given = {
        "agent": Path(_agent.__file__).read_text(),
        "model": base64.b64encode(path.read_bytes()).decode(),
        "images": images,
    }
    script = f'"{ENVIRONMENT}/bin/python" -c {shlex.quote(_ALONE)}'
    done = device.run(script, timeout_s=3600.0, stdin=json.dumps(given).encode() + b"\n")
    if done.returncode:
        sys.exit(done.last_words)
    return float(done.text)


def validate_s(given: argparse.Namespace) -> tuple[float, list[dict[str, Any]]]:
    """Seconds of the whole command, and its accuracy rows."""
    command = [sys.executable, "-m", "mnedge", "validate", given.model, "--data", given.data]
    command += ["--images", str(given.images), "--device", given.uri, "--json"]
    with tempfile.TemporaryDirectory() as cache:
        begin = time.monotonic()
        done = subprocess.run(command, check=True, stdout=subprocess.PIPE, env={**os.environ, "MNEDGE_CACHE": cache})
        total_s = time.monotonic() - begin
    rows: list[dict[str, Any]] = json.loads(done.stdout)["accuracy"]
    return total_s, rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("uri")
    parser.add_argument("--data", default="demo")
    parser.add_argument("--images", type=int, default=800)
    given = parser.parse_args()
    device = devices.get(given.uri)
    if not isinstance(device, SshDevice):
        sys.exit("this measures ssh:// devices")
    emulated = device.facts().emulated
    before_s = inference_s(device, given.model, given.images)
    total_s, (row,) = validate_s(given)
    if row["images"] != given.images:
        sys.exit(f"{given.data} has {row['images']} pictures only; pass --images {row['images']}")
    # Once more: a machine that drifts shows in the two.
    after_s = inference_s(device, given.model, given.images)
    alone_s = (before_s + after_s) / 2
    limit_s = 1.2 * alone_s + 10.0
    verdict = "kept" if total_s <= limit_s else "broken"
    sys.stdout.write(
        f"{row['images']} pictures{', emulated' * emulated}, top-1 {row['top1']:.4f}\n"
        f"inference alone {before_s:.1f} s before and {after_s:.1f} s after, all {total_s:.1f} s\n"
        f"ratio {total_s / alone_s:.2f}; limit {limit_s:.1f} s: {verdict}\n"
    )


if __name__ == "__main__":
    main()
