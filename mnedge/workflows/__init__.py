"""The verbs: one typed function a command, which the command line and the Python API call alike."""
