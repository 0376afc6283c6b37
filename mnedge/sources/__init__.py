"""Sources: where a float network comes from; one file a kind of file."""

from mnedge.sources._heads import with_labels
from mnedge.sources._open import open_source
from mnedge.sources._source import Float, Output, Source

__all__ = ["Float", "Output", "Source", "open_source", "with_labels"]
