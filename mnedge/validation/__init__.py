"""Accuracy, parity, latency, memory and gates; one measurement = one file."""
