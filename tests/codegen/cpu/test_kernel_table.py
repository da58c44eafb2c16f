"""Equal kernels are written once; long ones once for whole vectors and tail; the text of a
program is always the same.
"""

import functools
import gc
import os
import re
import subprocess
import sys

import numpy as np
import pytest

import graphjit as gj
from graphjit.codegen.cpu import size_variants, target
from graphjit.ir import cost_model
from graphjit.ir.verify_program import open_accesses
from tests.support.written_out import written_out

rng = np.random.default_rng(3)


def matrix(*shape):
    return rng.standard_normal(shape).astype(np.float32)


def text_of(f, *args):
    return target.emit_program(f.specialization(*args).program).text


def kernels_in(text):
    return re.findall(r"^define internal i64 @(k\w+(?:\.\d+)?)\(", text, re.MULTILINE)


def test_layers_of_one_shape_are_one_function():
    weights = [matrix(48, 48) / 7 for _ in range(6)]

    @gj.function(fallback="error")
    def layers(x, weights):
        for w in weights:
            x = gj.maximum(x @ w, 0.0)
        return x

    x = matrix(20, 48)
    text = text_of(layers, x, weights)
    assert len(layers.specializations[0].program.steps) == 6
    # what lies where another operand does is told apart from what doesn't
    assert len(kernels_in(text)) <= 2
    assert len(re.findall(r"call i64 @k", text)) == 6
    expected = x
    for w in weights:
        expected = np.maximum(expected.astype(np.float64) @ w, 0)
    np.testing.assert_allclose(layers(x, weights), expected, rtol=1e-4, atol=1e-4)


def test_kernels_of_other_shapes_share_the_sums_of_their_products():
    @gj.function(fallback="error")
    def products(x, a, b):
        return x @ a + 1, np.exp(x @ b)

    args = matrix(64, 96), matrix(96, 64), matrix(96, 64) / 10
    text = text_of(products, *args)
    assert len(kernels_in(text)) == 2
    sums = re.findall(r"^define internal void @(\S*sums\S*)\(", text, re.MULTILINE)
    assert 1 <= len(sums) == len({name.split(".")[1] for name in sums})
    x, a, b = (array.astype(np.float64) for array in args)
    for found, wanted in zip(products(*args), (x @ a + 1, np.exp(x @ b)), strict=True):
        np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("numbers", [(0.0, -0.0), (1.0, 2.0), (np.inf, -np.inf)])
def test_kernels_with_different_constants_are_apart(numbers):
    def scans(x):  # each a kernel of its own
        return [np.cumsum(x * np.float32(n)) for n in numbers]

    def maps(x):  # in one kernel
        return [1 / (x * np.float32(n)) for n in numbers]

    x = np.ones(40, np.float32)
    for function in (scans, maps):
        found = gj.function(function, fallback="error")(x)
        with np.errstate(all="ignore"):
            expected = function(x)
        assert [a.tobytes() for a in found] == [a.tobytes() for a in expected]


def test_a_kernel_that_can_fail_is_its_own_and_names_its_own_line():
    def pick(x, i, j):
        a = gj.gather(gj.cumsum(x), i)  # first
        return gj.gather(gj.cumsum(a), j)  # second

    f = gj.function(pick, fallback="error")
    x, good, bad = matrix(10), np.arange(10), np.array([*range(9), 10])
    np.testing.assert_allclose(f(x, good, good), np.cumsum(np.cumsum(x)), rtol=1e-4, atol=1e-5)
    for args, line in (((x, bad, good), "# first"), ((x, good, bad), "# second")):
        with pytest.raises(gj.errors.IndexOutOfRangeError, match=line):
            f(*args)


def test_shared_kernels_run_in_chunks_by_the_team(monkeypatch):
    monkeypatch.setattr(cost_model, "TEAM_NS", 0)

    @gj.function(fallback="error")
    def twice(x):
        return np.cumsum(np.exp(np.cumsum(np.exp(x), axis=1) / 100), axis=1)

    x = matrix(64, 40)
    text = text_of(twice, x)
    assert text.count(".chunk(ptr %context") <= len(twice.specializations[0].program.steps)
    expected = np.cumsum(np.exp(np.cumsum(np.exp(x.astype(np.float64)), axis=1) / 100), axis=1)
    np.testing.assert_allclose(twice(x), expected, rtol=1e-5)


