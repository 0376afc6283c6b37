from pathlib import Path

import numpy as np
import pytest

from mnedge import devices
from mnedge.devices.local import LocalDevice
from mnedge.errors import InputError
from mnedge.formats.tflite_write import write_tflite
from mnedge.graph.graph import Graph
from mnedge.pixels import SYMMETRIC
from mnedge.runtimes import get
from mnedge.runtimes._runtime import encode, encoded


@pytest.mark.parametrize("workers", [1, 3])
def test_all_outputs_in_order(small_int8: Graph, tmp_path: Path, workers: int) -> None:
    path = tmp_path / "m.tflite"
    path.write_bytes(write_tflite(small_int8))
    images = np.random.default_rng(0).integers(0, 256, (40, 8, 8, 3)).astype(np.uint8)
    session = get("litert").open(path, 1)
    expected = [session.run(encode(image[None], session.input, SYMMETRIC))[0] for image in images]
    with LocalDevice(workers=workers).load(path, "") as model:
        found = [outputs[0] for outputs in model.run(encoded(iter(images), model.info.input, SYMMETRIC), len(images))]
    assert np.array_equal(np.stack(found), np.stack(expected))


def test_an_unknown_scheme_lists_the_known() -> None:
    with pytest.raises(InputError, match=r"unknown device 'shh'; did you mean 'ssh'"):
        devices.get("shh://pi@board")


def test_an_error_in_reading_ends_the_run(small_int8: Graph, tmp_path: Path) -> None:
    path = tmp_path / "m.tflite"
    path.write_bytes(write_tflite(small_int8))

    def images():  # noqa: ANN202 - a generator
        yield np.zeros((8, 8, 3), np.uint8)
        raise InputError("broken picture")

    with LocalDevice().load(path, "") as model, pytest.raises(InputError, match="broken picture"):
        list(model.run(encoded(images(), model.info.input, SYMMETRIC), 2))
