"""Graph, Op, Tensor, Quantization, and what executes them."""
