"""What it costs to validate over a connection: total time against the device's own inference time.

    python -m tests.benchmarks.devices MODEL.tflite ssh://pi@raspberrypi.local --images 800

The limit is the device's inference time plus 20 % plus 10 s. Inference time is measured on the device itself, by the
agent's own pool on random input, without any connection; both are printed as seconds and their ratio.
"""

from __future__ import annotations

import argparse
import base64
import json
import os
import shlex
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("uri")
    parser.add_argument("--images", type=int, default=800)
    given = parser.parse_args()
    device = devices.get(given.uri)
    if not isinstance(device, SshDevice):
        sys.exit("this measures ssh:// devices")
    alone_s = inference_s(device, given.model, given.images)
    with tempfile.TemporaryDirectory() as folder:
        os.environ["MNEDGE_CACHE"] = folder
        begin = time.monotonic()
        again = devices.get(given.uri)  # a new connection, as the command makes one
        with again.load(given.model, "") as model:
            side = model.info.input.shape[1]
            # Each picture another one: equal chunks would be computed once.
            generator = np.random.default_rng(0)
            pictures = (generator.integers(0, 256, (side, side, 3), np.uint8) for _ in range(given.images))
            assert sum(1 for _ in model.run(pictures, given.images)) == given.images
            emulated = model.info.emulated
        total_s = time.monotonic() - begin
    limit_s = 1.2 * alone_s + 10.0
    verdict = "kept" if total_s <= limit_s else "broken"
    sys.stdout.write(
        f"{given.images} pictures{', emulated' * emulated}: inference alone {alone_s:.1f} s, all {total_s:.1f} s\n"
        f"ratio {total_s / alone_s:.2f}; limit {limit_s:.1f} s: {verdict}\n"
    )


if __name__ == "__main__":
    main()
