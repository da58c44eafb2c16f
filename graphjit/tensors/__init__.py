"""Tensors and variables, and how a primitive is applied to them, eagerly or in a trace."""
