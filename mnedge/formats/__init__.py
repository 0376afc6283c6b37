"""Keras to Graph, and Graph to and from the files that ship."""
