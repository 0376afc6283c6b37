"""Every target is plain data that the rest of the program can follow."""

from __future__ import annotations

import pytest

from mnedge import registry, targets
from mnedge.errors import InputError

NAMES = registry.names("mnedge.targets")


@pytest.mark.parametrize("name", NAMES)
def test_what_a_target_names_exists(name: str) -> None:
    target = targets.get(name)
    assert target.description
    assert "tflite" in target.formats, "everything else is made from the .tflite"
    assert set(target.formats) <= {"tflite", "onnx", "c", "vela"}
    assert set(target.runtimes) <= set(registry.names("mnedge.runtimes"))
    assert {*target.passes, *target.int8_passes, *target.onnx_passes} <= set(registry.names("mnedge.passes"))
    assert ("onnx" in target.formats) == ("onnxruntime" in target.runtimes)


@pytest.mark.parametrize("name", NAMES)
def test_kernels_and_accelerators_go_with_their_formats(name: str) -> None:
    target = targets.get(name)
    assert bool(target.kernels) == ("c" in target.formats)
    assert bool(target.accelerator) == ("vela" in target.formats)
    if target.device:
        assert target.kernels
        assert target.device == f"qemu://{name}"


@pytest.mark.parametrize("name", [name for name in NAMES if name.startswith("cortex-m")])
def test_a_microcontroller_has_memory(name: str) -> None:
    target = targets.get(name)
    assert target.ram_bytes >= 64 << 10
    assert target.flash_bytes >= 256 << 10


@pytest.mark.parametrize("name", [name for name in NAMES if name.startswith("ethos-u")])
def test_an_accelerator_is_called_as_vela_calls_it(name: str) -> None:
    pytest.importorskip("ethosu.vela")
    from ethosu.vela.architecture_features import Accelerator

    assert targets.get(name).accelerator == name
    assert name in Accelerator.member_list()


def test_an_unknown_target_names_the_nearest() -> None:
    with pytest.raises(InputError, match=r"unknown target 'cortex-m8'; did you mean 'cortex-m"):
        targets.get("cortex-m8")
