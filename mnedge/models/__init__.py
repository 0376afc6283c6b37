"""The families as tables of rows, and their Keras builders."""

from mnedge.models._variant import Variant

__all__ = ["Variant"]
