from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner

from mnedge.cli import app


@pytest.fixture(scope="module")
def rows() -> list[dict[str, object]]:
    found: list[dict[str, object]] = json.loads(
        CliRunner().invoke(app, ["variants", "--json"], catch_exceptions=False).stdout
    )
    return found


def test_rows_are_unique_and_slugs_say_what_they_are(rows: list[dict[str, object]]) -> None:
    # V1 0.75 at 224 stands in the paper and in TF-Slim's table, with other figures.
    assert len({(row["slug"], json.dumps(row["published"])) for row in rows}) == len(rows)
    for row in rows:
        assert str(row["slug"]).endswith(f"_{row['resolution']}")
        assert row["published"]


def test_figures_are_those_of_the_papers(rows: list[dict[str, object]]) -> None:
    """Howard et al. 2017, table 4; Sandler et al. 2018, table 4; Howard et al. 2019, table 3: millions."""
    printed = {
        "mobilenet_v1_1.0_224": (4.2, 569),
        "mobilenet_v2_1.0_224": (3.4, 300),
        "mobilenet_v3_small_1.0_224": (2.5, 56),
    }
    found = {row["slug"]: row for row in rows}
    for slug, (parameters, macs) in printed.items():
        assert float(str(found[slug]["parameters"])) / 1e6 == pytest.approx(parameters, rel=0.05), slug
        assert float(str(found[slug]["macs"])) / 1e6 == pytest.approx(macs, rel=0.05), slug


def test_tables_are_printed_for_every_family(rows: list[dict[str, object]]) -> None:
    done = CliRunner().invoke(app, ["variants"], catch_exceptions=False)
    assert done.exit_code == 0
    for family in {str(row["family"]) for row in rows}:
        assert family in done.stdout, family
