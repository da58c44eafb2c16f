"""The text of one LLVM module while it is written."""

from __future__ import annotations

# A math function used at most this often in a module is inlined at each use, if its text has
# fewer characters than LONG_MATH: beside longer code a call costs nothing. 500 inlined sines
# cost LLVM 1.2 s, calls to one shared function 0.09 s.
INLINE_USES, LONG_MATH = 8, 16_000


class Module:
    """The text of one LLVM module: functions, declarations, shared math functions.

    native: instructions of the target that code may use beyond the common ones ("ldexp").
        Results are the same with and without.
    """

    def __init__(self, native: frozenset[str] = frozenset()) -> None:
        self.native = native
        self.functions: list[str] = []
        self.written: dict[str, str] = {}  # text -> name
        self.declarations: set[str] = set()
        self.math_uses: dict[str, int] = {}
        self.shared: set[str] = set()
        self.math_bodies: dict[str, str] = {}
        self.math_rare: set[str] = set()
        self.counter = 0

    def declare(self, result: str, name: str, arguments: str) -> None:
        """Declare an external function or intrinsic once."""
        self.declarations.add(f"declare {result} @{name}({arguments})")

    def function(self, name: str, text: str) -> str:
        """The name of the function that a text defines. `{name}` in the text is its own name.

        Equal texts are written once: the name is then that of the first one.
        """
        if text not in self.written:
            self.written[text] = name
            self.functions.append(text.replace("{name}", name))
        return self.written[text]

    def math_attributes(self, name: str) -> str:
        """The attributes of a math function: whether it is inlined."""
        if name in self.math_rare:
            # Optimizing code that hardly ever runs would take as long as all the rest.
            return "noinline optnone cold"
        few = self.math_uses[name] <= INLINE_USES and len(self.math_bodies[name]) < LONG_MATH
        return "alwaysinline" if few else "noinline"

    def text(self) -> str:
        """The whole module."""
        parts = sorted(self.declarations)
        for name, body in self.math_bodies.items():
            parts.append(body.replace("#math", self.math_attributes(name)))
        return "\n".join(parts + self.functions) + "\n"
