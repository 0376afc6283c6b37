"""Which ops no delegate took, from the list that LiteRT gives."""

from mnedge.runtimes import litert
from mnedge.runtimes.litert import _undelegated


def _op(name: str, inputs: list[int], outputs: list[int]) -> litert._Op:
    return litert._Op(op_name=name, inputs=inputs, outputs=outputs)


def test_ops_between_a_partition_s_ends_are_inside() -> None:
    ops = [_op("CONV_2D", [0, 10], [1]), _op("HARD_SWISH", [1], [2]), _op("ADD", [2, 1], [3]), _op("SOFTMAX", [3], [4])]
    first, second = _op("DELEGATE", [0, 10], [1]), _op("DELEGATE", [2, 1], [3])
    assert _undelegated([*ops, first, second]) == ("HARD_SWISH", "SOFTMAX")


def test_without_a_delegate_all_run_one_by_one() -> None:
    assert _undelegated([_op("CONV_2D", [0], [1]), _op("SOFTMAX", [1], [2])]) == ("CONV_2D", "SOFTMAX")


def test_a_partition_with_two_outputs_and_a_branch() -> None:
    ops = [_op("CONV_2D", [0], [1]), _op("MUL", [1], [2]), _op("ADD", [2, 1], [3]), _op("ARG_MAX", [3], [4])]
    whole = _op("TfLiteXNNPackDelegate", [0], [2, 3])
    assert _undelegated([*ops, whole]) == ("ARG_MAX",)
