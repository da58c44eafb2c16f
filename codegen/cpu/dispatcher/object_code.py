"""Control code on Python's objects: calls of the C API, words of tables, known objects."""

from __future__ import annotations

from graphjit.codegen.assemble import Assembler
from graphjit.codegen.runtime.entry_layout import EntryWord, ResultWord
from graphjit.core import object_layout
from graphjit.core.frozen import dataclass
from graphjit.core.object_layout import WORD

# What `enter` returns where an entry doesn't fit the call.
MISSED = "inttoptr (i64 1 to ptr)"

PYTHON_FUNCTIONS = {
    "Py_IncRef": "void (ptr)",
    "Py_DecRef": "void (ptr)",
    "PyObject_Vectorcall": "ptr (ptr, ptr, i64, ptr)",
    "PyObject_CallNoArgs": "ptr (ptr)",
    "PyObject_CallObject": "ptr (ptr, ptr)",
    "PyObject_GetItem": "ptr (ptr, ptr)",
    "PyObject_GetAttr": "ptr (ptr, ptr)",
    "PyTuple_New": "ptr (i64)",
    "PyTuple_SetItem": "i32 (ptr, i64, ptr)",
    "PyList_New": "ptr (i64)",
    "PyList_SetItem": "i32 (ptr, i64, ptr)",
    "PyDict_New": "ptr ()",
    "PyDict_SetItem": "i32 (ptr, ptr, ptr)",
    "PyDict_Next": "i32 (ptr, ptr, ptr, ptr)",
    "PyDict_GetItemWithError": "ptr (ptr, ptr)",
    "PyDict_Contains": "i32 (ptr, ptr)",
    "PyObject_Size": "i64 (ptr)",
    "PyLong_FromLongLong": "ptr (i64)",
    "PyLong_AsLongLongAndOverflow": "i64 (ptr, ptr)",
    "PyBool_FromLong": "ptr (i64)",
    "PyFloat_FromDouble": "ptr (double)",
    "PyComplex_FromDoubles": "ptr (double, double)",
    "PyComplex_RealAsDouble": "double (ptr)",
    "PyComplex_ImagAsDouble": "double (ptr)",
    "PyErr_Clear": "void ()",
    "PyErr_Occurred": "ptr ()",
    "PyErr_ExceptionMatches": "i32 (ptr)",
    "PyErr_Fetch": "void (ptr, ptr, ptr)",
    "PyErr_Restore": "void (ptr, ptr, ptr)",
    "PyErr_NoMemory": "ptr ()",
    "PyMem_Malloc": "ptr (i64)",
    "PyMem_Free": "void (ptr)",
    "PyType_GenericAlloc": "ptr (ptr, i64)",
    "PyType_GetFlags": "i64 (ptr)",
    "PyContextVar_Get": "i32 (ptr, ptr, ptr)",
}
NUMPY_FUNCTIONS = {
    "PyArray_NewFromDescr": "ptr (ptr, ptr, i32, ptr, ptr, ptr, i32, ptr)",
    "PyArray_Scalar": "ptr (ptr, ptr, ptr)",
    "PyArray_NewCopy": "ptr (ptr, i32)",
    "PyArray_CopyInto": "i32 (ptr, ptr)",
}
API = {**PYTHON_FUNCTIONS, **NUMPY_FUNCTIONS}
# Objects and addresses that the code reads from the table @objects.
OBJECTS = (
    "gates", "eager", "float_errors", "slow", "miss", "none", "exception",
    "ndarray", "tensor", "float", "int", "complex", "list", "tuple", "dict", "bool", "str",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class SlotOffsets:
    """Where instances of graphjit's classes hold their slots [bytes].

    table: a function's table of entries
    tensor_array, tensor_type: a tensor's array and its type
    cell_array: a variable's cell's array
    """

    table: int
    tensor_array: int
    tensor_type: int
    cell_array: int


class ObjectCode(Assembler):
    """An assembler that knows the tables, the C API and the known objects."""

    def fresh(self, stem: str) -> str:
        """A label that no other has."""
        return self._name(stem)[1:]

    def word(self, entry: str, index: EntryWord | ResultWord, type: str = "i64") -> str:
        """A word of an entry, or of a result's description."""
        return self.load(type, entry, index * WORD)

    def object(self, name: str) -> str:
        """The address of one of OBJECTS."""
        return self.load("ptr", "@objects", OBJECTS.index(name) * WORD)

    def api(self, name: str, *arguments: str) -> str:
        """A call of a C function: its result."""
        result, types = API[name].split(" (", 1)
        given = types.rstrip(")").split(", ") if types != ")" else []
        function = self.load("ptr", "@functions", list(API).index(name) * WORD)
        listed = [f"{t} {a}" for t, a in zip(given, arguments, strict=True)]
        if result == "void":
            self.line(f"call void {function}({', '.join(listed)})")
            return ""
        return self.call(result, function, *listed)

    def stand_in(self, frame: str, argument: str, cell: str) -> str:
        """Make words of the frame stand in for an array. Gives the address of its data.

        Segments take arrays, of which they read only the pointer to the data. That pointer is a
        word of the frame, followed by the data; the argument is the address that an array would
        have whose pointer to the data is this word.
        """
        words = self.item(frame, cell)
        data = self.at(words, WORD)
        self.store("ptr", data, words)
        self.store_item("ptr", self.at(words, -object_layout.ARRAY_DATA), frame, argument)
        return data
