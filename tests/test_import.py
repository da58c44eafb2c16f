"""`import graphjit` is light: heavy libraries are imported where they are first needed."""

import subprocess
import sys

HEAVY = ("networkx", "scipy", "llvmlite", "ml_dtypes", "rich", "click")


def modules_after(code):
    script = code + "\nimport sys\nprint(' '.join(sys.modules))"
    result = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    return {name.split(".")[0] for name in result.stdout.split()}


def test_import_leaves_heavy_libraries_alone():
    loaded = modules_after("import graphjit")
    assert "numpy" in loaded
    assert not loaded & set(HEAVY)


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
