"""Kinds of data sets, recognised by their files: one file a format; see `_format.Format`."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

from mnedge import registry
from mnedge.data.formats._format import TASKS, Kind
from mnedge.errors import InputError

if TYPE_CHECKING:
    from mnedge.data.formats._format import Format
    from mnedge.data.listing import Listing


def names() -> list[str]:
    """Names of the formats."""
    return registry.names(__name__)


@cache
def get(name: str) -> Format:
    """The format of a name.

    Raises:
        InputError: No such format; the message names the known ones.
    """
    found: Format = registry.load(__name__, name, "FORMAT")
    return found


def found_in(listing: Listing, kind: Kind) -> list[tuple[Format, str]]:
    """The formats that lie in a folder and hold a kind of labels, each with the evidence for it.

    Formats that need no list of their own, such as folders of classes, count only where no other format is found.
    """
    known = [entry for entry in map(get, names()) if entry.reader(kind) is not None]
    found = [(entry, evidence) for entry in known if (evidence := entry.recognise(listing))]
    explicit = [(entry, evidence) for entry, evidence in found if not entry.is_plain]
    return explicit or found


def choose(listing: Listing, kind: Kind) -> tuple[Format, str]:
    """Returns the one format in a folder that holds a kind of labels, with the evidence for it.

    Raises:
        InputError: There is none, or there are several; the message says what was found and what to give.
    """
    found = found_in(listing, kind)
    if len(found) == 1:
        return found[0]
    if found:
        listed = "; ".join(evidence for _, evidence in found)
        raise InputError(
            f"{listing.given} holds {kind} of more than one kind ({listed}); "
            "give the file itself, or move the others away"
        )
    other = [
        f"{evidence}: {entry.title}, which --task {TASKS[also]} takes"
        for also in TASKS
        if also != kind
        for entry, evidence in found_in(listing, also)
        if not entry.is_plain
    ]
    raise InputError(
        f"{listing.given} holds no {kind}; {layouts(kind)}. It holds {listing.summary()}"
        + (f" ({'; '.join(dict.fromkeys(other))})" if other else "")
    )


def layouts(kind: Kind) -> str:
    """Describes the forms of a kind of labels, for messages: "they come as …"."""
    known = [entry for entry in map(get, names()) if entry.reader(kind) is not None]
    return "they come as " + "; ".join(entry.layout for entry in known)
