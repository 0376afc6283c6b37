"""Checks before the first stage: everything that would make a build fail at its end."""

from __future__ import annotations

from dataclasses import fields
from typing import TYPE_CHECKING

from mnedge import artifact, bundles, cache
from mnedge.bundles._app import check_threshold
from mnedge.errors import InputError
from mnedge.models.variant import CLASSIFIER, check_compiles
from mnedge.workflows.activations import check_activations
from mnedge.workflows.release import described_release
from mnedge.workflows.weight_bits import Bits, check_weight_bits

if TYPE_CHECKING:
    from pathlib import Path

    from mnedge.recipe import Recipe
    from mnedge.workflows.build.job import Job

# Fields of a recipe that say nothing of float artifacts; a sweep's axes of effort may meet both.
_INT8_ALONE = ("method", "granularity", "activations", "max_slowdown", "weights_bits", "onnx_activations")


def check(job: Job, out: Path) -> None:
    """Makes sure that the cache, the disk, the programs and the recipe's own wishes let a build come to its end.

    Args:
        job: Job of the build.
        out: Folder of the artifacts.

    Raises:
        InputError: A bundle needs what the recipe does not make, an op is unknown, or the cache cannot be written.
        UnsupportedError: A target has no kernel for an op of the variant, or no known cost of 16-bit layers.
        StorageError: The disk of `out` has not even room for the float model.
        ToolError: A target's compiler is missing.
    """
    _check_ops(job)
    _check_bundles(job)
    recipe = job.recipe
    if recipe.int8:
        check_activations(recipe.activations, recipe.max_slowdown, recipe.method, job.targets)
        bits = Bits(recipe.activations, recipe.max_slowdown, recipe.weights_bits)
        check_weight_bits(bits, recipe.method, recipe.granularity, job.targets)
    else:
        _check_plain(recipe)
    if job.recipe.int8 and job.variant is not None:
        for name in job.targets:
            check_compiles(job.variant, name)
    if job.recipe.int8 and any(target.accelerator for target in job.targets.values()):
        from mnedge.codegen.vela import program

        program()
    cache.check()
    artifact.check_space(out, job.least_bytes)


def _check_plain(recipe: Recipe) -> None:
    """Makes sure that a build of float artifacts alone was asked for nothing that only int8 ones have."""
    for entry in fields(recipe):
        if entry.name in _INT8_ALONE and (value := getattr(recipe, entry.name)) != entry.default:
            raise InputError(
                f"{entry.name} {value} is for int8 artifacts, and none are built; give --int8 (int8: true)"
            )


def _first_head(job: Job) -> str:
    """The kind of the first output, as bundles take it."""
    if job.model is not None:
        return job.told_head or job.model.network.outputs[0].head
    return "softmax" if job.network.head == CLASSIFIER else job.network.head


def _check_ops(job: Job) -> None:
    from mnedge.formats.tflite_schema import OP_CODES

    for name in job.recipe.allow_float:
        if name not in OP_CODES:
            raise InputError.unknown("op for --allow-float", name, OP_CODES)


def _check_bundles(job: Job) -> None:
    described_release(job.recipe.release)
    if job.recipe.threshold is not None:
        check_threshold(job.slug, job.task.name, _first_head(job), job.labels())
    for kind in job.recipe.bundles:
        needed = bundles.get(kind).needs
        if not job.recipe.int8:
            raise InputError(f"the bundle {kind} ships int8 artifacts, and none are built; give --int8 (int8: true)")
        if all(needed not in target.formats for target in job.targets.values()):
            raise InputError(
                f"the bundle {kind} ships {needed}, which none of the targets {', '.join(job.targets)} is; add one "
                "that is: `mnedge targets` lists their formats"
            )