# -- kernels that differ in where they begin, and in sizes


def slices(u):
    u = u.copy()
    for _ in range(12):
        u[1:-1] += 0.1 * (u[2:] - 2 * u[1:-1] + u[:-2])
    return u


def heat(u):
    u = u.copy()
    for _ in range(12):
        around = u[2:, 1:-1] + u[:-2, 1:-1] + u[1:-1, 2:] + u[1:-1, :-2]
        u[1:-1, 1:-1] += 0.1 * (around - 4 * u[1:-1, 1:-1])
    return u


def rows(x):
    y = np.zeros_like(x)
    for i in range(1, 12):
        y[i] = 0.9 * y[i - 1] + x[i]
    return y


def columns(x):
    y = np.zeros_like(x)
    for i in range(1, 12):
        y[:, i] = 0.9 * y[:, i - 1] + x[:, i]
    return y


def backwards(x):
    y = np.zeros_like(x)
    for i in range(10, -1, -1):
        y[i, ::-1] = 0.9 * y[i + 1, ::-1] - x[i]
    return y


def differences(x):
    for _ in range(12):
        x = np.cumsum(x[1:] - x[:-1], axis=-1)
    return x


def scaled_rows(x):
    for i in range(12):
        x = x[:, : 40 - i] / (1 + np.abs(x[:, : 40 - i])).sum(axis=1, keepdims=True)
    return x


def products(x):
    return [(x[i:] @ x[: x.shape[0] - i].T).sum(axis=0) for i in range(8)]


LOOPS = {
    # function, shapes of its argument, the most functions of kernels for one size and for all
    slices: ([(7,), (40,), (301,), (3,)], 4, 5),
    heat: ([(5, 9), (40, 7), (20, 130), (3, 3)], 4, 6),
    rows: ([(12, 5), (12, 40), (12, 301)], 5, 6),
    columns: ([(5, 12), (40, 12), (301, 12)], 5, 6),
    backwards: ([(12, 5), (12, 40), (12, 301)], 5, 6),
    differences: ([(20, 5), (40, 5), (33, 70), (14, 6)], 24, 7),
    scaled_rows: ([(5, 40), (40, 40), (301, 40)], 24, 24),
    products: ([(12, 5), (40, 5), (33, 70), (9, 6)], 24, 24),
}


def bits(found):
    found = found if isinstance(found, (list, tuple)) else [found]
    return [(a.shape, a.dtype, a.tobytes()) for a in found]


@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.int16, np.complex64])
@pytest.mark.parametrize("loop", LOOPS, ids=lambda f: f.__name__)
def test_steps_that_differ_in_sizes_and_offsets_are_one_function(loop, dtype, monkeypatch):
    if loop in (slices, heat) and dtype == np.int16:
        pytest.skip("NumPy adds no floats to integers in place")
    monkeypatch.setattr(gj.config, "recompile_warning", 0)
    shapes, most, most_sized = LOOPS[loop]
    monkeypatch.setattr(gj.config, "symbolic_after", 2)
    sized = gj.function(loop, fallback="error")
    for shape in (*shapes, *shapes):
        x = (rng.standard_normal(shape) * 10).astype(dtype)
        monkeypatch.setattr(gj.config, "symbolic_after", None)
        static = gj.function(loop, fallback="error")
        with np.errstate(all="ignore"):
            wanted = loop(x)
        plain = static(x)
        if dtype == np.float64:
            assert len(kernels_in(text_of(static, x))) <= most
        monkeypatch.setattr(gj.config, "symbolic_after", 2)
        assert bits(sized(x)) == bits(plain)
        if loop in (slices, heat, rows, columns, backwards) and dtype != np.complex64:
            assert bits(plain) == bits(wanted)
        for a, b in zip(
            *([r] if isinstance(r, np.ndarray) else r for r in (plain, wanted)), strict=True
        ):
            np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-3, strict=True)
    specializations = [s for s in sized.specializations if s.size_domain]
    assert specializations
    for specialization in specializations if dtype == np.float64 else ():
        text = target.emit_program(specialization.program).text
        runs = re.findall(r"^define internal i64 @(k\w+)\.run\(", text, re.MULTILINE)
        assert len(runs) <= most_sized
        assert len(re.findall(r" call i64 @k\w+\.run\(", text)) == len(
            specialization.program.steps
        )


