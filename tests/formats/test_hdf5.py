from pathlib import Path

import h5py
import numpy as np
import pytest

from mnedge.errors import InputError
from mnedge.formats.hdf5 import check_hdf5


def _checked(path: Path) -> None:
    with h5py.File(path) as file:
        check_hdf5(file, "m.h5")


def test_weights_pass(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "x.h5", "w") as file:
        file["a/b/kernel"] = np.ones((3, 3, 8), np.float32)
        file.create_dataset("a/zeros", (1000, 1000), "f4", compression="gzip")
        file.attrs["model_config"] = "{}"
    _checked(tmp_path / "x.h5")


def test_data_of_other_files_is_refused(tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(b"password")
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file["x"] = np.ones(4, np.uint8)
    layout = h5py.VirtualLayout((4,), "u1")
    layout[:] = h5py.VirtualSource(tmp_path / "other.h5", "x", (4,))
    for number, add in enumerate((
        lambda file: file.create_dataset("a/x", (8,), "u1", external=[(str(tmp_path / "secret"), 0, 8)]),
        lambda file: file.create_virtual_dataset("x", layout),
        lambda file: file.__setitem__("a/x", h5py.ExternalLink(str(tmp_path / "other.h5"), "x")),
        lambda file: file.__setitem__("x", h5py.SoftLink("/gone")),
    )):  # fmt: skip
        path = tmp_path / f"{number}.h5"
        with h5py.File(path, "w") as file:
            add(file)
        with pytest.raises(InputError, match="refers to data outside itself"):
            _checked(path)


def test_arrays_far_larger_than_the_file_are_refused(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "x.h5", "w") as file:
        file.create_dataset("layer/kernel", (40_000, 40_000), "f4", chunks=(100, 100))
    with pytest.raises(InputError, match=r"layer/kernel has 6,400,000,000 bytes, and holds 0 of them"):
        _checked(tmp_path / "x.h5")
    with h5py.File(tmp_path / "y.h5", "w") as file:
        for number in range(40):
            file.create_dataset(f"{number}", (4000, 4000), "f4", chunks=(100, 100))
    with pytest.raises(InputError, match=r"all at most 2,147,483,648 bytes"):
        _checked(tmp_path / "y.h5")


def test_groups_that_hold_themselves_end(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "x.h5", "w") as file:
        group = file.create_group("a")
        for number in range(20):
            group[f"again{number}"] = group
    _checked(tmp_path / "x.h5")
    with h5py.File(tmp_path / "y.h5", "w") as file:
        file.create_group("/".join("a" * 40))
    with pytest.raises(InputError, match="nests deeper than 32 groups"):
        _checked(tmp_path / "y.h5")


def test_a_configuration_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mnedge.formats.hdf5.CONFIG_BYTES", 60_000)
    for kind in (h5py.string_dtype(), "S"):
        with h5py.File(tmp_path / "x.h5", "w", libver="latest") as file:
            file.attrs.create("model_config", b"x" * 70_000, dtype=None if kind == "S" else kind)
        with pytest.raises(InputError, match=r"the configuration in m\.h5 is larger than 60,000 bytes"):
            _checked(tmp_path / "x.h5")
