"""The layout of a specialization's entry: tables of 64-bit words that machine code reads.

An *entry* is a table of words: the number of arguments, their guards, and how to launch. A
guard is a few words for each leaf or container of the arguments, in traversal order. While a
call runs, a *frame* of words on the stack holds its leaves, arguments and results; tables refer
to words of the frame by index. cpu/dispatcher has the code that reads all this.
"""

from __future__ import annotations

from enum import IntEnum, auto


class GuardKind(IntEnum):
    """What is required of a leaf or container; the first word of a guard."""

    ARRAY = 0
    NUMBER = auto()  # a scalar of NumPy's
    TENSOR = auto()
    FLOAT = auto()
    INTEGER = auto()
    COMPLEX = auto()
    SAME = auto()  # this very object
    REFERENT = auto()  # the object that a weak reference refers to
    FLOAT_IS = auto()  # a float with these bits
    INTEGER_IS = auto()  # an int of this value
    SMALL = auto()  # an int of this absolute value at most
    SHAPED = auto()  # an array of this dtype and shape in any memory order, read by Python
    TYPE = auto()  # an object of this very type
    LENGTH = auto()  # a container of so many items
    ABSENT = auto()  # a dict without this key
    TUPLE = auto()  # of this very type: a tuple or a named one
    LIST = auto()
    DICT = auto()
    FIELDS = auto()  # of this very type: an object by its attributes
    FORK = auto()  # several guards on one object
    # Steps of a path. The guard after one is for another object, to which this one leads.
    CONTENT = auto()  # the content of a closure's cell
    REFERENCE = auto()  # the object that a weak reference refers to
    CALL = auto()  # what a Python function returns
    CONSTANT = auto()  # a known object
    VARIABLE = auto()  # the array of a variable's cell
    AGAIN = auto()  # the end of a path: the object must be that of an earlier leaf
    # Steps that only forks have.
    ITEM = auto()  # the item under a key
    ATTRIBUTE = auto()
    # The guard after one is for the same object. It holds, and is passed over:
    LACKS = auto()  # where the object's own dict hasn't a name
    UNCHANGED = auto()  # where the object, a class, has the version that it had


FORK_STEPS = GuardKind.ITEM, GuardKind.ATTRIBUTE, GuardKind.LACKS, GuardKind.UNCHANGED


class ResultKind(IntEnum):
    """What a result becomes; the first word of its description."""

    ARRAY = 0
    TENSOR = auto()
    SCALAR = auto()  # NumPy's
    FLOAT = auto()
    INTEGER = auto()
    COMPLEX = auto()
    BOOL = auto()
    STATIC = auto()  # an object known beforehand
    LEAF = auto()  # a leaf of the arguments itself
    AGAIN = auto()  # the object of an earlier result
    UPDATE = auto()  # a variable's new array, not returned
    # The new elements of a leaf of the arguments or roots, not returned: computed apart and
    # copied when all is done, or computed in the leaf's own memory.
    WRITTEN = auto()
    IN_PLACE = auto()


class BuildKind(IntEnum):
    """What results are put into; the first word of a plan."""

    RESULT = 0  # the next result itself
    TUPLE = auto()
    LIST = auto()
    DICT = auto()
    CALL = auto()  # the result of a callable


