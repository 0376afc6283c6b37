"""Amounts: bytes and numbers of multiply-adds with their units."""

import pytest

from mnedge.amounts import bytes_of, count_of, parse_bytes, parse_count
from mnedge.errors import InputError


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("256K", 262144), ("256KB", 262144), ("256 KiB", 262144), ("256k", 262144), ("1M", 1 << 20),
        ("1.5MiB", 3 << 19), ("262144B", 262144), ("1G", 1 << 30),
    ],
)  # fmt: skip
def test_sizes(text: str, size: int) -> None:
    assert parse_bytes(text, "--max-arena") == size


@pytest.mark.parametrize("text", ["256", "256.5", "256 kibi", "K", "", "-4K", "256Kbit", "4kk"])
def test_what_is_no_size_is_told_with_the_units(text: str) -> None:
    with pytest.raises(InputError) as caught:
        parse_bytes(text, "--max-arena")
    said = str(caught.value)
    for unit in ("--max-arena", "256K", "256KB", "256KiB", "1M"):
        assert unit in said


def test_a_bare_number_is_asked_back() -> None:
    with pytest.raises(InputError, match="256 of what"):
        parse_bytes("256", "--max-flash")


def test_zero_is_no_limit_that_anything_fits() -> None:
    with pytest.raises(InputError, match="leaves nothing"):
        parse_bytes("0K", "--max-flash")


def test_counts_are_decimal() -> None:
    assert parse_count("10M", "--max-macs") == 10_000_000
    with pytest.raises(InputError, match="of what"):
        parse_count("10", "--max-macs")


def test_a_plain_number_is_a_number_of_bytes() -> None:
    assert [bytes_of(given, "--max-arena") for given in (None, 262144, "256K")] == [None, 262144, 262144]
    assert [count_of(given, "--max-macs") for given in (None, 10_000_000, "10M")] == [None, 10_000_000, 10_000_000]
    with pytest.raises(InputError, match="--max-arena is 0; it is a number above 0"):
        bytes_of(0, "--max-arena")
