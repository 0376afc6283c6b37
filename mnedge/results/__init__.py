"""The nouns: frozen dataclasses for all that verbs give, and the only reader and writer of their JSON."""
