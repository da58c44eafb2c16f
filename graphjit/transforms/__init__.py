"""Functions made of functions: a graph is rewritten into that of another function."""
