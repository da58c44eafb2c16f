"""The CPU target: Program -> machine code of this processor."""
