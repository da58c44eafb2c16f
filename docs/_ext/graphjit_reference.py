"""Write the reference pages that are made from the package: its public names, its command line,
its options and the NumPy functions that it traces. Sphinx runs this before it reads the pages.
"""

from __future__ import annotations

import inspect
import re
from importlib import import_module
from pathlib import Path
from typing import Any

import click
import numpy as np
from sphinx.application import Sphinx

import graphjit as gj
from graphjit import functions, numpy_protocol
from graphjit.core import config
from graphjit.numpy_protocol.ufuncs import UFUNCS

# Page -> title, introduction, the rooms of the package whose names stand there.
SUBJECTS = {
    "creating": ("Creating tensors", ["create"]),
    "elementwise": ("Elementwise functions", ["elementwise", "math"]),
    "reductions": ("Reductions and scans", ["reduce"]),
    "shapes": ("Shapes", ["shape"]),
    "indexing": ("Indexing, sorting, scattering", ["index", "sorting"]),
    "products": ("Products", ["linalg"]),
    "activations": ("Activations at the top level", ["nn"]),
    "control-flow": ("Control flow", ["control", "loops", "tensor_array"]),
}
MODULES = {
    "nn": "Layers and activations",
    "linalg": "Linear algebra",
    "losses": "Losses",
    "signal": "Signal processing",
    "special": "Special functions",
    "conv": "Convolutions and pooling",
    "random": "Random numbers",
    "keras": "A backend for Keras",
    "memory": "Memory of results",
    "errors": "Errors",
}


# What each variable does; an option of gj.config that it sets is named.
VARIABLES = {
    "GRAPHJIT_CACHE": "Sets `cache`: 0 turns the disk cache off.",
    "GRAPHJIT_CACHE_BYTES": "Sets `cache_bytes`.",
    "GRAPHJIT_CACHE_DIR": "The folder of the disk cache.",
    "GRAPHJIT_CUBLAS": "Sets `cublas`: 0 keeps cuBLAS out.",
    "GRAPHJIT_EAGER": "1 runs decorated functions as plain Python.",
    "GRAPHJIT_LOG": "Sets `log`: `compile`.",
    "GRAPHJIT_MACHINE": "A JSON file to use as `graphjit machine --json` prints it.",
    "GRAPHJIT_MEMORY_BUDGET": "Sets `memory_budget`, in bytes.",
    "GRAPHJIT_NATIVE_AFTER": "Sets `native_after`: a count, or `never`.",
    "GRAPHJIT_NUM_THREADS": "Sets `threads`.",
    "GRAPHJIT_PTXAS": "The `ptxas` to assemble PTX with.",
    "GRAPHJIT_SYMBOLIC_AFTER": "Sets `symbolic_after`: a count, or `never`.",
    "GRAPHJIT_VERIFY": "Sets `verify`: 1 checks every graph and program after every pass.",
}


def heading(text: str, line: str = "=") -> list[str]:
    return [text, line * len(text), ""]


def names_of(room: str) -> list[str]:
    return functions.names_of(room)


def entry(module: str, name: str) -> list[str]:
    """The directive for one public name."""
    value = getattr(import_module(module), name)
    if inspect.ismodule(value):
        return []
    if isinstance(value, type):
        members = [
            member
            for member, found in vars(value).items()
            if not member.startswith("_") and getattr(found, "__doc__", None)
        ]
        # attributes that are plain data are told of by the class's own text
        members = [
            m for m in members
            if callable(getattr(value, m)) or isinstance(vars(value)[m], property)
        ]  # fmt: skip
        lines = [f".. autoclass:: {module}.{name}"]
        if issubclass(value, BaseException):
            lines += ["   :show-inheritance:", "   :class-doc-from: class"]
        elif members:
            lines += [f"   :members: {', '.join(members)}"]
        return [*lines, ""]
    if callable(value):
        return [f".. autofunction:: {module}.{name}", ""]
    return [f".. py:data:: {module}.{name}", "", f"   ``{value!r}``", ""]


