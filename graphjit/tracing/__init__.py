"""A Python function -> a Graph: symbolic tensors, captures, side effects."""
