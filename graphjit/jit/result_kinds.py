"""What becomes of a result at each call, in `Specialization.results`.

"python"     a Python number that is computed
"array"      an array that is computed; a NumPy scalar where it has no axes
"0-d array"  an array without axes that is computed
"swapped"    an array that is computed, in the other byte order
"static"     the value itself, which nothing can change
"copy"       a copy of the value
"view"       a `ResultView`: how NumPy makes it of other arrays
"again"      the object that an earlier result is, by its number
"container"  a container of the results that is put together before, by its number
"given"      a container of the arguments, by the path to it
"object"     an object that was there before the call, by the number of its source
"""

from typing import Final

# The kinds that the program computes.
COMPUTED: Final = ("python", "array", "0-d array", "swapped")

__all__ = ["COMPUTED"]
