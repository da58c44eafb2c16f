"""What becomes of each leaf of a function's results: the kinds in `Specialization.results`."""

from __future__ import annotations

# A result is a pair of a kind and a value:
#
# "python"     a Python number that is computed
# "array"      an array that is computed; a NumPy scalar where it has no axes
# "0-d array"  an array without axes that is computed
# "swapped"    an array that is computed, in the other byte order
# "static"     the value itself, which nothing can change
# "copy"       a copy of the value
# "view"       a `ResultView`: how NumPy makes it of other arrays
# "again"      the object that an earlier result is, by its number
# "container"  a container of the results that is put together before, by its number
# "given"      a container of the arguments, by the path to it
# "object"     an object that was there before the call, by the number of its source

# The kinds that the program computes.
COMPUTED = ("python", "array", "0-d array", "swapped")

__all__ = ["COMPUTED"]
