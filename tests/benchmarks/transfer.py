"""Transfer learning end to end: float after `mnedge train`, int8 after `mnedge build`, their speed, time and CPU.

    python tests/benchmarks/transfer.py [--task classify] [--resolution 96] [--data FOLDER] [--weights FILE]
                                        [--train-flags "--epochs N"]

Data of the shared folder: small/tf_flowers (3,670 photos, 5 flowers) to classify and embed, small/bccd (364 pictures,
4,886 boxes) to detect, small/pets_segmentation (599 photos with masks) to segment. Trained on the train split, measured
on the val split by LiteRT, float and int8 on the same pictures. A cache of its own: nothing comes from an earlier run.
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

from typer import echo

ROOT = Path(__file__).parent.parent.parent
SHARED = Path(os.environ.get("MNEDGE_SHARED_DATA") or ROOT.parent / "shared" / "data")
# Task: its data, and the side of the input.
CASES = {
    "classify": ("tf_flowers", "96"),
    "detect": ("bccd", "224"),
    "embed": ("tf_flowers", "96"),
    "segment": ("pets_segmentation", "224"),
}
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
    parser.add_argument("--task", default="classify", choices=CASES)
    parser.add_argument("--resolution")
    parser.add_argument("--data")
    parser.add_argument("--weights", default=str(SHARED / "weights" / WEIGHTS))
    parser.add_argument("--variant", default="v2")
    parser.add_argument("--alpha", default="0.35")
    parser.add_argument("--train-flags", default="", help="Further flags of `mnedge train`.")
    chosen = parser.parse_args()
    name, side = CASES[chosen.task]
    data, side = chosen.data or str(SHARED / "small" / name), chosen.resolution or side
    network = ["--task", chosen.task, "--variant", chosen.variant, "--alpha", chosen.alpha, "--resolution", side]
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        model = str(folder / "my.keras")
        train = ["train", *network, "--data", data, "--weights", chosen.weights, "--out", model]
        trained, wall, cpu = run([*train, *chosen.train_flags.split()], folder / "cache")
        build = ["build", *network, "--data", data, "--weights", model, "--int8", "--out", str(folder / "out")]
        built, build_wall, build_cpu = run(build, folder / "cache")
    metric = trained["metric"]
    scored, timed = ({row["artifact"]: row for row in built[table]} for table in ("accuracy", "latency"))
    exact, int8 = (f"{built['slug']}.{precision}.tflite" for precision in ("fp32", "int8"))
    before, after = scored[exact][metric], scored[int8][metric]
    frozen = max(row["scores"][metric] for row in trained["history"] if row["phase"] == "head")
    last = trained["history"][-1]["scores"][metric]
    echo(f"{chosen.task}: {chosen.variant} {chosen.alpha} at {side} px on {data}")
    echo(f"  frozen backbone      {metric} {frozen:.2%}")
    echo(f"  fine-tuned, float    {metric} {before:.2%} (the last epoch: {last:.2%})")
    echo(f"  int8 (ptq)           {metric} {after:.2%}: {after - before:+.2%}")
    echo(f"  int8 is {timed[exact]['p50_ms'] / timed[int8]['p50_ms']:.2f} times as fast as float, by their medians")
    echo(f"  train {wall:.0f} s ({cpu:.0f} CPU seconds), build {build_wall:.0f} s ({build_cpu:.0f} CPU seconds)")


if __name__ == "__main__":
    main()
