"""What is done about each opcode of each Python version when code is instrumented.

An opcode that isn't in the table of the running version makes `instrument` refuse the code:
what no hook sees could be wrong.
"""

from __future__ import annotations

import dis
from enum import Enum
from typing import Final

from .code import VERSION


class Treatment(Enum):
    """What instrumenting does about an instruction."""

    PLAIN = "left alone: it moves values, tests locals, or makes a new object"
    NEVER = "not in the code of functions, or only in forms that co_code doesn't show"
    GLOBAL = "load_global gets the value"
    NAME = "stays in class bodies and modules, which aren't instrumented"
    DEREF = "load_deref gets the value and the cell"
    STORE_DEREF = "store_deref gets the value and the cell, and stores"
    DELETE_DEREF = "delete_deref gets the cell before it is emptied"
    STORE_GLOBAL = "store_global gets the value, and stores"
    DELETE_GLOBAL = "delete_global deletes"
    ATTRIBUTE = "load_attribute reads"
    METHOD = "load_attribute reads; what is called is then no method with its object apart"
    SUPER = "load_super gets `super`, the class and the object"
    STORE_ATTRIBUTE = "store_attribute stores"
    DELETE_ATTRIBUTE = "delete_attribute deletes"
    ITEM = "load_item reads"
    SLICE = "load_item reads, by a slice"
    STORE_ITEM = "store_item stores"
    STORE_SLICE = "store_item stores, by a slice"
    DELETE_ITEM = "delete_item deletes"
    BINARY = "binary computes"
    UNARY = "unary computes"
    INTRINSIC = "unary computes +x; the other intrinsics are left alone"
    COMPARE = "compare computes"
    CONTAINS = "contains computes"
    IS = "identical computes"
    TRUTH = "truth gets the value before it is tested"
    CALL = "callee gets the callable before the call, and may give another"
    ITERATE = "iterate gets the object before its iterator is asked for"
    UNPACK = "unpack gets the object before its items are taken"
    FORMAT = "text gets the value before it is formatted"
    JOIN = "join_texts puts the parts of an f-string together"
    LIST = "made_list gets the list that was made"
    ENTER = "enter gets the context manager before it is entered"
    MATCH = "match gets the subject before a pattern looks into it"
    IMPORT = "imported gets the module"
    IMPORT_FROM = "imported_from gets the value and the module"
    BUILD_CLASS = "build_class is told that a class body follows"


