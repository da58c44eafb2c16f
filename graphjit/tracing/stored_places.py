"""What a function stores outside of its variables: attributes of objects, globals, variables of
functions around it. A loop carries them from turn to turn as it does variables, under names.

Objects from outside stay as they are during a trace: what is stored in them is in an overlay.
Objects that the function makes have their attributes themselves.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Mapping
from types import CellType, FrameType, FunctionType
from typing import Any, NamedTuple

from graphjit.capture.sources import MISSING

from .loop_tests import LoopTest, set_locals
from .open_loops import values_of
from .records import LIBRARIES
from .turn_ways import PLACE_MARK

# How many places are looked at, and how far into objects.
MAX_PLACES, MAX_DEPTH = 200, 3


def _never(value: Any) -> bool:
    return False


class _Place(NamedTuple):
    """Where something is stored.

    holder: whose identity says which place it is, with a key. holders: what holds the value
    """

    holder: Any
    key: Any
    read: Callable[[], Any]
    write: Callable[[Any], None]
    holders: Callable[[], list[Any]]


class StoredPlaces:
    """The places of one trace.

    is_own, is_own_cell: whether an object, or a variable's cell, was made in the trace
    """

    def __init__(self) -> None:
        self._places: dict[str, _Place] = {}
        self._names: dict[tuple[int, Any], str] = {}
        self._cells: dict[tuple[int, int, str], CellType] = {}
        self.is_own: Callable[[Any], bool] = _never
        self.is_own_cell: Callable[[CellType], bool] = _never

    def release(self) -> None:
        """Refer to no object any more."""
        self._places.clear()
        self._names.clear()
        self._cells.clear()
        self.is_own = self.is_own_cell = _never

    def name_of(self, holder: Any, key: Any) -> str | None:
        """The name of a place; None where it isn't known."""
        return self._names.get((id(holder), key))

    def note(self, holder: Any, key: Any, *functions: Any) -> str:
        """The name of a place, from now on. functions: as `_Place` has them."""
        name = self._names.get((id(holder), key))
        if name is None:
            name = f".{key}{PLACE_MARK}{len(self._places)}"
            self._names[id(holder), key] = name
        self._places[name] = _Place(holder, key, *functions)
        return name

    def _note_items(self, held: dict[Any, Any], owner: Any) -> None:
        """Note what a dict holds that was made in the trace, or an object with these
        attributes, its owner.
        """
        if len(self._places) + len(held) <= MAX_PLACES:
            for key in held:
                if type(key) in (str, int) and (id(held), key) not in self._names:
                    self._note_own(held, key, owner)

    def _note_own(self, held: dict[Any, Any], key: Any, owner: Any) -> None:
        def read() -> Any:
            return held.get(key, MISSING)

        def write(value: Any) -> None:
            held[key] = value

        # from 3.13 on an object itself holds what its attributes are
        self.note(held, key, read, write, lambda: [held, owner])

    def note_variable(self, frame: FrameType, cell: CellType, name: str) -> None:
        """Note in which cell a frame's variable is. A later frame may have the same id."""
        self._cells[id(frame), id(frame.f_code), name] = cell

    def note_cell(self, cell: CellType, name: str) -> str:
        """Note a variable of a function around others that was made in the trace. Its name."""

        def read() -> Any:
            try:
                return cell.cell_contents
            except ValueError:  # it has no value
                return MISSING

        def write(value: Any) -> None:
            cell.cell_contents = value

        return self.note(cell, name, read, write, lambda: [cell])

    def note_objects(self, values: Mapping[str, Any]) -> None:
        """Note attributes of variables that are objects made in the trace, and what functions
        among them may store.
        """
        found = list(values.values())
        for _ in range(MAX_DEPTH):
            inside: list[Any] = []
            for value in found:
                held = self._held_by(value)
                if held:
                    self._note_items(held, value)
                    inside += held.values()
            found = inside

    def _held_by(self, value: Any) -> dict[Any, Any]:
        """The items of a dict, or the attributes of an object, made in the trace."""
        kind = type(value)
        if kind is FunctionType and value.__closure__:
            self._note_cells(value)
            return {}
        if kind is dict:
            return value if value and self.is_own(value) else {}
        package = kind.__module__.partition(".")[0]
        if kind.__dictoffset__ == 0 or package in LIBRARIES:
            return {}
        held = getattr(value, "__dict__", None)
        return held if type(held) is dict and held and self.is_own(value) else {}

    def _note_cells(self, function: FunctionType) -> None:
        """Note numbers that a function may store in variables of functions around it."""
        cells = zip(function.__code__.co_freevars, function.__closure__ or (), strict=True)
        for name, cell in cells:
            if self.is_own_cell(cell) and (id(cell), name) not in self._names:
                try:
                    content = cell.cell_contents
                except ValueError:  # it has no value
                    continue
                if type(content) in (int, float) and len(self._places) <= MAX_PLACES:
                    self.note_cell(cell, name)

    def values(self) -> dict[str, Any]:
        """What is stored now, by the names of the places."""
        if len(self._places) > MAX_PLACES:
            return {}
        found = {name: place.read() for name, place in self._places.items()}
        return {name: value for name, value in found.items() if value is not MISSING}

    def fields(self, frame: FrameType, names: Container[str]) -> frozenset[tuple[int, Any]]:
        """What holds values that have names of their own: the ids of dicts, with keys, and of
        cells.
        """
        found: set[tuple[int, Any]] = {(number, None) for number in self._cells_of(frame)}
        for name, place in self._places.items():
            if name in names:
                key = None if type(place.holder) is CellType else place.key
                found.add((id(place.holder), key))
        return frozenset(found)

    def holders(self) -> list[Any]:
        """What holds the values."""
        return [x for place in self._places.values() for x in place.holders()]

    # -- frames

    def owns_cell(self, frame: FrameType, cell: CellType, name: str) -> bool:
        """Whether a cell is a variable of a frame's own function."""
        return name in frame.f_code.co_cellvars and id(cell) in self._cells_of(frame)

    def _cells_of(self, frame: FrameType) -> set[int]:
        """The ids of the cells of a frame's variables that were stored by its code."""
        return set(map(id, self.cells(frame)))

    def cells(self, frame: FrameType) -> list[CellType]:
        """The cells of a frame's variables that were stored by its code."""
        code, found = frame.f_code, list[CellType]()
        for name in (*code.co_cellvars, *code.co_freevars):
            cell = self._cells.get((id(frame), id(code), name))
            if cell is None:
                continue
            try:
                content = cell.cell_contents
            except ValueError:
                continue
            if frame.f_locals.get(name, MISSING) is content:
                found.append(cell)
        return found

    def at(self, frame: FrameType, test: LoopTest) -> dict[str, Any]:
        """The variables of a frame that may be read after a test, and what is stored."""
        return self._with_places(frame, values_of(frame, test))

    def all_of(self, frame: FrameType) -> dict[str, Any]:
        """The variables of a frame, and what is stored."""
        return self._with_places(frame, dict(frame.f_locals))

    def _with_places(self, frame: FrameType, variables: dict[str, Any]) -> dict[str, Any]:
        places = self.values()
        if not places:
            return variables
        cells = self._cells_of(frame)
        for name in list(places):
            place = self._places[name]
            if type(place.holder) is not CellType or id(place.holder) not in cells:
                continue
            if place.key in frame.f_code.co_cellvars:  # it is the frame's own variable
                del places[name]
            else:
                variables.pop(place.key, None)
        return {**variables, **places}

    def set(self, frame: FrameType, values: Mapping[str, Any]) -> None:
        """Give variables of a frame that runs, and places, other values."""
        variables = {}
        for name, value in values.items():
            place = self._places.get(name) if PLACE_MARK in name else None
            if place is None:
                variables[name] = value
            else:
                place.write(value)
        set_locals(frame, variables)


def is_place(name: str) -> bool:
    """Whether a name is that of a place, not of a variable."""
    return PLACE_MARK in name


def carried_of(values: Mapping[str, Any], names: Container[str]) -> dict[str, Any]:
    """Variables, and of what is stored elsewhere these names alone."""
    return {n: x for n, x in values.items() if not is_place(n) or n in names}


__all__ = ["StoredPlaces", "carried_of", "is_place"]
