from pathlib import Path

from mnedge.files import sha256
from mnedge.formats.tflite_write import write_tflite
from mnedge.graph.graph import Graph
from mnedge.recipe import Recipe
from mnedge.targets import get
from mnedge.workflows.build import stages
from mnedge.workflows.build.job import resolve


def test_targets_that_agree_share_one_int8_model() -> None:
    job = resolve(Recipe(targets=("cortex-m4", "cortex-m7", "cpu")))
    ways = stages.lowerings(job)
    assert sorted(name for way in ways for name in way.targets) == ["cortex-m4", "cortex-m7", "cpu"]
    assert ways[0].targets[:2] == ("cortex-m4", "cortex-m7")
    for way in ways:
        assert {get(name).passes for name in way.targets} == {way.passes}
    assert stages.artifact_names(job, ways[0], ways[0]) == "mobilenet_v3_small_1.0_96"


def test_granularity_is_the_targets_unless_the_recipe_says() -> None:
    assert stages.lowerings(resolve(Recipe()))[0].granularity == "per-channel"
    assert stages.lowerings(resolve(Recipe(granularity="per-tensor")))[0].granularity == "per-tensor"


def test_a_model_is_read_once_for_all_stages(small_int8: Graph, tmp_path: Path) -> None:
    path = tmp_path / "int8.tflite"
    path.write_bytes(write_tflite(small_int8))
    model = stages.Model(path)
    graph, checksum = model.graph, model.sha256
    assert checksum == sha256(path)
    path.unlink()
    assert (model.graph, model.sha256) == (graph, checksum)
    assert [op.kind for op in graph.ops] == [op.kind for op in small_int8.ops]
    # Without passes, the next stage gets the very same model.
    assert stages.with_passes(model, ()) is model
