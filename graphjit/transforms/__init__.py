"""Functions made of functions: a graph is rewritten into that of another function."""

from .vmap import Vectorized, vectorized_map, vmap

__all__ = ["Vectorized", "vectorized_map", "vmap"]
