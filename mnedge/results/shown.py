"""Notebook views of the nouns: plain HTML tables, without scripts or styles."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

from mnedge.text import utf8

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

MISSING = "–"


def table(title: str, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """An HTML table; all text is escaped, None is a dash, and without rows there is no table.

    Args:
        title: Its caption.
        columns: Names.
        rows: Cells, as many as columns; floats are rounded to four significant digits.
    """
    body = "".join(f"<tr>{''.join(f'<td>{_cell(cell)}</td>' for cell in row)}</tr>" for row in rows)
    if not body:
        return ""
    head = "".join(f"<th>{escape(utf8(column))}</th>" for column in columns)
    return f"<table><caption>{escape(utf8(title))}</caption><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def line(text: str) -> str:
    """A paragraph of HTML; the text is escaped."""
    return f"<p>{escape(utf8(text))}</p>"


def _cell(value: object) -> str:
    if value is None:
        return MISSING
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value:,}"
    return escape(utf8(str(value)))
