"""The networks that the MobileNet papers compare with, as tables of layers: one paper, one file."""
