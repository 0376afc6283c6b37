"""Sources: where a float network comes from; one file a kind of file."""

from mnedge.sources._source import Float, Output, Source

__all__ = ["Float", "Output", "Source"]
