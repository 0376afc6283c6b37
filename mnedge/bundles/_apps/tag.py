"""App templates of a classifier whose labels do not exclude each other: a classifier's, with a yes or no each."""

from __future__ import annotations

from dataclasses import replace

from mnedge.bundles._apps.classify import APP as CLASSIFIER

APP = replace(CLASSIFIER, network="multi-label classifier", output="a probability for each label by itself")
