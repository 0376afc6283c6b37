from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import pytest

from mnedge.errors import InputError
from mnedge.results import stored


@dataclass(frozen=True)
class Inner:
    p50_ms: float
    names: tuple[str, ...] = ()


@dataclass(frozen=True)
class Outer:
    rows: tuple[Inner, ...]
    note: str | None = None


def test_a_noun_comes_back_as_it_was() -> None:
    noun = Outer((Inner(1.5, ("a", "ä\u2028")), Inner(2.0)), "x")
    assert stored.from_json(stored.to_json(noun), Outer, "x.json") == noun


def test_what_is_not_finite_becomes_null() -> None:
    assert json.loads(stored.to_json(Inner(float("nan")))) == {"p50_ms": None, "names": []}


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ('{"rows": [{"p50_ms": "fast"}]}', "rows[0].p50_ms"),
        ('{"rows": [{}]}', "rows[0]"),
        ("[]", "Outer"),
        ('{"rows": ', "x.json"),
        ("[" * 100_000, "x.json"),
        (b"\xff\xfe", "x.json"),
        ("{}", "rows"),
    ],
)
def test_what_does_not_fit_is_named(text: str | bytes, place: str) -> None:
    with pytest.raises(InputError, match=r"x\.json is not a Outer") as caught:
        stored.from_json(text, Outer, "x.json")
    assert place in str(caught.value)


def test_fields_of_newer_versions_are_passed_over() -> None:
    assert stored.from_json('{"rows": [], "new": 1}', Outer, "x") == Outer(())


def test_a_missing_file_is_an_input_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"gone\.json cannot be read"):
        stored.read(tmp_path / "gone.json", Outer)


def test_a_line_is_one_line() -> None:
    noun = Outer((Inner(1.5, ("a\nb",)),), "ä")
    line = stored.to_line(noun)
    assert line.endswith("\n")
    assert line.count("\n") == 1
    assert stored.from_json(line, Outer, "x") == noun
