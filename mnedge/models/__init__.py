"""Networks: families of rows and Keras builders, the heads that stand on them, their weights and their cost."""

from mnedge.models.variant import Variant

__all__ = ["Variant"]
