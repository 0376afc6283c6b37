"""`search` as a notebook calls it: plain values in, a typed result out."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import pytest

from mnedge.errors import BudgetError, InputError
from mnedge.models import Variant
from mnedge.models.cost import cost
from mnedge.recipe import load
from mnedge.results import stored
from mnedge.results.search import SearchResult
from mnedge.workflows.search.run import default_out, nearest_miss, search

_small: Any = partial(search, "generic", variants=("v1",), alphas=(0.25,), resolutions=(32, 48), classes=3)


@pytest.mark.slow
@pytest.mark.usefixtures("private_cache")
def test_bytes_and_text_are_one_limit_and_the_result_is_what_search_json_says(tmp_path: Path) -> None:
    stages: list[str] = []
    result = _small(max_arena=64 << 10, out=tmp_path / "out", progress=lambda stage, _share: stages.append(stage))
    assert (result.chosen, result.limits) == ("v1 0.25 48", {"max_arena_bytes": 65536})
    assert result == stored.read(tmp_path / "out" / "search.json", SearchResult)
    assert "compile what may fit" in stages
    assert "v1 0.25 48" in result._repr_html_()
    again = _small(max_arena="64K", out=str(tmp_path / "out"))
    assert again == result

    miss = _small(max_arena="1K", out=tmp_path / "miss")
    assert miss.chosen is None
    error = nearest_miss(miss)
    assert isinstance(error, BudgetError)
    (nearest,) = (row.tradeoff for row in miss.rows if row.tradeoff.name == miss.nearest)
    assert str(error).startswith(f"no variant fits. The nearest is {nearest.name}: {nearest.broken[0].text}. Raise")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"train": -1}, "--train is -1"),
        ({"measure": 2}, "--measure is 2; it is a whole number of at least 3"),
        ({"epochs": 0}, "--epochs is 0"),
        ({"max_arena": 0}, "--max-arena is 0"),
        ({"max_macs": "10"}, "10 of what"),
        ({"granularities": ("per-row",)}, "per-tensor"),
        ({"budget_s": -1.0}, "--budget, in seconds"),
    ],
)
def test_arguments_that_a_command_line_would_refuse_are_refused_too(
    tmp_path: Path, arguments: dict[str, Any], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        _small(**arguments, out=tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_search_without_a_folder_goes_to_artifacts() -> None:
    assert default_out("cortex-m7") == Path("artifacts/search-cortex-m7")


@pytest.mark.usefixtures("private_cache")
def test_other_tasks_are_searched_with_their_heads(tmp_path: Path) -> None:
    result = _small(task="segment", resolutions=(64,), max_macs="1G", out=tmp_path / "out")
    (found,) = result.rows
    assert (result.chosen, result.task, result.metric) == ("v1 0.25 64", "segment", "mean IoU")
    assert found.variant.head == "lr-aspp"
    # Counted where it is compiled: the head too.
    plain = cost(Variant("v1", 0.25, 64, 3))
    assert found.tradeoff.macs is not None
    assert found.tradeoff.macs > plain.macs
    recipe = load(str(tmp_path / "out" / "recipe.yaml"))
    assert (recipe.task, recipe.head, recipe.resolution) == ("segment", "lr-aspp", 64)
    assert any("ranked by ImageNet top-1 of their backbone" in note for note in result.notes)
    assert result == stored.read(tmp_path / "out" / "search.json", SearchResult)
    with pytest.raises(InputError, match=r"ssdlite.*lr-aspp"):
        _small(task="segment", head="ssdlite", out=tmp_path / "out")
