"""mnedge: from the name of a MobileNet to an int8 artifact that is proven on its device."""

__version__ = "0.1.0"