def triangle(x):
    y = np.zeros_like(x)
    for i in range(1, 72, 3):
        y[i] = x[i] - (x[:i] * x.dtype.type(2)).sum(axis=0)
    return y


def corners(x):
    return [np.cumsum(x[i:72, : 72 - i].T + x[: 72 - i, i:72], axis=1) for i in range(0, 72, 3)]


def tails(x):
    return [x[i:72].sum(axis=1) + x[i // 2, i] for i in range(0, 72, 3)]


def shrinking(x):
    for _ in range(24):
        x = np.maximum(x[1:], x[:-1]) - x.dtype.type(1)
    return x


@pytest.mark.parametrize("team", [False, True])
@pytest.mark.parametrize(
    "loop", [triangle, corners, tails, shrinking], ids=lambda f: f.__name__
)
def test_known_numbers_that_many_kernels_differ_in(loop, team, monkeypatch):
    """They become arguments; the bits are those of kernels that know them."""
    monkeypatch.setattr(gj.config, "recompile_warning", 0)
    if team:
        monkeypatch.setattr(cost_model, "TEAM_NS", 0)
        monkeypatch.setattr(cost_model, "CHUNK_NS", 10)
    reference = {}
    for after, many in ((None, 1 << 30), (None, 8), (2, 8)):
        monkeypatch.setattr(size_variants, "MAX_EQUAL_KERNELS", many)
        monkeypatch.setattr(size_variants, "MAX_EQUAL_SIZED_KERNELS", many)
        monkeypatch.setattr(gj.config, "symbolic_after", after)
        f = gj.function(loop, fallback="error")
        for width in (90, 77) if after is None else (80, 90, 77):
            x = (np.random.default_rng(width).standard_normal((75, width)) * 9).astype("f4")
            if loop is shrinking:
                x = x.T.copy()
            found, wanted = f(x), loop(x)
            if isinstance(found, np.ndarray):
                found, wanted = [found], [wanted]
            for a, b in zip(found, wanted, strict=True):
                np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-3, strict=True)
            assert bits(found) == reference.setdefault(width, bits(found))
        if many == 8 and loop is not corners:
            program = f.specializations[-1].program
            written = kernels_in(target.emit_program(program).text)
            assert len(written) <= 15


def test_what_equal_steps_touch_is_checked_once(monkeypatch):
    monkeypatch.setattr(gj.config, "symbolic_after", 2)

    def checked(steps):
        @gj.function(fallback="error")
        def loop(u):
            for _ in range(steps):
                u = np.cumsum(u[1:-1, 1:-1] - u[2:, :-2], axis=0)
                u = np.concatenate([u[:1], u, u[-1:]])
                u = np.concatenate([u[:, :1], u, u[:, -1:]], axis=1)
            return u

        for n in (9, 12):
            loop(np.ones((n, n + 1)))
        (specialization,) = [s for s in loop.specializations if s.size_domain]
        return len(open_accesses(specialization.program))

    assert 0 < checked(8) <= checked(4) + 2


def test_results_stored_past_the_cache_begin_anywhere(monkeypatch):
    """What is told to begin at a cache line does so: vectors stored past the cache must."""
    monkeypatch.setattr(cost_model, "STREAM_SHARE", 1e-9)
    monkeypatch.setattr(gj.config, "recompile_warning", 0)

    def parts(x):
        y = np.zeros_like(x)
        for i in range(6):
            y[i, i : x.shape[1] - 5 + i] = x[i, 5:] * 2 + i
        z = np.zeros_like(x[0])
        for i in range(3):
            z[8 * i :] += x[i, : x.shape[1] - 8 * i]
        return y, z

    for dtype in (np.float32, np.float64, np.int8):
        for after in (None, 2):
            monkeypatch.setattr(gj.config, "symbolic_after", after)
            f = gj.function(parts, fallback="error")
            for size in (500_000, 300_001, 1_000_003, 70):
                x = np.arange(6 * size).reshape(6, size).astype(dtype)
                for found, wanted in zip(f(x), parts(x), strict=True):
                    np.testing.assert_array_equal(found, wanted, strict=True)


def test_failing_steps_of_all_sizes_name_their_own_lines(monkeypatch):
    monkeypatch.setattr(gj.config, "symbolic_after", 2)

    def pick(x, i, j):
        a = gj.gather(gj.cumsum(x), i)  # first
        return gj.gather(gj.cumsum(a), j)  # second

    f = gj.function(pick, fallback="error")
    for size in (10, 12, 15):
        x, good, bad = matrix(size), np.arange(size), np.array([*range(size - 1), size])
        wanted = np.cumsum(np.cumsum(x))
        np.testing.assert_allclose(f(x, good, good), wanted, rtol=1e-4, atol=1e-5)
        for args, line in (((x, bad, good), "# first"), ((x, good, bad), "# second")):
            with pytest.raises(gj.errors.IndexOutOfRangeError, match=line):
                f(*args)


def test_shared_kernels_of_all_sizes_run_in_chunks_by_the_team(monkeypatch):
    monkeypatch.setattr(cost_model, "TEAM_NS", 0)
    monkeypatch.setattr(cost_model, "CHUNK_NS", 10)
    monkeypatch.setattr(gj.config, "symbolic_after", 2)
    monkeypatch.setattr(gj.config, "recompile_warning", 0)
    for loop in (heat, rows, differences, products):
        f = gj.function(loop, fallback="error")
        for n in (20, 33, 300, 301):
            x = rng.standard_normal((12, n) if loop is rows else (n, 30))
            np.testing.assert_allclose(
                np.concatenate([np.ravel(a) for a in f(x)]),
                np.concatenate([np.ravel(a) for a in loop(x)]),
                rtol=1e-9,
                atol=1e-9,
            )


# -- long kernels


@functools.cache
def long_function(count):
    return written_out(
        lambda k: (
            f"x * x.dtype.type(3) + x.dtype.type({k % 7})" if k % 2 else "x - x.dtype.type(1)"
        ),
        count,
    )


def long(x, count=90):
    return long_function(count)(x)


@pytest.mark.parametrize(
    "dtype", [np.int8, np.int32, np.uint64, np.float16, np.float32, np.float64, np.complex64]
)
@pytest.mark.parametrize("size", [1, 7, 31, 33, 64, 65, 1000])
def test_long_kernels_have_right_tails(dtype, size):
    x = (np.arange(size) % 5 / 8).astype(dtype)
    f = gj.function(lambda x: long(x, 12 if dtype == np.float16 else 90), fallback="error")
    with np.errstate(all="ignore"):
        expected = long(x, 12 if dtype == np.float16 else 90)
    np.testing.assert_array_equal(f(x), expected, strict=True)


@pytest.mark.parametrize("shape", [(5, 33), (3, 4, 65)])
def test_long_kernels_over_rows_leave_what_is_beside_them(shape):
    x = np.arange(np.prod(shape)).reshape(shape).astype(np.int32)
    f = gj.function(lambda x: long(x[..., 1:-1]), fallback="error")
    np.testing.assert_array_equal(f(x), long(x[..., 1:-1]), strict=True)


def test_a_long_loop_is_written_once_and_not_optimised():
    text = text_of(gj.function(lambda x: long(x, 300)), np.zeros(1000, np.float32))
    assert text.count("fmul") == 150 * cost_model.UNROLL_PLAIN  # one for each register
    assert "optnone" in text
    short = text_of(gj.function(lambda x: long(x, 4), fallback="error"), np.zeros(1001, "f4"))
    assert short.count("fmul") == 4  # for whole vectors, and for the tail
    assert "optnone" not in short


def test_long_kernels_give_the_same_bits_in_chunks(monkeypatch):
    x = np.linspace(-1, 1, 10_007, dtype=np.float32)

    steps = written_out(lambda k: f"np.sin(x) * np.float32(1.5) + np.float32({k / 100})", 60)
    whole = gj.function(steps, fallback="error")(x)
    monkeypatch.setattr(cost_model, "LONG_BODY", 1 << 30)
    monkeypatch.setattr(cost_model, "LONG_CODE", 1 << 30)
    monkeypatch.setattr(cost_model, "MAX_CONSTANTS", 1 << 30)
    monkeypatch.setattr(cost_model, "KERNEL_VALUES", 20)
    monkeypatch.setattr(cost_model, "TEAM_NS", 0)
    np.testing.assert_array_equal(gj.function(steps, fallback="error")(x), whole, strict=True)


# -- determinism

PROGRAM = """
import numpy as np, re, hashlib, graphjit as gj
from graphjit.codegen.cpu import target as cpu
from graphjit.ir.verify_program import open_accesses
def f(x, w, i):
    parts = [np.tanh(x @ w + k).sum(axis=1) for k in range(3)]
    return parts, x[i] * 2, np.sort(x), np.mean(np.exp(x)), np.concatenate([x, x * 3])
f = gj.function(f, fallback="error")
args = np.ones((32, 16), "f4"), np.ones((16, 16), "f4"), np.arange(3)
specialization = f.specialization(*args)
text = re.sub(r"i64 \\d{6,} to ptr", "", cpu.emit_program(specialization.program).text)
print(len(text), hashlib.sha256(text.encode()).hexdigest())
"""


def test_a_program_has_one_text_in_every_process():
    texts = set()
    for seed in ("0", "1", "2"):
        environment = {**os.environ, "PYTHONHASHSEED": seed}
        done = subprocess.run(
            [sys.executable, "-c", PROGRAM], env=environment, capture_output=True, text=True
        )
        assert not done.returncode, done.stderr
        texts.add(done.stdout)
    assert len(texts) == 1 and int(texts.pop().split()[0]) > 1000


def test_emission_again_gives_the_same_text():
    f = gj.function(lambda x, w: np.tanh(x @ w).sum(axis=1), fallback="error")
    program = f.specialization(matrix(30, 20), matrix(20, 40)).program
    assert target.emit_program(program).text == target.emit_program(program).text


# -- programs


def test_equal_programs_of_a_process_are_compiled_once_while_one_is_alive(monkeypatch):
    compiled = []
    real = target.native_code

    def compile_text(text, *rest):
        compiled.append(text)
        return real(text, *rest)

    monkeypatch.setattr(target, "native_code", compile_text)

    def line(slope):
        return gj.function(
            lambda x: x * np.float32(slope) + np.float32(0.9371), fallback="error"
        )

    x = matrix(123)
    first, second, other = line(2), line(2), line(3)
    for f, slope in ((first, 2), (second, 2), (other, 3)):
        np.testing.assert_array_equal(f(x), x * np.float32(slope) + np.float32(0.9371))
    assert len(compiled) == 2
    del first
    gc.collect()
    np.testing.assert_array_equal(second(x), x * np.float32(2) + np.float32(0.9371))
    codes = len(target._codes)
    del second, f
    gc.collect()
    assert len(target._codes) < codes
    line(2)(x)
    assert len(compiled) == 3


def test_equal_programs_name_their_own_lines():
    def one(x, i):
        return gj.gather(x, i)  # in one

    def other(x, i):
        return gj.gather(x, i)  # in other

    functions = [gj.function(f, fallback="error") for f in (one, other)]
    for f, line in zip(functions, ("# in one", "# in other"), strict=True):
        with pytest.raises(gj.errors.IndexOutOfRangeError, match=line):
            f(matrix(5), np.array([7]))
