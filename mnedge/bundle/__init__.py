"""What an app, a board or a firmware build takes."""
