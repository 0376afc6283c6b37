"""One file per kind of op: how it is lowered to integers, and the C calls it becomes."""
