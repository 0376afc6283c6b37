"""Damaged reports of builds: each is read and shown, or refused with a message; nothing else comes out."""

import copy
import json
import random
from pathlib import Path
from typing import Any

import pytest

from mnedge.errors import MnedgeError
from mnedge.report.html import render_html
from mnedge.report.junit import render_junit
from mnedge.report.markdown import render_markdown
from mnedge.report.terminal import print_report
from mnedge.results.details import Details
from mnedge.results.report import Report, read_report
from mnedge.results.stored import as_json
from mnedge.validation.baseline import baseline_rows, read_baseline
from mnedge.workflows.compare import compare

_ODD: tuple[Any, ...] = (
    None,
    True,
    False,
    -1,
    0,
    0.5,
    1e308,
    -1e308,
    5e-324,
    10**18,
    -(10**18),
    10**400,
    "",
    "x" * 300,
    "a\x00b\x1b",
    "../..",
    "a\nb",
    "\u2028",
    "tflite",
    [],
    {},
    [[]],
    [{}],
    {"a": 1},
    1e-300,
)
_BYTES = (
    b"",
    b"\x00",
    b"\xff\xfe",
    b'"',
    b",",
    b"[" * 5000,
    b"{",
    b"NaN",
    b"1e999",
    b"9" * 5000,
    b'"\\udcff"',
    b"-",
    b"null",
)


def _changed(content: Any, chance: random.Random) -> Any:
    """A copy with one or two values lost, doubled, or of another kind."""
    content = copy.deepcopy(content)
    for _ in range(chance.randint(1, 2)):
        places: list[tuple[Any, Any]] = []
        waiting = [content]
        while waiting:
            node = waiting.pop()
            for key in list(node) if isinstance(node, dict) else range(len(node)):
                places.append((node, key))
                waiting += [node[key]] if isinstance(node[key], (dict, list)) else []
        if not places:
            return content
        node, key = chance.choice(places)
        if chance.random() < 0.2:
            del node[key]
        elif isinstance(node, list) and chance.random() < 0.2:
            node.append(copy.deepcopy(node[key]))
        else:
            node[key] = copy.deepcopy(chance.choice(_ODD))
    return content


def _mutant(content: Any, chance: random.Random) -> bytes:
    if chance.random() < 0.7:
        return json.dumps(_changed(content, chance)).encode()
    data = bytearray(json.dumps(content).encode())
    for _ in range(chance.randint(1, 2)):
        at = chance.randrange(len(data))
        data[at : at + chance.choice((0, 1, 1, 4))] = chance.choice(_BYTES)
    return bytes(data[: chance.randrange(len(data))] if chance.random() < 0.1 else data)


def test_reports(
    report: Report, details: Details, tmp_path: Path, request: pytest.FixtureRequest, capsys: pytest.CaptureFixture[str]
) -> None:
    whole, damaged = tmp_path / "whole.json", tmp_path / "damaged.json"
    content = as_json(report)
    whole.write_text(json.dumps(content))
    taken = 0
    for seed in range(request.config.getoption("--fuzz")):
        chance = random.Random(seed)  # noqa: S311 - damage, not secrets
        damaged.write_bytes(_mutant(content, chance))
        try:
            found = read_report(damaged)
            taken += 1
            for render in (render_markdown, render_junit, print_report):
                render(found)
            render_html(found, details)
            compare([whole, damaged])
            compare([damaged, whole])
            baseline_rows(report, read_baseline(damaged, report.slug), {"top1": 0.01, "bytes": 0.02, "p50_ms": 0.1})
        except MnedgeError:
            continue
        except Exception as exc:
            raise AssertionError(f"seed {seed}: {exc!r} from {damaged.read_bytes()[:3000]!r}") from exc
        finally:
            capsys.readouterr()
    assert taken > 0