T = Treatment
_PLAIN = """
    POP_TOP PUSH_NULL NOP SWAP COPY LOAD_CONST LOAD_FAST STORE_FAST DELETE_FAST MAKE_CELL
    COPY_FREE_VARS RESUME RETURN_VALUE RETURN_GENERATOR YIELD_VALUE SEND GET_AWAITABLE
    GET_AITER GET_ANEXT END_ASYNC_FOR FOR_ITER JUMP_FORWARD JUMP_BACKWARD
    JUMP_BACKWARD_NO_INTERRUPT PUSH_EXC_INFO POP_EXCEPT CHECK_EXC_MATCH CHECK_EG_MATCH RERAISE
    RAISE_VARARGS LOAD_ASSERTION_ERROR WITH_EXCEPT_START BUILD_TUPLE BUILD_SET
    BUILD_MAP BUILD_SLICE LIST_APPEND SET_ADD MAP_ADD MAKE_FUNCTION
    EXTENDED_ARG CACHE
"""
_COMMON: Final = {
    **dict.fromkeys(_PLAIN.split(), T.PLAIN),
    "BUILD_STRING": T.JOIN,
    "BUILD_LIST": T.LIST,
    "LOAD_GLOBAL": T.GLOBAL,
    "LOAD_NAME": T.NAME,
    "STORE_NAME": T.NAME,
    "DELETE_NAME": T.NAME,
    "SETUP_ANNOTATIONS": T.NAME,
    "LOAD_DEREF": T.DEREF,
    "STORE_DEREF": T.STORE_DEREF,
    "DELETE_DEREF": T.DELETE_DEREF,
    "STORE_GLOBAL": T.STORE_GLOBAL,
    "DELETE_GLOBAL": T.DELETE_GLOBAL,
    "LOAD_ATTR": T.ATTRIBUTE,
    "STORE_ATTR": T.STORE_ATTRIBUTE,
    "DELETE_ATTR": T.DELETE_ATTRIBUTE,
    "BINARY_SUBSCR": T.ITEM,
    "STORE_SUBSCR": T.STORE_ITEM,
    "DELETE_SUBSCR": T.DELETE_ITEM,
    "BINARY_OP": T.BINARY,
    "UNARY_NEGATIVE": T.UNARY,
    "UNARY_INVERT": T.UNARY,
    "COMPARE_OP": T.COMPARE,
    "CONTAINS_OP": T.CONTAINS,
    "IS_OP": T.IS,
    "CALL": T.CALL,
    "CALL_FUNCTION_EX": T.CALL,
    "GET_ITER": T.ITERATE,
    "GET_YIELD_FROM_ITER": T.ITERATE,
    "UNPACK_SEQUENCE": T.UNPACK,
    "UNPACK_EX": T.UNPACK,
    "LIST_EXTEND": T.UNPACK,
    "SET_UPDATE": T.UNPACK,
    "DICT_UPDATE": T.UNPACK,
    "DICT_MERGE": T.UNPACK,
    "BEFORE_WITH": T.ENTER,
    "BEFORE_ASYNC_WITH": T.ENTER,
    "GET_LEN": T.MATCH,
    "MATCH_MAPPING": T.MATCH,
    "MATCH_SEQUENCE": T.MATCH,
    "MATCH_KEYS": T.MATCH,
    "MATCH_CLASS": T.MATCH,
    "IMPORT_NAME": T.IMPORT,
    "IMPORT_FROM": T.IMPORT_FROM,
    "LOAD_BUILD_CLASS": T.BUILD_CLASS,
    "BUILD_CONST_KEY_MAP": T.PLAIN,
}
_ADDED_IN_3_11: Final = {
    "PRECALL": T.PLAIN,
    "KW_NAMES": T.PLAIN,
    "LOAD_CLOSURE": T.PLAIN,
    "LOAD_CLASSDEREF": T.NAME,
    "LIST_TO_TUPLE": T.PLAIN,
    "ASYNC_GEN_WRAP": T.PLAIN,
    "PREP_RERAISE_STAR": T.PLAIN,
    "LOAD_METHOD": T.METHOD,
    "UNARY_POSITIVE": T.UNARY,
    "UNARY_NOT": T.TRUTH,
    "FORMAT_VALUE": T.FORMAT,
    "IMPORT_STAR": T.NAME,
    "PRINT_EXPR": T.NAME,
    "JUMP_IF_FALSE_OR_POP": T.TRUTH,
    "JUMP_IF_TRUE_OR_POP": T.TRUTH,
    "POP_JUMP_FORWARD_IF_FALSE": T.TRUTH,
    "POP_JUMP_FORWARD_IF_TRUE": T.TRUTH,
    "POP_JUMP_BACKWARD_IF_FALSE": T.TRUTH,
    "POP_JUMP_BACKWARD_IF_TRUE": T.TRUTH,
    "POP_JUMP_FORWARD_IF_NONE": T.PLAIN,
    "POP_JUMP_FORWARD_IF_NOT_NONE": T.PLAIN,
    "POP_JUMP_BACKWARD_IF_NONE": T.PLAIN,
    "POP_JUMP_BACKWARD_IF_NOT_NONE": T.PLAIN,
}
_ADDED_IN_3_12: Final = {
    "KW_NAMES": T.PLAIN,
    "LOAD_CLOSURE": T.PLAIN,
    "UNARY_NOT": T.TRUTH,
    "FORMAT_VALUE": T.FORMAT,
    "POP_JUMP_IF_FALSE": T.TRUTH,
    "POP_JUMP_IF_TRUE": T.TRUTH,
    "POP_JUMP_IF_NONE": T.PLAIN,
    "POP_JUMP_IF_NOT_NONE": T.PLAIN,
    "RETURN_CONST": T.PLAIN,
    "LOAD_FAST_CHECK": T.PLAIN,
    "LOAD_FAST_AND_CLEAR": T.PLAIN,
    "END_FOR": T.PLAIN,
    "END_SEND": T.PLAIN,
    "CLEANUP_THROW": T.PLAIN,
    "BINARY_SLICE": T.SLICE,
    "STORE_SLICE": T.STORE_SLICE,
    "LOAD_SUPER_ATTR": T.SUPER,
    "CALL_INTRINSIC_1": T.INTRINSIC,
    "CALL_INTRINSIC_2": T.PLAIN,
    "LOAD_LOCALS": T.NAME,
    "LOAD_FROM_DICT_OR_GLOBALS": T.NAME,
    "LOAD_FROM_DICT_OR_DEREF": T.NAME,
    "INTERPRETER_EXIT": T.NEVER,
    "RESERVED": T.NEVER,
}
_ADDED_IN_3_13: Final = {
    **_ADDED_IN_3_12,
    "UNARY_NOT": T.PLAIN,  # TO_BOOL comes before it
    "POP_JUMP_IF_FALSE": T.PLAIN,
    "POP_JUMP_IF_TRUE": T.PLAIN,
    "TO_BOOL": T.TRUTH,
    "CALL_KW": T.CALL,
    "CONVERT_VALUE": T.FORMAT,
    "FORMAT_SIMPLE": T.FORMAT,
    "FORMAT_WITH_SPEC": T.FORMAT,
    "LOAD_FAST_LOAD_FAST": T.PLAIN,
    "STORE_FAST_LOAD_FAST": T.PLAIN,
    "STORE_FAST_STORE_FAST": T.PLAIN,
    "SET_FUNCTION_ATTRIBUTE": T.PLAIN,
    "EXIT_INIT_CHECK": T.NEVER,
    "ENTER_EXECUTOR": T.NEVER,
}
_ADDED: Final = {(3, 11): _ADDED_IN_3_11, (3, 12): _ADDED_IN_3_12, (3, 13): _ADDED_IN_3_13}


def _table() -> dict[int, Treatment]:
    """The treatments of this version by opcode; empty for a version that isn't known."""
    added = _ADDED.get(VERSION)
    if added is None:
        return {}
    found = {**_COMMON, **added}
    return {op: found[name] for name, op in dis.opmap.items() if name in found and op < 256}


TREATMENTS: Final = _table()

__all__ = ["TREATMENTS", "Treatment"]
