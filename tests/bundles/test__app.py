"""App templates by task."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from mnedge import registry
from mnedge.bundles._app import SHIPPED, app_of, check_threshold, lacking
from mnedge.errors import UnsupportedError

_TASKS = registry.names("mnedge.bundles._apps")
_KOTLIN = SHIPPED / "_kotlin"


@pytest.mark.parametrize("task", _TASKS)
def test_every_app_has_what_it_names(parts_of: Any, task: str) -> None:
    app = app_of(parts_of(task=task))
    assert app.program is not None
    assert app.program.is_file()
    assert app.program.parent == Path(SHIPPED)
    assert app.android is not None
    for name in (app.android.model, f"Tasks{app.android.model}"):
        assert f"class {name}" in (_KOTLIN / f"{name}.kt").read_text(encoding="utf-8")
    # The camera's screen asks the function that both classes have.
    assert "private fun show(picture: Bitmap)" in app.android.show
    assert app.sketch is not None
    assert "void loop()" in app.sketch


def test_a_task_without_templates_names_those_that_have_some(parts_of: Any) -> None:
    with pytest.raises(UnsupportedError, match=f"net-v1.0 is built to dance, .* {' or '.join(_TASKS)}"):
        app_of(parts_of(task="dance"))


def test_what_templates_lack_is_said(parts_of: Any) -> None:
    assert "have no Arduino sketch; take another kind of bundle" in str(lacking(parts_of(), "Arduino sketch"))


@pytest.mark.parametrize(
    ("task", "head", "labels"),
    [
        ("classify", "softmax", ("cat", "dog")),
        ("classify", "sigmoid", ("dog",)),
        ("classify", "multi-label", ("cat", "dog", "bird")),
        ("detect", "logits", ("cat", "dog", "bird")),
    ],
)
def test_programs_that_take_a_threshold(task: str, head: str, labels: tuple[str, ...]) -> None:
    check_threshold("net", task, head, labels)


@pytest.mark.parametrize(
    ("task", "words"),
    [("classify", "tell 3 classes apart, of which the most probable is named"), ("segment", "segment"), ("embed", "")],
)
def test_programs_without_a_use_for_a_threshold_refuse_it(task: str, words: str) -> None:
    with pytest.raises(UnsupportedError, match=f"a threshold is for two classes, .* built to {words}"):
        check_threshold("net", task, "softmax", ("cat", "dog", "bird"))
