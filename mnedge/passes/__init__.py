"""Rewrites Graph -> Graph: one pass = one file, which exports `apply`."""
