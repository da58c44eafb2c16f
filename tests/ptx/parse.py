"""PTX text to a module of kernels, strictly: what is not known is an error with its line.

Takes the whole text; gives variables and, for every entry, its parameters and a flat list of
instructions whose operands are resolved. A call to a function of the module is expanded in
place, so a kernel has no calls left. Leaves to `machine` what only running can tell.
Source: PTX ISA, chapters 4 (syntax), 5 (state spaces), 6 (operands), 11 (directives).
"""

from __future__ import annotations

import re
import struct
from bisect import bisect_left
from dataclasses import dataclass, field
from itertools import count

import numpy as np
from ptx import alu, effects  # noqa: F401  # the rows of the table
from ptx.errors import ParseError
from ptx.isa import Kind, Opcode, find
from ptx.types import BITS, TYPES, Array, Type

SPECIAL = {
    f"%{name}.{axis}": TYPES["u32"]
    for name in ("tid", "ntid", "ctaid", "nctaid")
    for axis in "xyz"
}
SPECIAL |= {f"%{name}": TYPES["u32"] for name in ("laneid", "warpid", "nwarpid", "smid")}
SPECIAL |= {f"%lanemask_{name}": TYPES["u32"] for name in ("eq", "le", "lt", "ge", "gt")}
SPECIAL |= {"%clock": TYPES["u32"], "%clock64": TYPES["u64"]}
SPECIAL |= {"%dynamic_smem_size": TYPES["u32"], "%total_smem_size": TYPES["u32"]}


@dataclass(slots=True)
class Variable:
    """A variable of a state space: its size [bytes], alignment and initial bytes.

    `links` are the places in the data that hold the address of another variable:
    (offset, name, addend, as a generic address).
    """

    name: str
    space: str
    size: int
    align: int
    data: bytes | None = None
    links: tuple[tuple[int, str, int, bool], ...] = ()
    dynamic: bool = False
    address: int = 0


@dataclass(frozen=True, slots=True)
class Parameter:
    """A parameter of a kernel; `pointee` is the alignment that a pointer promises."""

    variable: Variable
    type: Type | None
    pointee: int


@dataclass(frozen=True, slots=True)
class Reg:
    """A register, by its place in the kernel's register file."""

    index: int
    type: Type
    negated: bool = False


@dataclass(frozen=True, slots=True)
class Imm:
    """A constant, as the bits of an array of one element."""

    bits: Array


@dataclass(frozen=True, slots=True)
class Special:
    """A special register."""

    name: str
    type: Type


@dataclass(frozen=True, slots=True)
class Symbol:
    """The address of a variable, plus an offset [bytes]."""

    variable: Variable
    offset: int = 0


@dataclass(frozen=True, slots=True)
class Mem:
    """An address operand: a register or a variable, plus an offset [bytes]."""

    base: Reg | Variable | None
    offset: int


Operand = Reg | Imm | Special | Symbol | Mem | tuple["Operand", ...] | int | str | None


@dataclass(slots=True)
class Instruction:
    """An instruction with resolved operands; labels are places in the kernel's list."""

    line: int
    text: str
    opcode: Opcode
    operands: list[Operand]
    guard: Reg | None = None
    targets: list[int] = field(default_factory=list)


@dataclass(slots=True)
class Kernel:
    """An entry: its parameters, registers, local and shared variables, instructions."""

    name: str
    parameters: list[Parameter] = field(default_factory=list)
    registers: list[tuple[str, Type]] = field(default_factory=list)
    variables: list[Variable] = field(default_factory=list)
    instructions: list[Instruction] = field(default_factory=list)
    max_threads: tuple[int, ...] | None = None
    required_threads: tuple[int, ...] | None = None


@dataclass(slots=True)
class Function:
    """A device function: its text, parsed anew at each call."""

    name: str
    results: list[Parameter]
    parameters: list[Parameter]
    body: tuple[int, int]


@dataclass(slots=True)
class Module:
    """A parsed text."""

    version: tuple[int, int]
    target: int
    variables: dict[str, Variable]
    kernels: dict[str, Kernel]


