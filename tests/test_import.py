"""`import graphjit` is light: what is heavy is imported where it is first needed."""

import ast
import importlib
import pickle
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

import graphjit as gj
from graphjit import functions

HEAVY = ("networkx", "scipy", "llvmlite", "ml_dtypes", "rich", "click")


def output_of(script):
    result = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    return result.stdout


def modules_after(code):
    """The loaded modules: of graphjit each one, of others the packages."""
    names = output_of(code + "\nimport sys\nprint(' '.join(sys.modules))").split()
    return {n if n.startswith("graphjit.") else n.split(".")[0] for n in names}


def of_graphjit(loaded):
    """The modules of graphjit that are loaded, without its name before them."""
    return {name.removeprefix("graphjit.") for name in loaded if name.startswith("graphjit.")}


def test_import_leaves_heavy_libraries_alone():
    loaded = modules_after("import graphjit")
    assert "numpy" in loaded
    assert not loaded & set(HEAVY)


# Of the compiler's folder, what runs programs that are on disk.
RUNNING = {"graphjit.codegen.runtime"} | {
    f"graphjit.codegen.runtime.{name}"
    for name in (
        "allocation", "compiled", "executable", "image", "loader", "routines",
        "runtime_symbols", "serialize",
    )
}  # fmt: skip


def late(loaded):
    """What is loaded of what makes code, and of what few need."""
    found = of_graphjit(loaded) & {
        "passes", "keras", "jit.native_entry", "cli", "ir.drawing", "ir.graph_json",
        "ir.text",
    }  # fmt: skip
    return found | {n for n in loaded if n.startswith("graphjit.codegen.")} - RUNNING


def test_import_loads_types_and_settings_only():
    parts = {
        "core", "core.config", "core.cpus", "core.dim_operators", "core.dims", "core.errors",
        "core.fork_safety", "core.frozen", "core.size_facts", "core.types",
    }  # fmt: skip
    assert of_graphjit(modules_after("import graphjit")) == parts


def test_a_decorated_function_loads_the_tracer_and_what_reads_the_cache_but_no_compiler():
    loaded = modules_after(
        "import graphjit as gj\n"
        "@gj.function(input_signature=[gj.TensorSpec([None], gj.float32)])\n"
        "def f(x): return x + 1\n"
        "class C:\n"
        "    @gj.function\n"
        "    def method(self, x): return x + 1\n"
        "print(f, C().method)"
    )
    assert not loaded & set(HEAVY)
    assert {
        "graphjit.tracing.trace",
        "graphjit.jit.compile_cache",
        "graphjit.codegen.runtime.executable",
    } <= loaded
    assert not late(loaded)


def test_a_tensor_needs_no_tracer_and_no_compiler():
    loaded = modules_after("import graphjit as gj\ngj.constant(2.) + 1")
    assert not loaded & set(HEAVY)
    assert not late(loaded)
    assert not of_graphjit(loaded) & {"tracing", "numpy_protocol"}


def test_all_ops_are_known_when_the_table_is_first_seen():
    script = "from graphjit.ops.primitive import PRIMITIVES\nprint(*PRIMITIVES)"
    known = output_of(script).split()
    from graphjit.ops import PRIMITIVES
    from graphjit.passes import DEFAULT  # noqa: F401

    assert set(known) == set(PRIMITIVES)


@pytest.mark.parametrize("home", gj._HOMES)
def test_public_names_are_those_of_their_module(home):
    module = importlib.import_module(f"graphjit.{home}")
    for name in gj._HOMES[home].split():
        assert getattr(gj, name) is getattr(module, name), name


@pytest.mark.parametrize("home", functions.MODULES)
def test_public_functions_are_those_of_their_module(home):
    module = importlib.import_module(f"graphjit.functions.{home}")
    names = functions.names_of(home)
    assert names and set(names) <= set(dir(gj))
    for name in names:
        assert getattr(gj, name) is getattr(module, name), name


def public_names():
    return functions.public_names() + [n for row in gj._HOMES.values() for n in row.split()]


