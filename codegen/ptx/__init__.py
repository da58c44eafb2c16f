"""The second target: kernels of a Program as CUDA PTX."""
