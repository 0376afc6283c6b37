"""Text of others on its way to a reader: a terminal, a page, a table. Names of files, tensors and classes may be any.

Whoever prints or renders passes it through here, once, at the door: `plain` and `message` keep line breaks, `line` is
for names and cells, which have none.
"""

from __future__ import annotations

import re

# Control characters, which a terminal obeys and XML refuses; separators that break lines in some programs and not in
# others; what turns the direction of writing; the surrogates that stand for bytes that are no UTF-8; noncharacters.
_CONTROLS = "\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff\ufffe\uffff"
_NOT_PLAIN = re.compile(f"[{_CONTROLS}]")
_NOT_LINE = re.compile(f"[{_CONTROLS}\n\t]")
_SURROGATES = re.compile("[\ud800-\udfff]")


def plain(text: str) -> str:
    r"""Text of some lines in which what a terminal obeys is shown as an escape such as \x1b."""
    return _NOT_PLAIN.sub(_escape, text)


def message(text: str) -> str:
    """A message, whose line breaks stay, but are indented: a name with one cannot begin a line of its own."""
    return plain(text).replace("\n", "\n  ")


def line(text: str) -> str:
    r"""A name or cell on one line; characters other than letters and signs are escapes such as \n or \x1b."""
    return _NOT_LINE.sub(_escape, text)


def utf8(text: str) -> str:
    r"""Text that UTF-8 can hold: bytes of file names that are none are shown as escapes such as \udcff."""
    return _SURROGATES.sub(_escape, text)


def _escape(found: re.Match[str]) -> str:
    return found[0].encode("unicode_escape").decode("ascii")
