"""Transfer learning end to end: float top-1 after `mnedge train`, int8 top-1 after `mnedge build`, time and CPU.

    python tests/benchmarks/transfer.py [--resolution 96] [--data tf_flowers] [--weights FILE] [--epochs N]

Data: small/tf_flowers of the shared data (3,670 photos, 5 flowers), trained on its train split, measured on its val
split by LiteRT, float and int8 on the same pictures. A cache of its own, so nothing comes from an earlier run.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from click import echo

ROOT = Path(__file__).parent.parent.parent
SHARED = Path(os.environ.get("MNEDGE_SHARED_DATA") or ROOT.parent / "shared" / "data")
WEIGHTS = "mobilenet_v2_weights_tf_dim_ordering_tf_kernels_0.35_224_no_top.h5"


def run(args: list[str], cache: Path) -> tuple[dict[str, Any], float, float]:
    """Runs mnedge; gives its JSON, the wall seconds and the CPU seconds of it and its children."""
    environment = {**os.environ, "MNEDGE_CACHE": str(cache), "PYTHONPATH": str(ROOT)}
    before, started = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    done = subprocess.run(
        [sys.executable, "-m", "mnedge", *args, "--json"], env=environment, check=True, stdout=subprocess.PIPE
    )
    wall = time.monotonic() - started
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return json.loads(done.stdout), wall, cpu


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--resolution", default="96")
    parser.add_argument("--data", default=str(SHARED / "small" / "tf_flowers"))
    parser.add_argument("--weights", default=str(SHARED / "weights" / WEIGHTS))
    parser.add_argument("--variant", default="v2")
    parser.add_argument("--alpha", default="0.35")
    parser.add_argument("--train-flags", default="", help="Further flags of `mnedge train`.")
    chosen = parser.parse_args()
    network = ["--variant", chosen.variant, "--alpha", chosen.alpha, "--resolution", chosen.resolution]
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        model = str(folder / "my.keras")
        train = ["train", *network, "--data", chosen.data, "--weights", chosen.weights, "--out", model]
        trained, wall, cpu = run([*train, *chosen.train_flags.split()], folder / "cache")
        build = ["build", *network, "--data", chosen.data, "--weights", model, "--int8", "--out", str(folder / "out")]
        built, build_wall, build_cpu = run(build, folder / "cache")
    by_name = {row["artifact"]: row["top1"] for row in built["accuracy"] if row["artifact"].endswith(".tflite")}
    precision = {"fp32": 0.0, "int8": 0.0}
    precision |= {kind: value for kind in precision for name, value in by_name.items() if f".{kind}." in name}
    frozen = max(row["scores"]["top1"] for row in trained["history"] if row["phase"] == "head")
    last = trained["history"][-1]["scores"]["top1"]
    echo(f"{chosen.variant} {chosen.alpha} at {chosen.resolution} px on {chosen.data}")
    echo(f"  frozen backbone      top-1 {frozen:.2%}")
    echo(f"  fine-tuned, float    top-1 {precision['fp32']:.2%} (the last epoch: {last:.2%})")
    echo(f"  int8 (ptq)           top-1 {precision['int8']:.2%}: {precision['int8'] - precision['fp32']:+.2%}")
    echo(f"  train {wall:.0f} s ({cpu:.0f} CPU seconds), build {build_wall:.0f} s ({build_cpu:.0f} CPU seconds)")


if __name__ == "__main__":
    main()