def module_names(module: Any) -> list[str]:
    """The public names of a module: its `__all__`, else what it defines itself."""
    listed = getattr(module, "__all__", None)
    if listed is not None:
        return sorted(name for name in listed if not name.startswith("_"))
    return sorted(
        name
        for name, value in vars(module).items()
        if not name.startswith("_") and getattr(value, "__module__", "") == module.__name__
    )


def first_sentence(module: Any) -> str:
    return rst((module.__doc__ or "").strip())


def top_pages() -> dict[str, str]:
    """The names of `import graphjit as gj`."""
    pages = {}
    listed: set[str] = set()
    for page, (title, rooms) in SUBJECTS.items():
        lines = heading(title)
        for room in rooms:
            for name in sorted(names_of(room)):
                lines += entry("graphjit", name)
                listed.add(name)
        pages[page] = "\n".join(lines)
    others = sorted({*gj.__all__} - listed)
    dtypes = [n for n in others if isinstance(getattr(gj, n), gj.DType)]
    rest = [n for n in others if n not in dtypes and not inspect.ismodule(getattr(gj, n))]
    rest = [n for n in rest if n not in ("newaxis", "config", "eager")]
    lines = heading("Functions, tensors and types")
    for name in rest:
        lines += entry("graphjit", name)
    lines += heading("Data types", "-")
    for name in dtypes:
        lines += [f".. py:data:: graphjit.{name}", "", f"   ``{getattr(gj, name)!r}``", ""]
    lines += heading("Other names", "-")
    lines += [
        ".. py:data:: graphjit.newaxis", "", "   ``None``, as NumPy's.", "",
        ".. py:data:: graphjit.config", "",
        "   The options of the process; see :doc:`configuration`.", "",
        ".. autofunction:: graphjit.eager", "",
    ]  # fmt: skip
    pages["core"] = "\n".join(lines)
    lines = heading("Second names")
    lines += [
        "Names of the array API standard and of NumPy for functions above.", "",
    ]  # fmt: skip
    for name in sorted(names_of("second_names")):
        lines += entry("graphjit", name)
    pages["second-names"] = "\n".join(lines)
    return pages


def module_pages() -> dict[str, str]:
    pages = {}
    for name, title in MODULES.items():
        module = getattr(gj, name)
        lines = [*heading(f"graphjit.{name}: {title}"), first_sentence(module), ""]
        for public in module_names(module):
            lines += entry(module.__name__, public)
        pages[name] = "\n".join(lines)
    from graphjit import passes

    lines = [
        *heading("graphjit.passes: the passes"), first_sentence(passes), "",
        "`graphjit passes` prints this list with each target's pipeline.", "",
    ]  # fmt: skip
    lines[-2] = rst(lines[-2])
    for name, made in sorted(passes.PASSES.items()):
        made = made if isinstance(made, type) else type(made)
        lines += [f"``{name}``", f"   {rst(inspect.getdoc(made) or '').splitlines()[0]}", ""]
    lines += [*heading("Classes", "-")]
    for name in ("Pass", "Pipeline"):
        lines += entry("graphjit.passes", name)
    pages["passes"] = "\n".join(lines)
    return pages


def commands(group: click.Command, name: str = "graphjit") -> list[tuple[str, click.Command]]:
    """Every command with its full name, in the order of `--help`."""
    found = [(name, group)]
    if isinstance(group, click.Group):
        for child, command in sorted(group.commands.items()):
            found += commands(command, f"{name} {child}")
    return found


def help_of(name: str, command: click.Command) -> str:
    """What `NAME --help` prints, 96 columns wide."""
    context = click.Context(command, info_name=name, terminal_width=96, max_content_width=96)
    return command.get_help(context)


def cli_page() -> str:
    from graphjit.cli.main import main

    lines = heading("The command line")
    lines += [rst("Each section is what `COMMAND --help` prints."), ""]
    for name, command in commands(main):
        lines += [*heading(name, "-"), ".. code-block:: text", ""]
        lines += [f"   {line}" if line else "" for line in help_of(name, command).splitlines()]
        lines += [""]
    return "\n".join(lines)


def option_texts() -> dict[str, str]:
    """What the docstring of Config says of each option."""
    text = inspect.getdoc(config.Config) or ""
    found = re.split(r"^(\w+): ", text, flags=re.M)[1:]
    return {
        name: " ".join(told.split()) for name, told in zip(found[::2], found[1::2], strict=True)
    }


