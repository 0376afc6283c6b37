"""Kernels by kind of op, one file a kind: its lowering to integers, and its C calls."""
