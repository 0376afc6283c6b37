"""HDF5 of others, looked through before it is loaded: no data outside the file, no arrays far larger than it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mnedge.errors import InputError

if TYPE_CHECKING:
    import h5py

MOST_BYTES = 2 << 30
CONFIG_BYTES = 64 << 20
_MOST_DEPTH = 32
_MOST_OBJECTS = 1_000_000
# Weights hardly shrink when they are compressed; zeros may, and small arrays of them cost nothing.
_MOST_SHRUNK = 100
_FREE_BYTES = 64 << 20


def check_hdf5(file: h5py.File, source: str) -> int:
    """Refuses HDF5 that reads other files, or whose arrays are far larger than their stored bytes.

    Args:
        file: The open file; only its structure is read.
        source: Its name in errors.

    Returns:
        The number of values in all its arrays.

    Raises:
        InputError: A link out of the file, values that are stored outside, an array of more than 100 times its stored
            bytes, more than 2 GiB in all, a configuration above 64 MiB, or groups within 32 others.
    """
    import h5py

    waiting: list[tuple[h5py.Group, int]] = [(file, 0)]
    seen = {_address(file)}
    declared = stored = values = 0
    while waiting:
        group, depth = waiting.pop()
        if depth > _MOST_DEPTH or len(seen) > _MOST_OBJECTS:
            raise InputError(
                f"{source} nests deeper than {_MOST_DEPTH} groups, or has more than {_MOST_OBJECTS:,}; save it again"
            )
        for name in group:
            link = group.get(name, getlink=True)
            item = group.get(name) if isinstance(link, h5py.HardLink) else None
            if item is None or (isinstance(item, h5py.Dataset) and (item.external or item.is_virtual)):
                raise InputError(f"{source} refers to data outside itself ({group.name}/{name}); save the whole model")
            # A group may hold itself under another name.
            if _address(item) in seen:
                continue
            seen.add(_address(item))
            if isinstance(item, h5py.Group):
                waiting.append((item, depth + 1))
            elif isinstance(item, h5py.Dataset):
                size, kept = int(item.nbytes), int(item.id.get_storage_size())
                declared, stored, values = declared + size, stored + kept, values + int(item.size or 0)
                if size > max(_FREE_BYTES, _MOST_SHRUNK * kept) or declared > MOST_BYTES:
                    raise InputError(
                        f"{source} says that {group.name}/{name} has {size:,} bytes, and holds {kept:,} of them; an "
                        f"array has at most {_MOST_SHRUNK} times what is stored, all at most {MOST_BYTES:,} bytes: "
                        "save the model again"
                    )
    _check_configuration(file, source, stored)
    return values


def _check_configuration(file: h5py.File, source: str, stored: int) -> None:
    if "model_config" not in file.attrs:
        return
    # Text of any length lies beside the arrays, and HDF5 does not say its length before it is read.
    most = max(file.attrs.get_id("model_config").get_storage_size(), int(file.id.get_filesize()) - stored)
    if most > CONFIG_BYTES:
        raise InputError(f"the configuration in {source} is larger than {CONFIG_BYTES:,} bytes, the limit")


def _address(item: h5py.Group | h5py.Dataset) -> int:
    import h5py

    return int(h5py.h5o.get_info(item.id).addr)
