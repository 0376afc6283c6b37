"""int8 .tflite to a .tflite for an Arm Ethos-U, through Vela; its estimates are read from its CSV."""

from __future__ import annotations

import csv
import re
import shutil
import sys
from pathlib import Path
from typing import Literal

from mnedge import artifact, command, targets
from mnedge.errors import ToolError, UnsupportedError
from mnedge.formats.tflite_ops import ops_of
from mnedge.formats.tflite_read import VELA
from mnedge.results.compilation import VelaModel
from mnedge.results.stored import to_json

ADVICE = "pip install 'mnedge[ethos-u]' brings ethos-u-vela"
# Vela's own configuration names, of the kind of system that each generation is typically built into.
_SYSTEMS = {
    "ethos-u55": ("Ethos_U55_High_End_Embedded", "Shared_Sram"),
    "ethos-u65": ("Ethos_U65_High_End", "Dedicated_Sram"),
    "ethos-u85": ("Ethos_U85_SYS_DRAM_Mid", "Dedicated_Sram_384KB"),
}
_MEMORIES = ("sram", "dram", "on_chip_flash", "off_chip_flash")


def compile_vela(
    model: bytes,
    *,
    name: str,
    target: str,
    out: Path,
    model_sha256: str = "",
    optimise: Literal["Size", "Performance"] = "Size",
    force: bool = False,
) -> VelaModel:
    """Compiles an int8 .tflite with Vela; the folder appears whole or not at all.

    Args:
        model: The .tflite.
        name: Stem of the compiled file.
        target: Name of an ethos-u target.
        out: Folder to write: NAME_vela.tflite, Vela's CSV and manifest.json.
        model_sha256: Checksum of the .tflite, for the manifest.
        optimise: Vela's strategy; "Size" needs two to three times less SRAM.
        force: Write into a folder that is not an unchanged one of mnedge's.

    Raises:
        UnsupportedError: The target is no Ethos-U.
        ToolError: Vela is missing, or refuses the model.
    """
    accelerator = targets.get(target).accelerator
    if not accelerator:
        raise UnsupportedError(f"target {target} is no Ethos-U; `mnedge targets` lists those that are")
    system, memory = _SYSTEMS[accelerator.rpartition("-")[0]]
    # Vela runs in that folder, so that a relative path would lead elsewhere.
    with artifact.folder(out.resolve(), kind="compiled model", force=force) as folder:
        source = folder / f"{name}.tflite"
        source.write_bytes(model)
        argv: list[str | Path] = [
            program(),
            source,
            "--output-dir",
            folder,
            "--accelerator-config",
            accelerator,
            "--optimise",
            optimise,
        ]
        argv += [
            "--system-config",
            system,
            "--memory-mode",
            memory,
            "--config",
            "Arm/vela.ini",
            "--show-cpu-operations",
        ]
        finished = command.run(argv, check=False, cwd=folder)
        compiled = folder / f"{name}_vela.tflite"
        command.check_room(finished)
        if finished.returncode != 0 or not compiled.exists():
            raise ToolError(f"vela refuses {name} for {accelerator}: {finished.last_words}")
        source.unlink()
        path, row = _summary(folder)
        sizes = {kind: round(float(row[f"{kind}_memory_used"]) * 1024) for kind in _MEMORIES}
        flash = sizes["on_chip_flash"] + sizes["off_chip_flash"]
        manifest = VelaModel(
            name=name,
            target=target,
            accelerator=accelerator,
            system_config=system,
            memory_mode=memory,
            optimise=optimise,
            file=compiled.name,
            file_bytes=compiled.stat().st_size,
            arena_bytes=sizes["sram"],
            flash_bytes=flash or sizes["dram"],
            sram_bytes=sizes["sram"],
            dram_bytes=sizes["dram"],
            on_chip_flash_bytes=sizes["on_chip_flash"],
            off_chip_flash_bytes=sizes["off_chip_flash"],
            cycles=round(float(row["cycles_total"])),
            cycles_npu=round(float(row["cycles_npu"])),
            inference_ms=float(row["inference_time"]) * 1000,
            macs=int(float(row["nn_macs"])),
            summary=path.name,
            npu_operators=_count("NPU", finished.text),
            cpu_operators=_count("CPU", finished.text),
            cpu_ops=tuple(
                f"{op.kind} {op.output}".strip()
                for op in ops_of(compiled.read_bytes(), compiled.name)
                if not (op.is_custom and op.kind == VELA)
            ),
            model_sha256=model_sha256,
        )
        (folder / "manifest.json").write_text(to_json(manifest), encoding="utf-8")
    return manifest


def program() -> str:
    """The path of Vela.

    Raises:
        ToolError: It is missing.
    """
    beside = Path(sys.executable).with_name("vela")
    found = str(beside) if beside.exists() else shutil.which("vela")
    if found is None:
        raise ToolError(f"vela not found; {ADVICE}")
    return found


def _summary(folder: Path) -> tuple[Path, dict[str, str]]:
    """Vela's CSV and its last row, which is the network's, in KiB and seconds."""
    (path,) = folder.glob("*_summary_*.csv")
    with path.open(newline="") as stream:
        return path, list(csv.DictReader(stream))[-1]


def _count(place: str, text: str) -> int:
    """Returns the number of operators in a place: NPU or CPU."""
    match = re.search(rf"^{place} operators = (\d+)", text, re.MULTILINE)
    return int(match[1]) if match else 0
