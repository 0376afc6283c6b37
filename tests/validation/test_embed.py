"""Retrieval and verification against scikit-learn."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score
from sklearn.metrics.pairwise import cosine_similarity
from sklearn.neighbors import NearestNeighbors

from mnedge.errors import InputError
from mnedge.validation.embed import check_pairs, cosines, nearest, pair_auc, recalled

_RNG = np.random.default_rng(0)
_LABELS = _RNG.integers(0, 4, 120)
_ROWS = (_RNG.normal(size=(4, 16))[_LABELS] + _RNG.normal(size=(120, 16))).astype(np.float32)


def test_figures_are_those_of_scikit_learn() -> None:
    similarity = cosine_similarity(_ROWS)
    np.testing.assert_allclose(cosines(_ROWS), similarity, atol=1e-6)
    upper = np.triu_indices(120, 1)
    same = (_LABELS[:, None] == _LABELS[None])[upper]
    assert pair_auc(_ROWS, _LABELS) == pytest.approx(roc_auc_score(same, similarity[upper]), abs=1e-6)
    others = NearestNeighbors(n_neighbors=2, metric="cosine").fit(_ROWS).kneighbors(_ROWS, return_distance=False)[:, 1]
    assert (nearest(_ROWS) == others).mean() > 0.98
    assert recalled(_ROWS, _LABELS).mean() == pytest.approx((_LABELS[others] == _LABELS).mean(), abs=0.02)


def test_length_does_not_matter() -> None:
    scaled = _ROWS * _RNG.uniform(0.1, 10, (120, 1)).astype(np.float32)
    assert pair_auc(scaled, _LABELS) == pytest.approx(pair_auc(_ROWS, _LABELS), abs=1e-6)


def test_pictures_without_pairs_are_refused() -> None:
    check_pairs(_LABELS, "d")
    for labels in (np.zeros(5, np.int64), np.arange(5)):
        with pytest.raises(InputError, match="d has no pairs to verify"):
            check_pairs(labels, "d")
