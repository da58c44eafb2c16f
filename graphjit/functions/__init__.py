"""The public functions: plain Python over primitives, eager and traced alike."""