def configuration_page() -> str:
    texts = option_texts()
    assert {*texts} == {*config._OPTIONS}, {*texts} ^ {*config._OPTIONS}
    lines = heading("Configuration") + heading("Options of gj.config", "-")
    lines += [rst("An assignment with a value that the option can't have is an error."), ""]
    for name in sorted(texts):
        lines += [
            f"``gj.config.{name}``",
            f"   {rst(texts[name][0].upper() + texts[name][1:])}",
            "",
        ]
    lines += heading("Methods of gj.config", "-")
    for name in ("run_functions_eagerly", "eager", "forbid_recompile"):
        lines += [f".. automethod:: graphjit.core.config.Config.{name}", ""]
    lines += heading("Variables of the environment", "-")
    assert {*VARIABLES} == {*config.VARIABLES}, {*VARIABLES} ^ {*config.VARIABLES}
    for name, told in VARIABLES.items():
        lines += [f"``{name}``", f"   {rst(told)}", ""]
    return "\n".join([*lines, ""])


def dotted(function: Any) -> str:
    module = (getattr(function, "__module__", "") or "numpy").replace("numpy", "np", 1)
    for home, name in ((np.linalg, "np.linalg"), (np.fft, "np.fft"), (np, "np")):
        if getattr(home, getattr(function, "__name__", ""), None) is function:
            return f"{name}.{function.__name__}"
    return f"{module}.{function.__name__}"


def column(names: list[str]) -> list[str]:
    return [", ".join(f"``{name}``" for name in names) + ".", ""]


def numpy_page() -> str:
    """Which of NumPy's functions are traced, from the tables that answer them."""
    callables = {f for f in (*numpy_protocol.FUNCTIONS, *numpy_protocol.VIEWS) if callable(f)}
    methods = {
        f for f in (*numpy_protocol.FUNCTIONS, *numpy_protocol.VIEWS) if isinstance(f, str)
    } | numpy_protocol.methods.KNOWN
    ufuncs = {f for f in UFUNCS if isinstance(f, np.ufunc)}
    lines = heading("NumPy functions that are traced")
    lines += ["Made from the tables that answer them.", ""]
    lines += heading("Functions", "-") + column(sorted({dotted(f) for f in callables}))
    lines += heading("Ufuncs", "-")
    lines += column(sorted({dotted(f) for f in ufuncs}))
    lines += heading("Methods and attributes of arrays", "-") + column(sorted(methods))
    return "\n".join(lines)


def rst(text: str) -> str:
    """A docstring, whose markup is backticks only, as reStructuredText."""
    parts = re.split(r"(`[^`\n]+`)", text)
    for number, part in enumerate(parts):
        if number % 2:
            parts[number] = f"`{part}`" if part.strip("`").strip() == part.strip("`") else part
            following = parts[number + 1]
            if following and following[0].isalnum():
                parts[number + 1] = "\\ " + following
        else:
            part = re.sub(r"([\\*|`])", r"\\\1", part)
            parts[number] = re.sub(r"(\w)_(?!\w)", r"\1\\_", part)
    return "".join(parts)


def process_docstring(
    app: Sphinx, what: str, name: str, found: Any, options: Any, lines: list[str]
) -> None:
    lines[:] = rst("\n".join(lines)).splitlines()


def write_pages(app: Sphinx) -> None:
    folder = Path(app.srcdir) / "reference" / "generated"
    folder.mkdir(parents=True, exist_ok=True)
    pages = top_pages() | module_pages()
    pages |= {
        "cli": cli_page(),
        "configuration": configuration_page(),
        "numpy-functions": numpy_page(),
    }
    for name, text in pages.items():
        path = folder / f"{name}.rst"
        if not path.exists() or path.read_text() != text:
            path.write_text(text)
    for path in folder.iterdir():
        if path.stem not in pages:
            path.unlink()


def setup(app: Sphinx) -> dict[str, Any]:
    app.connect("builder-inited", write_pages)
    app.connect("autodoc-process-docstring", process_docstring)
    return {"parallel_read_safe": True, "version": gj.__version__}
