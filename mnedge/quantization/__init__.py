"""Float Graph to int8 Graph."""
