"""mnedge: from the name of a MobileNet to an int8 artifact that is proven on its device.

The verbs are functions, and what they give are frozen values:

    >>> import mnedge
    >>> report = mnedge.build(mnedge.Recipe(variant="v3-small", int8=True))  # doctest: +SKIP
    >>> report.accuracy[1].metric("top1")  # doctest: +SKIP
    0.9775

Importing is light: what a name stands for is imported when the name is first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mnedge.data.calibration import CalibrationSet, open_calibration
    from mnedge.errors import BudgetError, GateError, InputError, MnedgeError, ToolError, UnsupportedError
    from mnedge.pixels import Pixels
    from mnedge.recipe import Recipe
    from mnedge.results.accuracy import AccuracyRow, Figures, MixUp
    from mnedge.results.app_check import AppCheck, AppRow
    from mnedge.results.bench import Bench
    from mnedge.results.comparison import Comparison
    from mnedge.results.compilation import Compilation, CSources, Firmware, Layer, TflmProject, VelaModel
    from mnedge.results.device import (
        BoardCheck,
        BoardFacts,
        BrowserCheck,
        BrowserFacts,
        PhoneCheck,
        PhoneFacts,
        RuntimeTrial,
    )
    from mnedge.results.diagnosis import Diagnosis
    from mnedge.results.inspection import Inspection, LayerNoise
    from mnedge.results.installation import Installation, Part
    from mnedge.results.latency import LatencyRow, RatioRow
    from mnedge.results.manifest import BuildManifest, BundleManifest, Verified
    from mnedge.results.optimization import Agreement, AgreementRow, Optimization, Rewrite
    from mnedge.results.parity import ParityRow
    from mnedge.results.prediction import BrokenPicture, PicturePrediction, Prediction
    from mnedge.results.profile import LayerProfile
    from mnedge.results.quantization import QuantizedModel
    from mnedge.results.report import ArtifactRow, GateRow, Int8Row, MemoryRow, Report, VariantRow, read_report
    from mnedge.results.search import SearchResult
    from mnedge.results.sweep import SweepResult
    from mnedge.results.training import TrainingReport
    from mnedge.results.validation import Validation
    from mnedge.sources import Float, open_source
    from mnedge.validation.gates import check_gates
    from mnedge.workflows.bench import bench
    from mnedge.workflows.build.pipeline import build
    from mnedge.workflows.bundle import bundle
    from mnedge.workflows.check_app import check_app
    from mnedge.workflows.compare import compare
    from mnedge.workflows.compile import compile  # noqa: A004 - the verb is called so
    from mnedge.workflows.device import check_device, setup_device
    from mnedge.workflows.doctor import doctor
    from mnedge.workflows.doctor_model import diagnose
    from mnedge.workflows.inspect import inspect, inspect_layers, profile_layers
    from mnedge.workflows.lock import lock
    from mnedge.workflows.optimize import optimize
    from mnedge.workflows.predict import predict
    from mnedge.workflows.quantize import quantize
    from mnedge.workflows.release import Release
    from mnedge.workflows.search.run import search
    from mnedge.workflows.sweep.run import sweep
    from mnedge.workflows.train import train
    from mnedge.workflows.validate import validate
    from mnedge.workflows.verify import verify

__version__ = "0.2.0"

__all__ = [
    "AccuracyRow",
    "Agreement",
    "AgreementRow",
    "AppCheck",
    "AppRow",
    "ArtifactRow",
    "Bench",
    "BoardCheck",
    "BoardFacts",
    "BrokenPicture",
    "BrowserCheck",
    "BrowserFacts",
    "BudgetError",
    "BuildManifest",
    "BundleManifest",
    "CSources",
    "CalibrationSet",
    "Comparison",
    "Compilation",
    "Diagnosis",
    "Figures",
    "Firmware",
    "Float",
    "GateError",
    "GateRow",
    "InputError",
    "Inspection",
    "Installation",
    "Int8Row",
    "LatencyRow",
    "Layer",
    "LayerNoise",
    "LayerProfile",
    "MemoryRow",
    "MixUp",
    "MnedgeError",
    "Optimization",
    "ParityRow",
    "Part",
    "PhoneCheck",
    "PhoneFacts",
    "PicturePrediction",
    "Pixels",
    "Prediction",
    "QuantizedModel",
    "RatioRow",
    "Recipe",
    "Release",
    "Report",
    "Rewrite",
    "RuntimeTrial",
    "SearchResult",
    "SweepResult",
    "TflmProject",
    "ToolError",
    "TrainingReport",
    "UnsupportedError",
    "Validation",
    "VariantRow",
    "VelaModel",
    "Verified",
    "__version__",
    "bench",
    "build",
    "bundle",
    "check_app",
    "check_device",
    "check_gates",
    "compare",
    "compile",
    "diagnose",
    "doctor",
    "inspect",
    "inspect_layers",
    "lock",
    "open_calibration",
    "open_source",
    "optimize",
    "predict",
    "profile_layers",
    "quantize",
    "read_report",
    "search",
    "setup_device",
    "sweep",
    "train",
    "validate",
    "verify",
]

# The module of each name; type checkers read the same above, and a test holds the two together.
_PLACES = {
    # The verbs.
    "bench": "workflows.bench",
    "build": "workflows.build.pipeline",
    "bundle": "workflows.bundle",
    "check_app": "workflows.check_app",
    "check_device": "workflows.device",
    "compare": "workflows.compare",
    "compile": "workflows.compile",
    "diagnose": "workflows.doctor_model",
    "doctor": "workflows.doctor",
    "inspect": "workflows.inspect",
    "inspect_layers": "workflows.inspect",
    "lock": "workflows.lock",
    "optimize": "workflows.optimize",
    "predict": "workflows.predict",
    "profile_layers": "workflows.inspect",
    "quantize": "workflows.quantize",
    "search": "workflows.search.run",
    "setup_device": "workflows.device",
    "sweep": "workflows.sweep.run",
    "train": "workflows.train",
    "validate": "workflows.validate",
    "verify": "workflows.verify",
    # Their arguments.
    "CalibrationSet": "data.calibration",
    "Float": "sources",
    "Pixels": "pixels",
    "Recipe": "recipe",
    "Release": "workflows.release",
    "open_calibration": "data.calibration",
    "open_source": "sources",
    # Their results.
    "AccuracyRow": "results.accuracy",
    "Agreement": "results.optimization",
    "AgreementRow": "results.optimization",
    "ArtifactRow": "results.report",
    "AppCheck": "results.app_check",
    "AppRow": "results.app_check",
    "Bench": "results.bench",
    "BoardCheck": "results.device",
    "BoardFacts": "results.device",
    "BrowserCheck": "results.device",
    "BrowserFacts": "results.device",
    "BrokenPicture": "results.prediction",
    "BuildManifest": "results.manifest",
    "BundleManifest": "results.manifest",
    "CSources": "results.compilation",
    "Comparison": "results.comparison",
    "Compilation": "results.compilation",
    "Diagnosis": "results.diagnosis",
    "Figures": "results.accuracy",
    "Firmware": "results.compilation",
    "GateRow": "results.report",
    "Inspection": "results.inspection",
    "Installation": "results.installation",
    "Int8Row": "results.report",
    "LatencyRow": "results.latency",
    "Layer": "results.compilation",
    "LayerNoise": "results.inspection",
    "LayerProfile": "results.profile",
    "MemoryRow": "results.report",
    "MixUp": "results.accuracy",
    "Optimization": "results.optimization",
    "ParityRow": "results.parity",
    "Part": "results.installation",
    "PhoneCheck": "results.device",
    "PhoneFacts": "results.device",
    "PicturePrediction": "results.prediction",
    "Prediction": "results.prediction",
    "QuantizedModel": "results.quantization",
    "RatioRow": "results.latency",
    "Report": "results.report",
    "Rewrite": "results.optimization",
    "RuntimeTrial": "results.device",
    "SearchResult": "results.search",
    "SweepResult": "results.sweep",
    "TflmProject": "results.compilation",
    "TrainingReport": "results.training",
    "Validation": "results.validation",
    "VariantRow": "results.report",
    "VelaModel": "results.compilation",
    "Verified": "results.manifest",
    "check_gates": "validation.gates",
    "read_report": "results.report",
    # Their errors.
    "BudgetError": "errors",
    "GateError": "errors",
    "InputError": "errors",
    "MnedgeError": "errors",
    "ToolError": "errors",
    "UnsupportedError": "errors",
}


if not TYPE_CHECKING:
    # Type checkers know the names from above; with this they would believe in any other name too.
    def __getattr__(name: str) -> object:
        if name not in _PLACES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        return getattr(import_module(f"{__name__}.{_PLACES[name]}"), name)


def __dir__() -> list[str]:
    return __all__