def test_no_public_name_has_two_homes():
    names = public_names()
    assert len(names) == len(set(names))
    assert not set(names) & set(gj._MODULES)


def test_sub_modules_are_found_without_being_imported():
    script = "import graphjit as gj\nprint(*(getattr(gj, n).__name__ for n in gj._MODULES))"
    assert output_of(script).split() == list(gj._MODULES.values())


def test_type_checkers_see_what_is_found_at_run_time():
    source = ast.parse(Path(gj.__file__).read_text())
    seen = next(
        part
        for part in source.body
        if isinstance(part, ast.If) and "CHECKING" in ast.dump(part.test)
    )
    names = {"__package__": "graphjit", "__name__": "graphjit"}
    exec(compile(ast.Module(seen.body, []), "seen", "exec"), names)
    found = {n for n in names if not n.startswith("__")}
    homed = set(public_names())
    assert homed <= found
    assert found - homed <= set(gj._MODULES)
    for name in found:
        assert getattr(gj, name) is names[name], name


def test_everything_public_is_listed_and_there():
    listed = output_of("import graphjit as gj\nprint(*dir(gj))").split()
    assert set(gj.__all__) <= set(listed)
    assert len(set(gj.__all__)) == len(gj.__all__)
    for name in listed:
        assert hasattr(gj, name), name
    starred = output_of("from graphjit import *\nprint(*globals())").split()
    assert set(gj.__all__) <= set(starred)
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = gj.nothing


def test_the_context_manager_stays_where_a_sub_module_has_its_name():
    script = (
        "import graphjit as gj\n"
        "import graphjit.jit.eager, graphjit.core.config\n"
        "gj.constant(1.)\n"
        "print(gj.eager == gj.config.eager)"
    )
    assert output_of(script).strip() == "True"
    assert not isinstance(gj.config, ModuleType)


def test_what_was_pickled_loads_where_nothing_else_is_loaded():
    values = [gj.constant([1.0, 2.0]), gj.float32, gj.TensorSpec([None], gj.int32), gj.exp]
    for value in values:
        text = output_of(f"import pickle\nprint(pickle.loads({pickle.dumps(value)!r}))")
        assert text.strip() == str(value) or value is gj.exp


def test_eager_mode_needs_no_compiler():
    loaded = modules_after(
        "import graphjit as gj\n"
        "assert float(gj.reduce_sum(gj.constant([1., 2.]) + 1)) == 5.0\n"
        "f = gj.function(lambda x: x * 2)\n"
        "with gj.eager(): f(gj.constant([1.]))"
    )
    assert not loaded & {"networkx", "scipy", "llvmlite"}


def test_a_small_compile_needs_no_networkx_or_scipy():
    loaded = modules_after(
        "import numpy as np, graphjit as gj\n"
        "f = gj.function(lambda x: np.sum(np.exp(x)), fallback='error')\n"
        "assert abs(f(np.zeros(3)) - 3) < 1e-12"
    )
    assert "llvmlite" in loaded
    assert not loaded & {"networkx", "scipy"}


def test_versions_that_are_too_old_are_named():
    code = "import numpy; numpy.__version__ = '2.2.6'; import graphjit"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert found.stderr.endswith(
        "ImportError: graphjit needs NumPy 2.3 or later, and this is 2.2.6\n"
    )
    code = (
        "import llvmlite.binding as llvm; llvm.llvm_version_info = (20, 1, 8)\n"
        "import graphjit as gj, numpy as np\n"
        "gj.config.cache = False\n"
        "gj.function(np.tanh)(np.ones(3))"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert "ImportError: graphjit needs llvmlite 0.48 or later" in found.stderr


def test_an_object_without_a_qualified_name_is_a_function():
    class Named:  # as NumPy's ufuncs before 2.2
        __name__ = "twice"

        def __call__(self, x):
            return x * 2

        def __getattribute__(self, name):
            if name == "__qualname__":
                raise AttributeError(name)
            return object.__getattribute__(self, name)

    f = gj.function(Named(), fallback="error")
    assert f.name == f.qualified_name == "twice" and float(f(2.0)) == 4
