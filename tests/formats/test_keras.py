import numpy as np
import pytest

from mnedge.formats.keras import keras_to_graph
from mnedge.formats.tflite_write import write_tflite
from mnedge.models import Variant
from mnedge.models.build import build_model
from mnedge.runtimes import get
from tests.slow import rest_is_slow


@pytest.mark.parametrize("family", rest_is_slow(["v3-small", "v1", "v2"]))
def test_the_graph_computes_what_keras_does(family: str, tmp_path) -> None:  # noqa: ANN001
    model = build_model(Variant(family, 0.25 if family == "v1" else 0.35, 64, 7), "random", 1)
    graph = keras_to_graph(model)
    assert graph.inputs == ("image",)
    assert graph.tensors["image"].shape == (1, 64, 64, 3)
    assert len(graph.outputs) == 1
    assert not [name for name in graph.tensors if ";" in name or "BiasAdd" in name]
    data = write_tflite(graph)
    assert write_tflite(keras_to_graph(model)) == data
    (tmp_path / "m.tflite").write_bytes(data)
    image = np.random.default_rng(0).uniform(-1, 1, (1, 64, 64, 3)).astype(np.float32)
    (found,) = get("litert").open(tmp_path / "m.tflite", 1).run(image)
    np.testing.assert_allclose(found, np.asarray(model(image, training=False)), rtol=1e-3, atol=1e-5)


def test_outputs_keep_the_models_order() -> None:
    import keras

    image = keras.Input(batch_shape=(1, 8, 8, 3))
    ends = [keras.layers.Conv2D(count, 1, name=name)(image) for count, name in ((5, "zebra"), (2, "ape"), (3, "mule"))]
    graph = keras_to_graph(keras.Model(image, ends))
    assert [graph.tensors[name].shape[-1] for name in graph.outputs] == [5, 2, 3]
    assert [name.split("_")[0] for name in graph.outputs] == ["zebra", "ape", "mule"]
