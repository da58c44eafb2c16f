"""Capture: seeing what a traced function's Python code reads, writes and calls."""
