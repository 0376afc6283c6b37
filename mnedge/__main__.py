"""`python -m mnedge` is `mnedge`."""

from mnedge.cli import main

main()
