"""Sources: where a float network comes from; one file a kind of file."""

from mnedge.sources._heads import with_labels
from mnedge.sources._open import open_source, source_of
from mnedge.sources._source import Float, OpenSizeError, Output, Source

__all__ = ["Float", "OpenSizeError", "Output", "Source", "open_source", "source_of", "with_labels"]