IDENTIFIER = r"[A-Za-z_$%][\w$]*"
_BLANK = re.compile(r"\s*")
_COMMENT = re.compile(r'"(?:[^"\\\n]|\\.)*"|//[^\n]*|/\*.*?\*/', re.S)
_INTEGER = re.compile(r"[-+]?(?:0[xX][0-9a-fA-F]+|0[bB][01]+|0[0-7]*|[1-9][0-9]*)U?")
_HEX_FLOAT = re.compile(r"0[fF]([0-9a-fA-F]{8})|0[dD]([0-9a-fA-F]{16})")
_DECIMAL = re.compile(r"[-+]?(?:[0-9]+\.[0-9]*(?:[eE][-+]?[0-9]+)?|[0-9]+[eE][-+]?[0-9]+)")
_VARIABLE = re.compile(
    r"(?P<linkage>\.visible\s+|\.extern\s+|\.weak\s+|\.common\s+)?"
    r"\.(?P<space>global|const|shared|local|param)\s+"
    r"(?:\.align\s+(?P<align>\d+)\s+)?\.(?P<type>\w+)\s+"
    rf"(?P<name>{IDENTIFIER})(?P<dims>(?:\[\d*\])*)\s*(?:=\s*(?P<init>[^;]*?)\s*)?;"
)
_PARAMETER = re.compile(
    r"\.param\s+(?:\.align\s+(?P<align>\d+)\s+)?\.(?P<type>\w+)\s+"
    r"(?:\.ptr\s+(?:\.(?P<space>global|shared|const|local)\s+)?(?:\.align\s+(?P<pointee>\d+)\s+)?)?"
    rf"(?P<name>{IDENTIFIER})(?:\[(?P<count>\d+)\])?"
)
_REGISTERS = re.compile(rf"\.reg\s+\.(\w+)\s+((?:{IDENTIFIER}(?:<\d+>)?\s*,?\s*)+);")
_INSTRUCTION = re.compile(
    rf"(?:@(?P<not>!?)(?P<guard>{IDENTIFIER})\s+)?(?P<opcode>[a-z][\w.:]*)(?P<operands>[^;]*);"
)
_ENTRY = re.compile(rf"(?:\.visible\s+|\.weak\s+)?\.entry\s+({IDENTIFIER})\s*")
_FUNCTION = re.compile(r"(?:\.visible\s+|\.extern\s+|\.weak\s+)?\.func\b\s*")
_LABEL = re.compile(rf"({IDENTIFIER}):")
_TABLE = re.compile(rf"({IDENTIFIER}):\s*\.branchtargets\s+([^;]*);")
_TUNING = re.compile(
    r"\.(maxntid|reqntid|minnctapersm|maxnctapersm|maxnreg)\s+(\d+(?:\s*,\s*\d+){0,2})"
    r"|\.noreturn\b"
)
_IGNORED = re.compile(r'\.pragma\s+"[^"]*"\s*;|\.loc\s[^\n]*|\.file\s[^\n]*')


def integer(text: str) -> int:
    """An integer literal (PTX ISA 4.5.1)."""
    text = text.removesuffix("U")
    sign = -1 if text.startswith("-") else 1
    text = text.lstrip("+-")
    if text[:2] in ("0x", "0X", "0b", "0B"):
        return sign * int(text, 0)
    return sign * (int(text, 8) if text.startswith("0") and len(text) > 1 else int(text))


def split(text: str) -> list[str]:
    """Cut at the commas that stand outside brackets."""
    parts, depth, start = [], 0, 0
    for i, character in enumerate(text):
        depth += (character in "[{(") - (character in "]})")
        if character == "," and depth == 0:
            parts.append(text[start:i])
            start = i + 1
    parts.append(text[start:])
    return [part.strip() for part in parts] if text.strip() else []


class Scope:
    """Names of registers and variables; a name not found here is sought outside."""

    def __init__(self, outer: Scope | None = None) -> None:
        self.outer = outer
        self.names: dict[str, Reg | Variable] = {}

    def find(self, name: str) -> Reg | Variable | None:
        scope: Scope | None = self
        while scope is not None:
            if name in scope.names:
                return scope.names[name]
            scope = scope.outer
        return None


