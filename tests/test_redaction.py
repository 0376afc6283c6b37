"""What leaves the machine names nobody."""

from __future__ import annotations

import getpass
import platform

import pytest

from mnedge.redaction import without_names


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("reading /home/ada/cats/my model.keras", "reading <path 1> <path 2>.keras"),
        ("run gcc -c '/tmp/x y/a.c' -o /tmp/a.o", "run gcc -c '<path 1> <path 2>.c' -o <path 3>.o"),
        ("~/photos/cat.jpg and ~/photos/cat.jpg", "<path 1>.jpg and <path 1>.jpg"),
        ("mnedge build secret.keras --data ../photos", "mnedge build <path 1>.keras --data <path 2>"),
        ("C:\\Users\\ada\\m.tflite: bad", "<path 1>.tflite: bad"),
        ("ssh://ada@10.0.0.7/tmp", "ssh://<device>"),
        ("accuracy 0.97 at 1.5 ms, 12/24 done", "accuracy 0.97 at 1.5 ms, 12/24 done"),
        ("keras 3.12.4, numpy 2.1.0", "keras 3.12.4, numpy 2.1.0"),
    ],
)
def test_paths_are_numbers(text: str, left: str) -> None:
    assert without_names(text) == left


def test_user_and_machine_are_words() -> None:
    found = without_names(f"{getpass.getuser()} at {platform.node()}")
    assert found == "<user> at <machine>"
