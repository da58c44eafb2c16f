"""Graph and Program, the two forms of a computation: printed, parsed, verified, run."""
