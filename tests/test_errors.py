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


def test_an_error_comes_back_from_its_kind_and_message() -> None:
    class OwnError(errors.ToolError):
        """A kind that only the module that raises it knows."""

    for error in (errors.InputError("a"), errors.BudgetError("b"), errors.StorageError("c")):
        back = errors.of_kind(errors.kind_of(error), str(error))
        assert (type(back), str(back)) == (type(error), str(error))
    assert errors.kind_of(OwnError("d")) == "ToolError"
    assert type(errors.of_kind("ValueError", "e")) is errors.MnedgeError