class Parser:
    """Reads one text from front to back."""

    def __init__(self, text: str) -> None:
        def blank(match: re.Match[str]) -> str:
            found = match.group()
            return found if found.startswith('"') else re.sub(r"[^\n]", " ", found)

        self.text = _COMMENT.sub(blank, text)
        self.ends = [match.start() for match in re.finditer("\n", self.text)]
        self.at = 0
        self.globals = Scope()
        self.module = Module((0, 0), 0, {}, {})
        self.functions: dict[str, Function] = {}
        self.fresh = count()

    # Reading

    def line(self, at: int | None = None) -> int:
        return bisect_left(self.ends, self.at if at is None else at) + 1

    def error(self, message: str, at: int | None = None) -> ParseError:
        return ParseError(self.line(at), message)

    def skip(self) -> None:
        self.at = _BLANK.match(self.text, self.at).end()  # type: ignore[union-attr]

    def take(self, pattern: re.Pattern[str] | str) -> re.Match[str] | None:
        self.skip()
        if isinstance(pattern, str):
            pattern = re.compile(pattern)
        match = pattern.match(self.text, self.at)
        if match:
            self.at = match.end()
        return match

    def need(self, pattern: str, what: str) -> re.Match[str]:
        match = self.take(pattern)
        if match is None:
            raise self.error(f"expected {what}, found {self.rest()!r}")
        return match

    def rest(self) -> str:
        return self.text[self.at :].lstrip().split("\n")[0][:60]

    # The module

    def parse(self) -> Module:
        version = self.need(r"\.version\s+(\d+)\.(\d+)", ".version")
        self.module.version = int(version[1]), int(version[2])
        target = self.need(r"\.target\s+sm_(\d+)[af]?(?:\s*,\s*debug)?(?=\s)", ".target sm_NN")
        self.module.target = int(target[1])
        self.need(r"\.address_size\s+64\b", ".address_size 64")
        while self.at < len(self.text.rstrip()):
            self.skip()
            if self.take(_IGNORED):
                continue
            if match := self.take(_ENTRY):
                self.entry(match[1])
            elif self.take(_FUNCTION):
                self.function()
            elif match := self.take(_VARIABLE):
                if match["space"] not in ("global", "const", "shared"):
                    raise self.error(f".{match['space']} outside a function", match.start())
                variable = self.variable(match)
                self.declare(self.globals, variable.name, variable, match.start())
                self.module.variables[variable.name] = variable
            else:
                raise self.error(f"unknown directive {self.rest()!r}")
        return self.module

    def declare(self, scope: Scope, name: str, what: Reg | Variable, at: int) -> None:
        if name in scope.names:
            raise self.error(f"{name} is declared twice", at)
        scope.names[name] = what

    def variable(self, match: re.Match[str]) -> Variable:
        type_ = self.type(match["type"], match.start())
        dims = re.findall(r"\[(\d*)\]", match["dims"])
        dynamic = dims[:1] == [""]
        if dynamic and (match["space"] != "shared" or match["linkage"] is None):
            raise self.error(f"{match['name']} has no size", match.start())
        if not dynamic and (match["linkage"] or "").strip() == ".extern":
            raise self.error(f"{match['name']} is .extern: nothing to link with", match.start())
        total = 0 if dynamic else int(np.prod([int(n) for n in dims], dtype=np.int64))
        data, links = None, ()
        if match["init"] is not None:
            if match["space"] not in ("global", "const"):
                raise self.error("only .global and .const have initial values", match.start())
            data, links = self.initial(match["init"], type_, total, match.start())
        return Variable(
            match["name"],
            match["space"],
            total * type_.size,
            int(match["align"] or type_.size),
            data,
            links,
            dynamic,
        )

    def initial(
        self, text: str, type_: Type, total: int, at: int
    ) -> tuple[bytes, tuple[tuple[int, str, int, bool], ...]]:
        """The bytes of an initialiser; the elements not named are zero (PTX ISA 5.4.4)."""
        items = split(text[1:-1]) if text.startswith("{") else [text]
        if len(items) > total:
            raise self.error(f"{len(items)} initial values for {total} elements", at)
        data, links = bytearray(total * type_.size), []
        for i, item in enumerate(items):
            place = i * type_.size
            match = re.fullmatch(
                rf"(generic\()?({IDENTIFIER})(?(1)\))\s*(?:\+\s*(\d+))?(?:\s*-\s*(\d+))?", item
            )
            if match:
                if type_.bits != 64:
                    raise self.error(f"an address needs 64 bits, not .{type_.name}", at)
                addend = int(match[3] or 0) - int(match[4] or 0)
                links.append((place, match[2], addend, match[1] is not None))
                continue
            bits = self.literal(item, type_)
            if bits is None:
                raise self.error(f"{item!r} is no .{type_.name}", at)
            data[place : place + type_.size] = bits.tobytes()
        return bytes(data), tuple(links)

    def type(self, name: str, at: int) -> Type:
        if name not in TYPES:
            raise self.error(f"unknown type .{name}", at)
        return TYPES[name]

    def parameters(self) -> list[Parameter]:
        """A parenthesised list, or nothing."""
        found: list[Parameter] = []
        if not self.take(r"\("):
            return found
        while not self.take(r"\)"):
            if found:
                self.need(",", "a comma")
            at = self.at
            match = self.take(_PARAMETER)
            if match is None:
                raise self.error(f"expected a .param, found {self.rest()!r}")
            type_ = self.type(match["type"], at)
            if match["count"] and type_.bits != 8:
                raise self.error("an aggregate parameter is an array of .b8", at)
            size = type_.size * int(match["count"] or 1)
            align = int(match["align"] or type_.size)
            variable = Variable(match["name"], "param", size, align)
            scalar = None if match["count"] else type_
            found.append(Parameter(variable, scalar, int(match["pointee"] or 1)))
        return found

    def body(self) -> tuple[int, int]:
        """Pass over a body in braces; its first and last places."""
        self.need(r"\{", "a body in braces")
        start, depth = self.at, 1
        for match in re.compile(r"[{}]").finditer(self.text, start):
            depth += 1 if match.group() == "{" else -1
            if depth == 0:
                self.at = match.end()
                return start, match.start()
        raise self.error("a brace is never closed", start)

    def function(self) -> None:
        results = self.parameters()
        name = self.need(IDENTIFIER, "the function's name").group()
        parameters = self.parameters()
        while self.take(_TUNING) or self.take(_IGNORED):
            pass
        if self.take(";"):
            return
        self.functions[name] = Function(name, results, parameters, self.body())

    def entry(self, name: str) -> None:
        at = self.at
        if name in self.module.kernels:
            raise self.error(f"{name} is defined twice")
        kernel = Kernel(name, self.parameters())
        scope = Scope(self.globals)
        offset = 0
        for parameter in kernel.parameters:
            variable = parameter.variable
            offset = -(-offset // variable.align) * variable.align
            variable.address = offset
            offset += variable.size
            self.declare(scope, variable.name, variable, at)
        if offset > 4352:
            raise self.error("more than 4352 bytes of parameters", at)
        while True:
            if match := self.take(_TUNING):
                numbers = tuple(int(n) for n in re.findall(r"\d+", match[2] or ""))
                if match[1] == "maxntid":
                    kernel.max_threads = numbers
                elif match[1] == "reqntid":
                    kernel.required_threads = numbers
            elif not self.take(_IGNORED):
                break
        body = self.body()
        resume = self.at
        Assembler(self, kernel).run(body, scope)
        self.at = resume
        self.module.kernels[name] = kernel

    # Constants

    def literal(self, text: str, type_: Type) -> Array | None:
        """The bits of a constant of a type, or None if it is not one (PTX ISA 4.5)."""
        dtype = BITS[type_.bits]
        if type_.kind == "p":
            # Any number but 0 is true (PTX ISA 4.5.3): LLVM writes -1.
            return np.array([text != "0"]) if text in ("0", "1", "-1") else None
        if match := _HEX_FLOAT.fullmatch(text):
            digits = match[1] or match[2]
            return np.array([int(digits, 16)], dtype) if len(digits) * 4 == type_.bits else None
        if _INTEGER.fullmatch(text):
            value = integer(text)
            if type_.kind == "f" and type_.bits > 16:
                return None
            if not -(1 << (type_.bits - 1)) <= value < 1 << type_.bits:
                return None
            return np.array([value & ((1 << type_.bits) - 1)], dtype)
        if _DECIMAL.fullmatch(text) and type_.name in ("f32", "f64"):
            code = "<f" if type_.bits == 32 else "<d"
            return np.frombuffer(struct.pack(code, float(text)), dtype)
        return None


class Assembler:
    """Reads the body of one kernel, and of the functions it calls."""

    def __init__(self, parser: Parser, kernel: Kernel) -> None:
        self.parser = parser
        self.kernel = kernel
        self.labels: dict[tuple[int, str], int] = {}
        self.tables: dict[tuple[int, str], list[str]] = {}
        self.jumps: list[tuple[Instruction, int, str]] = []
        self.calls: list[str] = []
        self.written: set[int] = set()
        self.read: dict[int, Instruction] = {}

    def run(self, body: tuple[int, int], scope: Scope) -> None:
        self.block(body, scope, None)
        for instruction, frame, label in self.jumps:
            names = self.tables.get((frame, label), [label])
            for name in names:
                if (frame, name) not in self.labels:
                    raise ParseError(instruction.line, f"no label {name}")
                instruction.targets.append(self.labels[frame, name])
        for index, instruction in self.read.items():
            if index not in self.written:
                name = self.kernel.registers[index][0]
                raise ParseError(
                    instruction.line, f"{name} is never written: {instruction.text}"
                )

    def block(self, body: tuple[int, int], scope: Scope, end: str | None) -> None:
        """Read a body; in a function `end` is the label to which it returns."""
        parser, outermost = self.parser, scope
        parser.at = body[0]
        frame = next(parser.fresh)
        while True:
            parser.skip()
            if parser.at >= body[1]:
                break
            at = parser.at
            if parser.take(_IGNORED):
                continue
            if parser.take(r"\{"):
                scope = Scope(scope)
            elif parser.take(r"\}"):
                if scope is outermost or scope.outer is None:
                    raise parser.error("a brace too many", at)
                scope = scope.outer
            elif match := parser.take(_TABLE):
                self.tables[frame, match[1]] = split(match[2])
            elif match := parser.take(_LABEL):
                if (frame, match[1]) in self.labels:
                    raise parser.error(f"label {match[1]} twice", at)
                self.labels[frame, match[1]] = len(self.kernel.instructions)
            elif match := parser.take(_REGISTERS):
                self.registers(match, scope)
            elif match := parser.take(_VARIABLE):
                self.local(match, scope)
            elif match := parser.take(_INSTRUCTION):
                self.statement(match, scope, frame, end)
            else:
                raise parser.error(f"not understood: {parser.rest()!r}", at)
        if scope is not outermost:
            raise parser.error("a brace is never closed")
        if end is None and (
            not self.kernel.instructions
            or self.kernel.instructions[-1].opcode.row.name
            not in ("ret", "exit", "trap", "bra")
        ):
            raise parser.error("the kernel ends without ret")
        parser.at = body[1]
        self.frame_end(frame, end)

    def frame_end(self, frame: int, end: str | None) -> None:
        if end is not None:
            self.labels[frame, end] = len(self.kernel.instructions)

    def registers(self, match: re.Match[str], scope: Scope) -> None:
        type_ = self.parser.type(match[1], match.start())
        for name in split(match[2]):
            family = re.fullmatch(rf"({IDENTIFIER})<(\d+)>", name)
            names = [f"{family[1]}{i}" for i in range(int(family[2]))] if family else [name]
            for one in names:
                register = Reg(len(self.kernel.registers), type_)
                self.parser.declare(scope, one, register, match.start())
                self.kernel.registers.append((one, type_))

    def local(self, match: re.Match[str], scope: Scope) -> None:
        if match["space"] in ("global", "const"):
            raise self.parser.error(f".{match['space']} inside a function", match.start())
        variable = self.parser.variable(match)
        if variable.space == "param":
            # What passes between caller and callee lives in each thread's own memory.
            variable.space = "argument"
        self.kernel.variables.append(variable)
        self.parser.declare(scope, variable.name, variable, match.start())

    # Statements

    def statement(
        self, match: re.Match[str], scope: Scope, frame: int, end: str | None
    ) -> None:
        parser, name = self.parser, match["opcode"]
        line, text = parser.line(match.start()), " ".join(match.group().split())
        if name in ("call", "call.uni"):
            self.call(match, scope, line)
            return
        if end is not None and name in ("ret", "ret.uni"):
            name, operands = "bra.uni", [end]
        else:
            operands = split(match["operands"])
        opcode = find(name)
        if opcode is None:
            raise ParseError(line, f"unknown instruction {name}: {text}")
        if opcode.row.sm > parser.module.target:
            raise ParseError(
                line,
                f"{name} needs sm_{opcode.row.sm}, the target is sm_{parser.module.target}",
            )
        instruction = Instruction(line, text, opcode, [])
        if match["guard"]:
            instruction.guard = self.guard(match, scope, instruction)
        required = sum(not kind.optional for kind in opcode.kinds)
        if not required <= len(operands) <= len(opcode.kinds):
            raise ParseError(line, f"{len(operands)} operands, {required} expected: {text}")
        for kind, operand in zip(opcode.kinds, operands, strict=False):
            instruction.operands.append(self.operand(operand, kind, scope, instruction, frame))
        if check := getattr(opcode.row.run, "check", None):
            problem = check(opcode.mods, instruction.operands)
            if problem:
                raise ParseError(line, f"{problem}: {text}")
        self.kernel.instructions.append(instruction)

    def guard(self, match: re.Match[str], scope: Scope, instruction: Instruction) -> Reg:
        register = scope.find(match["guard"])
        if not isinstance(register, Reg) or register.type.kind != "p":
            raise ParseError(instruction.line, f"{match['guard']} is no predicate")
        self.read.setdefault(register.index, instruction)
        return Reg(register.index, register.type, bool(match["not"]))

    def call(self, match: re.Match[str], scope: Scope, line: int) -> None:
        parts = split(match["operands"])
        results = split(parts.pop(0)[1:-1]) if parts and parts[0].startswith("(") else []
        if match["guard"] or not parts or len(parts) > 2:
            raise ParseError(line, "only a plain direct call is known")
        name = parts[0]
        arguments = split(parts[1][1:-1]) if len(parts) == 2 else []
        function = self.parser.functions.get(name)
        if function is None:
            raise ParseError(line, f"call of {name}, which has no body here")
        if name in self.calls:
            raise ParseError(line, f"{name} calls itself")
        inner = Scope(self.parser.globals)
        formals, actuals = function.results + function.parameters, results + arguments
        if len(formals) != len(actuals):
            raise ParseError(line, f"{name} takes {len(formals)} .params, not {len(actuals)}")
        for formal, actual in zip(formals, actuals, strict=True):
            variable = scope.find(actual)
            if not isinstance(variable, Variable) or variable.space != "argument":
                raise ParseError(line, f"{actual} is no .param of this block")
            if variable.size != formal.variable.size:
                raise ParseError(
                    line,
                    f"{actual} has {variable.size} bytes, {name} expects"
                    f" {formal.variable.size}",
                )
            inner.names[formal.variable.name] = variable
        resume = self.parser.at
        self.calls.append(name)
        self.block(function.body, Scope(inner), "$return")
        self.calls.pop()
        self.parser.at = resume

    # Operands

    def operand(
        self, text: str, kind: Kind, scope: Scope, instruction: Instruction, frame: int
    ) -> Operand:
        line = instruction.line
        match kind.word:
            case "label" | "table":
                self.jumps.append((instruction, frame, text))
                return text
            case "imm":
                if not _INTEGER.fullmatch(text):
                    raise ParseError(line, f"{text!r} must be a constant: {instruction.text}")
                return integer(text)
            case "mem":
                return self.address(text, kind.space, scope, instruction)
        if kind.vector:
            if not (text.startswith("{") and text.endswith("}")):
                raise ParseError(line, f"{text!r} must be a vector: {instruction.text}")
            parts = split(text[1:-1])
            if len(parts) != kind.count:
                raise ParseError(line, f"{len(parts)} elements, {kind.count} expected")
            return tuple(self.value(part, kind, scope, instruction) for part in parts)
        if kind.second is not None and "|" in text:
            first, second = (part.strip() for part in text.split("|", 1))
            other = Kind("value", kind.second, True)
            return (
                self.value(first, kind, scope, instruction),
                self.value(second, other, scope, instruction),
            )
        if kind.word == "any" and text.startswith("{"):
            assert kind.type is None
            parts = split(text[1:-1])
            return tuple(self.any(part, kind, scope, instruction) for part in parts)
        if kind.word == "any":
            return self.any(text, kind, scope, instruction)
        return self.value(text, kind, scope, instruction)

    def any(self, text: str, kind: Kind, scope: Scope, instruction: Instruction) -> Operand:
        """An operand of `mov`: a register, a special register, a constant or an address."""
        type_ = instruction.opcode.type()
        if text in SPECIAL:
            if kind.result:
                raise ParseError(instruction.line, f"{text} cannot be written")
            return Special(text, SPECIAL[text])
        found = scope.find(text)
        if isinstance(found, Reg):
            self.note(found, kind, instruction)
            return found
        if kind.result:
            if text == "_":
                return None
            raise ParseError(instruction.line, f"unknown register {text}: {instruction.text}")
        match = re.fullmatch(rf"({IDENTIFIER})(?:\s*\+\s*(\d+))?", text)
        if match and isinstance(variable := scope.find(match[1]), Variable):
            if type_.bits != 64 and (type_.bits, variable.space) != (32, "shared"):
                raise ParseError(instruction.line, f"an address needs 64 bits: {text}")
            return Symbol(variable, int(match[2] or 0))
        bits = self.parser.literal(text, type_)
        if bits is None:
            raise ParseError(instruction.line, f"no .{type_.name} operand: {text!r}")
        return Imm(bits)

    def value(self, text: str, kind: Kind, scope: Scope, instruction: Instruction) -> Operand:
        type_, line = kind.type, instruction.line
        assert type_ is not None
        if kind.result and text == "_":
            return None
        negated = kind.negatable and text.startswith("!")
        name = text[1:].strip() if negated else text
        if name in SPECIAL and not kind.result:
            self.fits(SPECIAL[name], type_, kind, name, instruction)
            return Special(name, SPECIAL[name])
        found = scope.find(name)
        if isinstance(found, Reg):
            self.fits(found.type, type_, kind, name, instruction)
            self.note(found, kind, instruction)
            return Reg(found.index, found.type, negated)
        if kind.result:
            raise ParseError(line, f"unknown register {text}: {instruction.text}")
        bits = self.parser.literal(text, type_)
        if bits is None:
            what = "unknown register" if text.startswith("%") else f"no .{type_.name} operand:"
            raise ParseError(line, f"{what} {text}: {instruction.text}")
        return Imm(bits)

    def fits(
        self, actual: Type, wanted: Type, kind: Kind, name: str, instruction: Instruction
    ) -> None:
        """Sizes are equal, and a float is not mixed with an integer (PTX ISA 9.4)."""
        enough = actual.bits > wanted.bits and kind.wider and actual.kind != "f"
        same = actual.bits == wanted.bits
        kinds = {actual.kind, wanted.kind} - {"b"}
        if "p" in kinds:
            same = actual.kind == wanted.kind == "p"
            enough = False
        mixed = "f" in kinds and len(kinds) > 1 and not kind.wider
        if not (same or enough) or mixed:
            raise ParseError(
                instruction.line,
                f"{name} is .{actual.name}, .{wanted.name} is needed: {instruction.text}",
            )

    def note(self, register: Reg, kind: Kind, instruction: Instruction) -> None:
        if kind.result:
            self.written.add(register.index)
        else:
            self.read.setdefault(register.index, instruction)

    def address(
        self, text: str, space: str | None, scope: Scope, instruction: Instruction
    ) -> Mem:
        line = instruction.line
        match = re.fullmatch(rf"\[\s*({IDENTIFIER}|\d+)\s*(?:\+\s*([-+]?\w+))?\s*\]", text)
        if match is None:
            raise ParseError(line, f"{text!r} is no address: {instruction.text}")
        offset = match[2] or "0"
        if not _INTEGER.fullmatch(offset):
            raise ParseError(line, f"{offset!r} is no offset: {instruction.text}")
        if match[1].isdigit():
            return Mem(None, int(match[1]) + integer(offset))
        base = scope.find(match[1])
        if base is None:
            raise ParseError(line, f"unknown address {match[1]}: {instruction.text}")
        if isinstance(base, Reg):
            near = base.type.bits == 32 and space is not None and space.startswith("shared")
            if (base.type.bits != 64 and not near) or base.type.kind == "f":
                raise ParseError(line, f"{match[1]} holds no 64-bit address")
            self.read.setdefault(base.index, instruction)
        else:
            self.inside(base, integer(offset), space, instruction)
        return Mem(base, integer(offset))

    def inside(
        self, variable: Variable, offset: int, space: str | None, instruction: Instruction
    ) -> None:
        """A parameter is read with its own space and inside its own bytes."""
        line, mods = instruction.line, instruction.opcode.mods
        own = "param" if variable.space == "argument" else variable.space
        if space is None or space.removesuffix("::cta") != own:
            raise ParseError(line, f"{variable.name} is in .{own}: {instruction.text}")
        if variable.space in ("param", "argument"):
            size = TYPES[mods["type"]].size * int(mods.get("vec", "v1")[1:])
            if offset < 0 or offset + size > variable.size:
                raise ParseError(
                    line,
                    f"{size} bytes at {offset} of {variable.name},"
                    f" which has {variable.size}: {instruction.text}",
                )


def parse(text: str) -> Module:
    """Read a PTX text."""
    return Parser(text).parse()
