"""Raspberry Pi: models, labels, a program that does what the model is for, and a systemd unit."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from mnedge.bundles._app import SHIPPED, app_of, lacking
from mnedge.bundles._bundle import Bundle, described
from mnedge.bundles._signature import SIGNATURE
from mnedge.data.detections import METADATA, of_metadata
from mnedge.errors import UnsupportedError
from mnedge.formats.tflite_read import parse_tflite

if TYPE_CHECKING:
    from pathlib import Path

    from mnedge.bundles._bundle import Parts

# Options, models, pictures and cameras of every program.
_SHARED = tuple(SHIPPED / f"_{name}.py" for name in ("program", "models", "pictures", "cameras", "video4linux"))
# The program's needs and no more; the versions are those that the model was measured with.
_NEEDS = ("ai-edge-litert", "numpy", "pillow")

_UNIT = """[Unit]
Description=@SLUG@: says what the camera sees, one line every 10 seconds in the journal
After=multi-user.target

[Service]
ExecStart=/opt/@SLUG@/venv/bin/python /opt/@SLUG@/@PROGRAM@ --camera --every 10 --json
Restart=on-failure
RestartSec=10
# How it ends when it is stopped.
SuccessExitStatus=143
DynamicUser=yes
SupplementaryGroups=video
NoNewPrivileges=yes
ProtectSystem=strict
ProtectHome=yes
PrivateTmp=yes

[Install]
WantedBy=multi-user.target
"""

_INSTALL = SHIPPED / "_install.sh"

_README = """# @SLUG@ for the Raspberry Pi

    python3 -m venv venv && venv/bin/pip install -r requirements.txt
    venv/bin/python @PROGRAM@ photo.jpg

Raspberry Pi OS (64 bit), bookworm or later. `@PROGRAM@ --help` says the rest: folders, cameras, JSON.

    venv/bin/python @PROGRAM@ --camera              a picture from the camera there is
    venv/bin/python @PROGRAM@ --camera usb --stream  as many as it can, with how many a second

A camera at the board's connector (`--camera csi`) is read through picamera2 where this Python has it, else through
rpicam-still and rpicam-vid (`sudo apt install rpicam-apps`); one at USB (`--camera usb`, or `/dev/video0`) needs
nothing.
picamera2 comes with the system (`sudo apt install python3-picamera2`): make the environment with
`python3 -m venv --system-site-packages venv` then, as install.sh does.

`sudo ./install.sh` puts it to /opt/@SLUG@ with a systemd unit that looks through the camera every ten seconds:
`sudo systemctl enable --now @SLUG@`, `journalctl -fu @SLUG@`. Run the install.sh of a new version for an update: the
service is started anew.

| file | what it is |
|---|---|
| `@SLUG@.int8.tflite` | the model; `@PROGRAM@` runs it with LiteRT on XNNPACK |
| `@SLUG@.int8.onnx` | where it is there: the same for ONNX Runtime, `--model @SLUG@.int8.onnx` |
| `program.py`, `models.py` | options, and running the model |
| `pictures.py`, `cameras.py`, `video4linux.py` | reading and taking pictures |
| `model.json` | size, pixels, preprocessing and, of a detector, anchors that the model was measured with |
| `manifest.json` | checksums; `mnedge verify` checks them |
"""


def _write(parts: Parts, folder: Path) -> None:
    if app_of(parts).names_classes and (parts.head in ("numbers", "map") or not parts.labels):
        raise UnsupportedError(
            f"{parts.slug} gives {parts.head} without labels, and classify.py says names of classes; build the model "
            "with --labels, or ship the .tflite itself"
        )
    model = f"{parts.slug}.int8.tflite"
    (folder / model).write_bytes(parts.tflite("int8"))
    models = {model: described(parts.pixels)}
    if parts.onnx is not None:
        (folder / f"{parts.slug}.int8.onnx").write_bytes(parts.onnx.read_bytes())
        models[f"{parts.slug}.int8.onnx"] = described(parts.onnx_pixels())
    source = app_of(parts).program
    if source is None:
        raise lacking(parts, "program")
    program = _name(source)
    about: dict[str, object] = {"model": model, "program": program, "head": parts.head, **_prepared(parts)}
    about |= parts.told_threshold
    about["models"] = models
    anchors = parse_tflite(parts.tflite("int8"), model).metadata.get(METADATA)
    if anchors is not None:
        about["detection"] = of_metadata(anchors).as_json()
    pinned = [f"{name}=={parts.tools[name]}" for name in _NEEDS if name in parts.tools]
    texts = {
        "README.md": _README,
        f"{parts.slug}.service": _UNIT,
        **{_name(path): path.read_text(encoding="utf-8") for path in (*_SHARED, source)},
        "install.sh": _INSTALL.read_text(encoding="utf-8"),
        **({"labels.txt": parts.labels_text} if parts.labels else {}),
        "model.json": json.dumps(about, indent=2) + "\n",
        "requirements.txt": "".join(f"{pin}\n" for pin in pinned),
    }
    for name, text in texts.items():
        filled = text.replace("@SLUG@", parts.slug).replace("@PROGRAM@", program).replace("@SIGNATURE@", SIGNATURE)
        (folder / name).write_text(filled, encoding="utf-8")
    for name in (program, "install.sh"):
        mode = (folder / name).stat().st_mode
        # Who may read it may run it.
        (folder / name).chmod(mode | (mode & 0o444) >> 2)


def _prepared(parts: Parts) -> dict[str, object]:
    """Resizing and cropping of a picture; the range of its pixels is stated model by model."""
    return {name: value for name, value in parts.described_input.items() if name != "pixels"}


def _name(program: Path) -> str:
    return program.name.removeprefix("_")


BUNDLE = Bundle(write=_write, has_archive=True)
