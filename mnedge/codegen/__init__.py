"""Int8 Graph to C for microcontrollers."""
