"""Names for values of which only the running program knows the type; the few places that may say `Any`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

# An array of the dtype that a tensor has in the file that was read.
AnyArray: TypeAlias = "NDArray[Any]"
AnyFloats: TypeAlias = "NDArray[np.floating[Any]]"
AnyInts: TypeAlias = "NDArray[np.integer[Any]]"

# A value of JSON or YAML.
Json: TypeAlias = "dict[str, Json] | list[Json] | str | int | float | bool | None"
JsonObject: TypeAlias = "dict[str, Json]"
