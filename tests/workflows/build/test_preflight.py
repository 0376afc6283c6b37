"""What a build finds out before its first stage."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mnedge import bundles, registry
from mnedge.errors import InputError, UnsupportedError
from mnedge.models.cost import cost, least_bytes
from mnedge.recipe import Recipe
from mnedge.workflows.build import job, preflight


def _job(**values: object) -> job.Job:
    return job.resolve(Recipe(variant="v1", alpha=0.25, weights="random", **values))  # type: ignore[arg-type]


@pytest.mark.usefixtures("private_cache")
def test_what_can_be_built_passes_and_leaves_nothing(tmp_path: Path) -> None:
    preflight.check(_job(int8=True, bundles=("android",), allow_float=("SOFTMAX",)), tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir()] == ["cache"]
    assert list((tmp_path / "cache").iterdir()) == []


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("method", "qat"), ("granularity", "per-tensor"), ("activations", "int16"), ("max_slowdown", 1.2),
        ("onnx_activations", "int8"),
    ],
)  # fmt: skip
def test_what_only_int8_artifacts_have_asks_for_them(tmp_path: Path, name: str, value: object) -> None:
    with pytest.raises(InputError, match=f"{name} {value} is for int8 artifacts, and none are built; give --int8"):
        preflight.check(_job(**{name: value}), tmp_path)


@pytest.mark.parametrize("kind", registry.names("mnedge.bundles"))
@pytest.mark.usefixtures("private_cache")
def test_a_bundle_is_asked_for_its_artifact(tmp_path: Path, kind: str) -> None:
    needs = bundles.get(kind).needs
    with pytest.raises(InputError, match=f"the bundle {kind} ships int8 artifacts"):
        preflight.check(_job(bundles=(kind,)), tmp_path)
    fits = "generic" if needs == "c" else "cpu"
    preflight.check(_job(int8=True, bundles=(kind,), targets=(fits,)), tmp_path)
    if needs != "tflite":
        other = "cpu" if needs == "c" else "generic"
        with pytest.raises(InputError, match=f"ships {needs}, which none of the targets {other} is"):
            preflight.check(_job(int8=True, bundles=(kind,), targets=(other,)), tmp_path)


@pytest.mark.usefixtures("private_cache")
def test_a_release_that_no_bundle_can_carry_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is no Maven group"):
        preflight.check(_job(release={"group": "Acme"}), tmp_path)


@pytest.mark.usefixtures("private_cache")
def test_a_threshold_that_no_program_uses_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UnsupportedError, match="built to tell 10 classes apart, of which the most probable is named"):
        preflight.check(_job(int8=True, bundles=("raspberry-pi",), threshold=0.7), tmp_path)
    preflight.check(_job(task="detect", int8=True, data=_boxes(tmp_path / "boxes"), threshold=0.7), tmp_path)


def _boxes(root: Path) -> str:
    """Pictures with a box each."""
    root.mkdir()
    rows = ["filename,class,xmin,ymin,xmax,ymax"]
    for number in range(10):
        Image.fromarray(np.full((20, 20, 3), 20 * number, np.uint8)).save(root / f"{number}.png")
        rows.append(f"{number}.png,{'ant' if number % 2 else 'bee'},2,2,9,9")
    (root / "boxes.csv").write_text("\n".join(rows) + "\n")
    return str(root)


@pytest.mark.usefixtures("private_cache")
def test_an_unknown_op_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="did you mean 'CONV_2D'"):
        preflight.check(_job(allow_float=("CONV2D",)), tmp_path)


@pytest.mark.usefixtures("private_cache")
def test_a_variant_without_c_kernels_is_refused_for_a_microcontroller(tmp_path: Path) -> None:
    resolved = job.resolve(Recipe(variant="v4-hybrid-medium", weights="random", int8=True, targets=("cpu", "generic")))
    with pytest.raises(UnsupportedError, match=r"v4-hybrid-medium has BATCH_MATMUL, .* and generic runs C"):
        preflight.check(resolved, tmp_path)


@pytest.mark.usefixtures("private_cache")
def test_16_bits_are_chosen_for_this_machine_alone(tmp_path: Path) -> None:
    preflight.check(_job(int8=True, activations="mixed", max_slowdown=1.2), tmp_path / "out")
    preflight.check(_job(int8=True, activations="int16", targets=("generic",)), tmp_path / "out")
    with pytest.raises(UnsupportedError, match="says nothing of the target generic; give --activations int16"):
        preflight.check(_job(int8=True, activations="mixed", targets=("cpu", "generic")), tmp_path / "out")
    with pytest.raises(InputError, match="int8 is asked for; leave it out"):
        preflight.check(_job(int8=True, max_slowdown=1.2), tmp_path / "out")


def test_the_least_room_is_that_of_the_weights() -> None:
    variant = _job().network
    assert least_bytes(variant) == 4 * cost(variant).parameters