class EntryWord(IntEnum):
    """The words of an entry.

    Those that end in _AT, _ARGUMENT and _CELL are indices of the frame.
    """

    POSITIONAL = 0  # number of positional arguments
    NAMED = auto()  # number of keyword arguments
    NAMES = auto()  # their names, in order
    GUARDS = auto()
    FRAME_WORDS = auto()  # size of the frame
    LEAVES_AT = auto()
    LEAVES = auto()
    PYTHON = auto()  # a Python function of the leaves, or of the arguments; or null
    FINISH = auto()  # a Python function of the result of the latter and the leaves; or null
    RETURNS = auto()  # whether arrays may be returned as they are
    LOCKS = auto()  # number of locks of variables
    LOCK_TABLE = auto()  # two Python functions each: acquire, release
    ROOTS = auto()  # number of objects that lead to captured arrays
    ROOT_TABLE = auto()  # these, or the indices of arguments' leaves in the frame
    ROOT_GUARDS = auto()
    SEGMENT = auto()  # the address of the segment, or null if there are no kernels
    ARGUMENTS_AT = auto()  # the segment's arguments
    CONSTANTS = auto()
    CONSTANT_TABLE = auto()
    RESULTS = auto()
    RESULT_TABLE = auto()
    RESULTS_AT = auto()
    ARENA_BYTES = auto()
    ARENA_ARGUMENT = auto()
    ARENA_CELL = auto()
    MAKE_ARENA = auto()  # a Python function, or null for an arena on the stack
    SPARE_ARENA = auto()  # an arena that no call uses now; owned
    RECORD_ARGUMENT = auto()
    RECORD_CELL = auto()  # 0: no check can fail
    FAIL = auto()  # a Python function that raises
    PLAN = auto()  # how to put results together, or null where the first is all
    SYMBOLS = auto()  # number of symbolic extents of the arguments
    EXTENTS_AT = auto()  # their values, -1 at first
    PREPARE = auto()  # the address of `prepare`, or null where there are no symbols
    SIZES_ARGUMENT = auto()
    SIZES_CELL = auto()  # followed by what `prepare` writes
    ARENA_AT = auto()  # the arena's bytes, or 0 where they are fixed
    ARRAYS = auto()  # number of arrays among the leaves, those of roots included
    ARRAY_TABLE = auto()  # their indices
    PLAIN = auto()  # 1: the segment only takes arrays and makes small arrays


class GuardWord(IntEnum):
    """The words of a guard on a leaf.

    LEAF: the frame's index of the leaf; 0 for an object that is only compared
    ARGUMENT: the frame's index of the segment's argument
    VALUE: in place of ARGUMENT, the value or object that the leaf must be
    OBJECT: in place of CELL, an object that certainly has this value, or null
    CELL: the frame's index of words that stand in for an array
    NUMBER: NumPy's number of the dtype
    SHAPE: the first of the extents; of NUMBER, its type
    """

    KIND = 0
    LEAF = 1
    ARGUMENT = 2
    VALUE = 2
    OBJECT = 3
    CELL = 3
    DTYPE = 4
    NUMBER = 5
    NDIM = 6
    SHAPE = 7


class ContainerWord(IntEnum):
    """The words of a guard on a container. Guards of its children follow."""

    KIND = 0
    TYPE = 1
    COUNT = 2
    CHILDREN = 3


class PathWord(IntEnum):
    """The words of a step of a path, of its end AGAIN, or of a fork.

    OPERAND: of a fork, the number of guards that follow
    CHILDREN: the first of those
    """

    KIND = 0
    OPERAND = 1
    CHILDREN = 2


class StepWord(IntEnum):
    """The words of a step that only forks have.

    KEY: the item's key, or the attribute's name
    INDEX: the key as a number from 0 on, or -1
    TYPE to HINT: those of attribute_layout.Place; TYPE is null where that isn't known
    ITEM_HINT: the number of the key's entry in a dict, or -1
    SKIP: the bytes of the step and of the guard that it may pass over
    """

    KIND = 0
    KEY = 1
    INDEX = 2
    TYPE = 2
    VERSION = 3
    VALUE_AT = 4
    VALID_AT = 5
    DICT_AT = 6
    KEYS = 7
    HINT = 8
    ITEM_HINT = 3
    SKIP = 9


ITEM_WORDS, ATTRIBUTE_WORDS, SHORTCUT_WORDS = 4, 9, 10  # sizes of steps


class ResultWord(IntEnum):
    """The words of a result's description."""

    KIND = 0
    ARGUMENT = auto()  # the frame's index of the segment's argument
    CELL = auto()  # the frame's index of the words that stand in for an array
    DTYPE = auto()
    NDIM = auto()
    SHAPE = auto()
    MAKE = auto()  # a Python function that allocates it, or null
    # a tensor's type, a static result, a variable's cell, a leaf's index, an earlier result's
    OBJECT = auto()
    SHAPE_AT = auto()  # the frame's index of its extents and bytes, or 0 where they are fixed


# An arena of up to so many bytes lies on the stack. No frame has more words than this.
MAX_STACK_ARENA_BYTES, MAX_FRAME_WORDS = 4096, 8192
