"""`build`: the pipeline and its stages; READ FIRST pipeline.py."""
