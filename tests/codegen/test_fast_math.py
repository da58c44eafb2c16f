"""fast_math: within 4 units in the last place, faster code, said in dumps, off by default."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

import graphjit as gj
from graphjit.cli.main import main
from graphjit.codegen.cpu import processor
from graphjit.codegen.math import MATH
from graphjit.codegen.math.fast import FAST_MATH

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "benchmarks"))
import math_accuracy as accuracy  # noqa: E402

sys.path.remove(str(ROOT / "benchmarks"))
FLOATS = ("float32", "float64")
CHANGED = [name for name in accuracy.REAL if FAST_MATH[name] is not MATH[name]]
pytestmark = pytest.mark.filterwarnings("ignore::RuntimeWarning")


def width(dtype: str) -> int:
    return 16 if dtype == "float32" else 8


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("name", CHANGED)
def test_error_is_at_most_four_ulp(name: str, dtype: str) -> None:
    x = accuracy.arguments(name, dtype, 40000)[0]
    x = x[accuracy.ordinary(accuracy.truth(name, x), x)]
    y = accuracy.Compiled(name, dtype, width(dtype), FAST_MATH)(x)
    error, place = accuracy.worst(name, y, (x,))
    assert error <= 4, f"{error} ULP at {place}"


@pytest.mark.parametrize("dtype", FLOATS)
def test_ends_of_the_exponentials(dtype: str) -> None:
    info = np.finfo(dtype)
    for name, inverse in (("exp", np.log), ("exp2", np.log2)):
        ends = inverse(np.array([info.smallest_normal, info.max], np.longdouble))
        x = np.array([ends[0], ends[1], -1e4, 1e4, -np.inf, np.inf]).astype(dtype)
        x[1] = np.nextafter(x[1], np.array(0, dtype))
        y = accuracy.Compiled(name, dtype, width(dtype), FAST_MATH)(x)
        assert np.all(y[[0, 2, 4]] <= 1.001 * info.smallest_normal) and np.all(y >= 0)
        assert np.all(y[[1, 3, 5]] >= 0.99 * info.max)


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("name", CHANGED)
def test_bits_do_not_depend_on_width_or_target(name: str, dtype: str) -> None:
    x = accuracy.arguments(name, dtype, 2000)[0]
    x = x[accuracy.ordinary(accuracy.truth(name, x), x)]
    one = accuracy.Compiled(name, dtype, 1, FAST_MATH, frozenset())(x)
    many = accuracy.Compiled(name, dtype, 16, FAST_MATH)(x)
    assert np.array_equal(one, many)


@pytest.mark.parametrize("name", CHANGED)
def test_fast_code_is_shorter(name: str) -> None:
    plain, fast = (
        accuracy.Compiled(name, "float32", 16, table, frozenset()).text.count("\n")
        for table in (MATH, FAST_MATH)
    )
    assert fast < plain


def chain(x: Any) -> Any:
    return np.tanh(x * 0.5 + 1.0) / 3.0 + np.exp(-x * x) * np.log(x + 2.0)


ARRAY = np.linspace(0.1, 3, 1000, dtype=np.float32)


def test_default_is_unchanged_and_fast_is_close() -> None:
    plain, fast = gj.function(chain), gj.function(chain, fast_math=True)
    y = fast(ARRAY)
    np.testing.assert_allclose(y, chain(ARRAY.astype(float)), rtol=2e-6)
    np.testing.assert_allclose(y, plain(ARRAY), rtol=2e-6)
    off = gj.function(chain, fast_math=False)
    assert np.array_equal(plain(ARRAY), off(ARRAY))
    texts = [f.specializations[-1].llvm_ir() for f in (plain, off, fast)]
    assert texts[0] == texts[1] != texts[2]
    assert "contract" in texts[2] and "arcp" in texts[2]
    assert "contract" not in texts[0] and "arcp" not in texts[0]


def test_rounding_inside_math_functions_is_kept() -> None:
    f = gj.function(lambda x: np.log1p(x) * 2.0 + 1.0, fast_math=True)
    f(ARRAY)
    text = f.specializations[-1].llvm_ir()
    bodies = [part for part in text.split("define") if "@math.log1p" in part.split("(")[0]]
    assert bodies and not any("contract" in body for body in bodies)


def test_divisions_by_constants_become_products() -> None:
    def divide(x: Any) -> Any:
        return x / 3.0

    for fast in (False, True):
        f = gj.function(divide, fast_math=fast)
        np.testing.assert_allclose(f(ARRAY), ARRAY / 3, rtol=2e-7)
        assert ("fdiv" in f.specializations[-1].llvm_ir(True)) is not fast


def test_products_and_sums_fuse_only_where_asked() -> None:
    x = np.full(64, 1 + 2.0**-12, np.float32)
    for fast in (False, True):
        f = gj.function(lambda x: x * x - 1.0, fast_math=fast)
        exact = (1 + 2.0**-12) ** 2 - 1
        fused = fast and processor.host().vector_bytes > 16  # others have no instruction for it
        assert float(f(x)[0]) == (exact if fused else 2.0**-11)


def test_said_in_program_and_explain() -> None:
    for fast in (False, True):
        f = gj.function(chain, fast_math=fast)
        f(ARRAY)
        program = f.specializations[-1].program
        assert program is not None and program.fast_math is fast
        assert ("fast_math" in str(program).splitlines()) is fast
        assert ("fast_math" in f.explain(ARRAY).splitlines()) is fast


MODEL = """\
import numpy as np
import graphjit as gj

@gj.function(fast_math=True)
def fast(x):
    return np.exp(x)

@gj.function
def plain(x):
    return np.exp(x)
"""


def test_said_on_the_command_line(tmp_path: Path) -> None:
    (tmp_path / "fast_model.py").write_text(MODEL)
    for name in ("fast", "plain"):
        target = f"{tmp_path}/fast_model.py:{name}"
        for command in (
            ["dump", target, "--arg", "f32[8]"],
            ["dump", target, "--arg", "f32[8]", "--stage", "kernels"],
            ["dump", target, "--arg", "f32[8]", "--stage", "loops"],
            ["explain", target, "--arg", "f32[8]"],
        ):
            result = CliRunner().invoke(main, command)
            assert result.exit_code == 0, result.output
            assert ("fast_math" in result.output.replace("fast_model", "")) is (name == "fast")


def test_options_of_the_decorator() -> None:
    @gj.function(fast_math=True)
    def double(x: Any) -> Any:
        return x + x

    assert double.fast_math and np.array_equal(double(ARRAY), ARRAY + ARRAY)
    assert not gj.function(chain).fast_math


def test_half_precision_still_rounds_after_every_op() -> None:
    x = np.linspace(0.5, 2, 100).astype(np.float16)
    f = gj.function(lambda x: x * x + x, fast_math=True, outputs="numpy")
    assert np.array_equal(f(x), (x * x) + x)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_what_is_rounded_again_is_never_contracted(dtype: str) -> None:
    x = np.linspace(0.5, 2, 100).astype(gj.as_dtype(dtype).as_numpy_dtype)
    f = gj.function(lambda x: (x * x + x) / 3, fast_math=True, outputs="numpy")
    f(x)
    text = f.specializations[-1].llvm_ir()
    assert "fmul" in text and "contract" not in text and "arcp" not in text
