import sys

import pytest

from mnedge import registry
from mnedge.errors import InputError
from mnedge.targets import Target, get


def test_names_are_file_names_with_dashes() -> None:
    names = registry.names("mnedge.targets")
    assert "cortex-m4" in names
    assert not any(name.startswith("-") for name in names)


def test_listing_imports_nothing() -> None:
    sys.modules.pop("mnedge.targets.generic", None)
    registry.names("mnedge.targets")
    assert "mnedge.targets.generic" not in sys.modules


def test_unknown_name_lists_the_known() -> None:
    with pytest.raises(InputError, match=r"unknown target 'cortex-m5'; did you mean 'cortex-m55'.*Known: "):
        get("cortex-m5")


@pytest.mark.parametrize("name", registry.names("mnedge.targets"))
def test_every_target_names_things_that_exist(name: str) -> None:
    target = get(name)
    assert isinstance(target, Target)
    assert set(target.runtimes) <= set(registry.names("mnedge.runtimes"))
    assert {*target.passes, *target.int8_passes} <= set(registry.names("mnedge.passes"))
    assert target.description
