"""Graph and Program, the two levels of a computation: printed, parsed, verified, run."""
