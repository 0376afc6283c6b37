"""Runtimes of Android apps: each row names files that are there, and one engine at most."""

import pytest

from mnedge import registry
from mnedge.bundles._android_runtimes import NAMES, flavour
from mnedge.bundles._app import App
from mnedge.errors import InputError

_APPS = [registry.load("mnedge.bundles._apps", name, "APP") for name in registry.names("mnedge.bundles._apps")]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("app", _APPS, ids=lambda app: app.network)
def test_every_kotlin_file_is_there_and_holds_the_class_of_its_name(name: str, app: App) -> None:
    assert app.android is not None
    chosen = flavour(name)
    files = chosen.kotlin(app.android.model)
    assert {f"{chosen.asked(app.android.model)}.kt", "ModelFile.kt", "CameraActivity.kt"} <= files.keys()
    assert (f"{chosen.engine}.kt" in files) == bool(chosen.engine)
    for file, code in files.items():
        assert f"class {file.removesuffix('.kt')}" in code


def test_an_unknown_runtime_is_refused_with_those_that_are_known() -> None:
    with pytest.raises(InputError, match="Known: litert, onnx, tasks"):
        flavour("core-ml")
