import pytest

from mnedge import errors


@pytest.mark.parametrize(
    ("name", "code"),
    [("InputError", 2), ("UnsupportedError", 3), ("BudgetError", 3), ("ToolError", 4), ("GateError", 1)],
)
def test_exit_codes(name: str, code: int) -> None:
    assert getattr(errors, name).exit_code == code


def test_unknown_names_the_nearest_and_all() -> None:
    text = str(errors.InputError.unknown("target", "cortx-m4", ["cpu", "cortex-m4"]))
    assert "'cortx-m4'" in text
    assert "did you mean 'cortex-m4'?" in text
    assert "cortex-m4, cpu" in text


def test_budget_says_both_sizes() -> None:
    text = str(errors.BudgetError.exceeded("the arena", 70_000, 65_536, "take alpha 0.25"))
    assert "70,000" in text
    assert "65,536" in text
    assert text.endswith("take alpha 0.25")
