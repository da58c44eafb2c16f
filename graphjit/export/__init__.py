"""Compiled functions for other programs: code and what it takes to run it, as files."""
