"""Where artifacts execute; one way to get there = one file."""
