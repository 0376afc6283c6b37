"""Arena, flash, stack and instructions of the microcontroller compiler, beside TFLM with CMSIS-NN.

Run by hand from the root: `python tests/benchmarks/mcu.py [MODEL.tflite …]`. Without arguments the three models of
MNEDGE_SHARED_DATA are compiled, for which TFLM with CMSIS-NN was measured on 2026-11-20 with the same compiler
(gcc 12.2 -O2) and the same emulator: TFLM 90b983c2b, CMSIS-NN 4ab83cc3; its arena holds the input too. Instructions
are executed ones, not cycles. The floor is the multiply-adds over the multiply-adds of one instruction: 2 for SMLAD on
Armv7E-M, 16 for VMLADAVA.S8 and 8 for VMUL.I16 on Armv8.1-M.
"""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from mnedge.codegen.compile import MemoryOptions, compile_c
from mnedge.formats.tflite_read import read_tflite

if TYPE_CHECKING:
    from mnedge.results.compilation import CSources

# Arena, flash and instructions on M4 and M55 of TFLM with CMSIS-NN.
TFLM = {
    "mlperf_tiny/vww_96_int8": (100_708, 417_348, 24_101_964, 6_558_781),
    "mcu/v2_0.35_96_int8_random": (212_660, 2_036_940, 49_040_151, 15_269_340),
    "mcu/v3small_0.75_224_int8_random": (488_916, 2_454_148, 295_250_283, 161_403_601),
}
TARGETS = ("cortex-m4", "cortex-m7", "cortex-m55", "generic")


def floor(manifest: CSources) -> int:
    """Instructions if every one of them did nothing but multiply and add at full width."""
    depthwise = sum(layer.macs for layer in manifest.layers if layer.op.startswith("DEPTHWISE"))
    dense = manifest.macs - depthwise
    return dense // 16 + depthwise // 8 if manifest.kernels == "mve" else manifest.macs // 2


def line(label: str, manifest: CSources, peer: tuple[int, ...] | None) -> str:
    """One row of the table; ratios are TFLM over ours."""
    cells = [
        f"{label:<44}",
        f"{manifest.arena_bytes:>9,}",
        f"{manifest.ram_bytes:>9,}",
        f"{manifest.flash_bytes or 0:>10,}",
    ]
    cells += [f"{manifest.stack_bytes or 0:>6,}", f"{(manifest.instructions or 0) / 1e6:>9.3f} M"]
    cells.append(f"{(manifest.instructions or 0) / max(floor(manifest), 1):>6.2f}")
    if peer is not None and manifest.instructions:
        theirs = peer[3] if manifest.kernels == "mve" else peer[2]
        cells.append(f"{theirs / manifest.instructions:>6.2f}")
        cells.append(f"{peer[0] / manifest.arena_bytes:>6.2f} {peer[0] / manifest.ram_bytes:>6.2f}")
    return " ".join(cells)


def main(paths: list[str]) -> None:
    """Compiles, runs and prints."""
    root = Path(os.environ.get("MNEDGE_SHARED_DATA", "../shared/data")) / "models"
    models = {path: Path(path) for path in paths} or {name: root / f"{name}.tflite" for name in TFLM}
    head = f"{'model, target, options':<44}     arena  with I/O      flash  stack instructions  floor"
    sys.stdout.write(f"{head}   TFLM  arena with I/O\n")
    for name, path in models.items():
        for target in TARGETS:
            settings = {
                "": MemoryOptions(),
                "stream_input": MemoryOptions(stream_input=True),
                "input_may_be_overwritten": MemoryOptions(input_may_be_overwritten=True),
            }
            for asked, options in settings.items():
                if asked and target != "cortex-m4":
                    continue
                with tempfile.TemporaryDirectory() as folder:
                    manifest = compile_c(
                        read_tflite(path),
                        name="model",
                        target=target,
                        out=Path(folder) / "c",
                        model=path.read_bytes(),
                        options=options,
                    )
                label = f"{Path(name).name} {target} {asked}"
                peer = TFLM.get(name) if target != "generic" else None
                sys.stdout.write(f"{line(label, manifest, peer)}\n")
                sys.stdout.flush()


if __name__ == "__main__":
    main(sys.argv[1:])
