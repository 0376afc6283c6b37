import shutil
from pathlib import Path

import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter, OpResolverType

from mnedge.codegen.compile import compile_c
from mnedge.errors import InputError
from mnedge.formats.tflite_write import write_tflite
from mnedge.graph.graph import Graph
from mnedge.runtimes import for_file, get

pytestmark = pytest.mark.skipif(
    shutil.which("arm-none-eabi-gcc") is None and shutil.which("gcc") is None, reason="needs a C compiler"
)


@pytest.fixture
def sources(small_int8: Graph, tmp_path: Path) -> Path:
    compile_c(small_int8, name="small", target="generic", out=tmp_path / "small.generic")
    return tmp_path / "small.generic"


def test_the_library_computes_what_the_reference_kernels_do(sources: Path, small_int8: Graph) -> None:
    assert for_file(sources) == "compiled-c"
    session = get("compiled-c").open(sources, 1)
    assert session.input.shape == (1, 8, 8, 3)
    assert session.input.quantization is not None
    assert session.input.quantization.zero_point[0] == -1
    assert session.outputs[0].shape == (1, 4)
    interpreter = Interpreter(
        model_content=write_tflite(small_int8), experimental_op_resolver_type=OpResolverType.BUILTIN_REF
    )
    interpreter.allocate_tensors()
    rng = np.random.default_rng(0)
    for _ in range(20):
        image = rng.integers(-128, 128, (1, 8, 8, 3)).astype(np.int8)
        interpreter.set_tensor(interpreter.get_input_details()[0]["index"], image)
        interpreter.invoke()
        expected = interpreter.get_tensor(interpreter.get_output_details()[0]["index"])
        assert np.array_equal(session.run(image)[0], expected)


def test_a_folder_without_a_model_says_so(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="run `mnedge compile` first"):
        get("compiled-c").open(tmp_path, 1)
