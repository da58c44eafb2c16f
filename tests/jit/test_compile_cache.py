"""Compiled code from the disk: the same bits, without what made it; anything else is a miss."""

import gc
import json
import os
import shutil
import subprocess
import sys
import textwrap
import weakref
from pathlib import Path

import numpy as np
import pytest

import graphjit as gj
from graphjit import codegen, config, passes
from graphjit.codegen.runtime.loader import loadable
from graphjit.core import disk_cache, machine, tree
from graphjit.core.errors import IndexOutOfRangeError
from graphjit.ir import fingerprint
from graphjit.jit import compile_cache
from graphjit.jit.explain import explain_specialization
from graphjit.passes import Pass

pytestmark = pytest.mark.skipif(not loadable(), reason="images are for Linux on x86-64")
RANDOM = np.random.default_rng(5)
HEAVY = {"llvmlite", "networkx", "scipy", "ml_dtypes", "rich"}
LATE = {
    "graphjit.passes", "graphjit.codegen.cpu.target", "graphjit.codegen.emit",
    "graphjit.codegen.lower", "graphjit.codegen.builder",
}  # fmt: skip


class Forgetful(dict):
    """A table of living executables with none in it."""

    def __setitem__(self, key, value):
        pass


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    gc.collect()  # executables that live share machine code, which isn't stored then
    monkeypatch.setenv("GRAPHJIT_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setattr(config, "cache", True)
    monkeypatch.setattr(config, "verify", False)
    monkeypatch.setattr(disk_cache, "_state", disk_cache._State())
    monkeypatch.setattr(
        compile_cache, "_live_executables", Forgetful()
    )  # each function looks on the disk
    return tmp_path / "cache" / "code"


def random(*shape, dtype=np.float32):
    return (10 * RANDOM.standard_normal(shape)).astype(dtype)


def softmax(x):
    e = np.exp(x - np.max(x, axis=-1, keepdims=True))
    return e / np.sum(e, axis=-1, keepdims=True)


def attention(q, k, v):
    return gj.softmax(q @ gj.transpose(k)) @ v


LARGE = random(300, 300)
CASES = {
    "pointwise": (lambda x: 0.5 * x * (1 + np.tanh(x)), [random(1000)]),
    "reduction": (softmax, [random(70, 130)]),
    "threads": (softmax, [random(2000, 500)]),
    "product": (lambda a, b: np.maximum(a @ b, 0), [random(130, 70), random(70, 90)]),
    "band": (attention, [gj.constant(random(256, 64)) for _ in range(3)]),
    "library": (lambda x: np.sort(np.sin(x), axis=0) + 1, [random(50, 20)]),
    "library only": (lambda x: np.linalg.svd(x), [random(20, 10, dtype=np.float64)]),
    "library with options": (
        lambda x: np.quantile(x, 0.3, axis=1) + np.median(x), [random(20, 30)],
    ),
    "small constant": (lambda x: x * 3 + np.arange(7, dtype=np.float32), [random(7)]),
    "large constant": (lambda x: x + gj.constant(LARGE) * 2, [gj.constant(random(300, 300))]),
    "constant alone": (lambda x: (x + 1, gj.ones([3, 4])), [gj.constant(random(3))]),
    "nothing to do": (lambda x: gj.reshape(x, [-1]), [gj.constant(random(3, 4))]),
    "empty": (lambda x: x * 2, [random(0, 4)]),
    "scalars": (lambda x, k: x * k + 1, [random(9), 2.5]),
    "structure": (lambda d: {"a": d["x"] + 1, "b": (d["x"], 5)}, [{"x": random(3)}]),
    "half": (lambda x: np.exp(x) + x, [random(300, dtype=np.float16)]),
    "bfloat": (lambda x: gj.cast(gj.exp(x), gj.float32), [gj.cast(random(40), gj.bfloat16)]),
    "complex": (lambda x: np.exp(x) * x, [random(50) + 1j * random(50)]),
    "integers": (lambda x: x // 3 + x % 7, [np.arange(-50, 50)]),
    "scan": (lambda x: np.cumsum(x, axis=1), [random(20, 33)]),
    "lgamma": (lambda x: gj.lgamma(x), [gj.constant(np.linspace(0.1, 30, 77))]),
}  # fmt: skip


def flat(result):
    leaves = []
    tree.flatten(result, leaves)
    return [np.asarray(x) for x in leaves]


def same(one, two):
    one, two = flat(one), flat(two)
    assert len(one) == len(two)
    for a, b in zip(one, two, strict=True):
        assert (a.dtype, a.shape) == (b.dtype, b.shape)
        assert a.tobytes() == b.tobytes()


def specialization_of(function):
    assert len(function.specializations) == 1
    return function.specializations[0]


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("fast_math", [False, True])
def test_found_code_gives_the_bits_of_compiled_code(name, fast_math):
    fn, arguments = CASES[name]
    one = gj.function(fn, fallback="error", fast_math=fast_math)
    two = gj.function(fn, fallback="error", fast_math=fast_math)
    expected = one(*arguments)
    same(two(*arguments), expected)
    assert not specialization_of(one).from_cache
    assert specialization_of(two).from_cache
    for _ in range(3):
        same(two(*arguments), expected)
    assert str(specialization_of(two).program) == str(specialization_of(one).program)
    assert "came from the cache" in explain_specialization(specialization_of(two))
    assert "came from the cache" not in explain_specialization(specialization_of(one))


EDITED = {
    "a threshold": lambda n: lambda x: x * 2 if x.shape[0] < n else x + 1,
    "a divisor": lambda n: lambda x: x * 2 if x.shape[0] % (n // 2 + 1) == 0 else x + 1,
    "another size": lambda n: lambda x: x * 2 if x.shape[0] != n else x + 1,
}


@pytest.mark.parametrize("living", [False, True])
@pytest.mark.parametrize("name", EDITED)
def test_code_checks_the_guards_of_the_function_that_finds_it(name, living, monkeypatch):
    if living:
        monkeypatch.setattr(compile_cache, "_live_executables", weakref.WeakValueDictionary())
    monkeypatch.setattr(config, "native_after", 0)
    functions = [gj.function(EDITED[name](n), fallback="error") for n in (100, 10, 24)]
    sizes = [3, 4, 5, 3, 4, 5, 10, 24, 50, 99, 100, 101, 255]
    for f in functions:
        for n in sizes:
            same(f(np.full(n, 7.0)), f.python_function(np.full(n, 7.0)))


def test_an_executable_that_lives_serves_equal_graphs(monkeypatch):
    monkeypatch.setattr(compile_cache, "_live_executables", weakref.WeakValueDictionary())
    monkeypatch.setattr(config, "cache", False)
    functions = [gj.function(lambda x: np.exp(x) + 1, fallback="error") for _ in range(3)]
    for f in functions:
        for n in (3, 4, 5):
            same(f(np.full(n, 0.5)), functions[0](np.full(n, 0.5)))
    one, *others = [
        [specialization.executable for specialization in f.specializations] for f in functions
    ]
    assert all(a is b for other in others for a, b in zip(one, other, strict=True))
    assert len(compile_cache._live_executables) == len(one)
    del f, functions, one, others
    gc.collect()
    assert not compile_cache._live_executables


def test_variables_are_updated_by_found_code():
    def make():
        v = gj.Variable(np.zeros(5, np.float32))

        @gj.function(fallback="error")
        def step(x):
            v.assign(v * 2 + x)
            return gj.reduce_sum(v)

        return v, step

    (v, one), (w, two) = make(), make()
    for k in range(5):
        x = gj.constant(np.full(5, k, np.float32))
        same(one(x), two(x))
        same(v.numpy(), w.numpy())
    assert specialization_of(two).from_cache


def test_errors_of_found_code_name_the_users_own_line():
    source = "def pick(x, i):\n{}    return gj.gather(x, i) * 2\n"
    lines = []
    for number, space in enumerate(["", "\n\n", "\n    y = 5\n"]):
        names = {"gj": gj}
        exec(compile(source.format(space), f"model{number}.py", "exec"), names)
        pick = gj.function(names["pick"], fallback="error")
        x = gj.constant(np.arange(4.0))
        same(pick(x, gj.constant([3, 0])), np.array([6.0, 0.0]))
        assert specialization_of(pick).from_cache == (number > 0)
        with pytest.raises(IndexOutOfRangeError) as caught:
            pick(x, gj.constant([3, 9]))
        lines.append(str(caught.value).splitlines()[1].strip())
    assert lines == [
        "at model0.py:2 in pick", "at model1.py:4 in pick", "at model2.py:4 in pick",
    ]  # fmt: skip


def test_which_nodes_share_a_line_is_part_of_the_key():
    apart = "def f(x, i, j):\n    a = gj.gather(x, i)\n    return a + gj.gather(x, j)\n"
    joined = "def f(x, i, j):\n    return gj.gather(x, i) + gj.gather(x, j)\n"
    x, good = gj.constant(np.arange(4.0)), gj.constant([1])
    for source in (apart, joined):
        names = {"gj": gj}
        exec(compile(source, "model.py", "exec"), names)
        f = gj.function(names["f"], fallback="error")
        f(x, good, good)
        assert not specialization_of(f).from_cache
        line = 3 if source is apart else 2
        with pytest.raises(IndexOutOfRangeError, match=rf"model\.py:{line}"):
            f(x, good, gj.constant([7]))


def test_a_users_own_pass_is_never_found():
    class Nothing(Pass):
        def run(self, graph):
            return graph

    for _ in range(2):
        f = gj.function(lambda x: x + 1, passes=[Nothing()])
        f(np.ones(3))
        assert not specialization_of(f).from_cache
    assert disk_cache.info().entries == 0


def test_verifying_compiles_again(monkeypatch):
    for verify, found in ((True, False), (True, False), (False, True), (True, False)):
        monkeypatch.setattr(config, "verify", verify)
        f = gj.function(lambda x: x * 3 + 1)
        f(np.ones(3))
        assert specialization_of(f).from_cache is found


def test_off_is_off(monkeypatch):
    monkeypatch.setattr(config, "cache", False)
    for _ in range(2):
        f = gj.function(lambda x: x * 3 + 1)
        f(np.ones(3))
        assert not specialization_of(f).from_cache
    assert disk_cache.info().entries == 0


def key(fn, *arguments, fast_math=False):
    graph = gj.function(fn).get_graph(*arguments)
    return fingerprint.graph_key(graph, fast_math)[0]


def test_what_decides_the_code_is_in_the_key(monkeypatch):
    x, y = np.ones(3, np.float32), np.ones(4, np.float32)
    keys = [
        key(lambda x: x + 1, x),
        key(lambda x: x + 1, x, fast_math=True),
        key(lambda x: x + 2, x),
        key(lambda x: x - 1, x),
        key(lambda x: x + 1, y),
        key(lambda x: x + 1, x.astype(np.float64)),
        key(lambda x: x + np.float32(0.0), x),
        key(lambda x: x + np.float32(-0.0), x),
        key(lambda x: x + np.zeros(3, np.float32), x),
        key(lambda x: np.sum(x.reshape(1, 3), axis=0), x),
        key(lambda x: np.sum(x.reshape(1, 3), axis=1), x),
        key(lambda x: (x + 1, x * 2), x),
        key(lambda x: (x * 2, x + 1), x),
        key(lambda a, b: a - b, x, x),
        key(lambda a, b: b - a, x, x),
    ]
    assert len(set(keys)) == len(keys)
    assert key(lambda x: x + 1, x) == keys[0]


@pytest.mark.parametrize(
    "change",
    [
        lambda m: m.setattr(np, "__version__", "9.9"),
        lambda m: m.setattr(sys, "version", "3.99"),
        lambda m: m.setattr(fingerprint, "FORMAT", 99),
        lambda m: m.setattr(fingerprint, "_processor", lambda: iter(["flags: none"])),
        lambda m: m.setattr(fingerprint, "_llvm_files", lambda: iter(["another"])),
        lambda m: m.setattr(
            fingerprint, "_files_at_first", lambda: [("", "graph.py", 1, 2, 3)]
        ),
        lambda m: m.setattr(
            fingerprint, "machine", lambda: machine.replace(machine.machine(), cores=99)
        ),
        lambda m: m.setattr(
            fingerprint, "machine", lambda: machine.replace(machine.machine(), l3_bytes=9)
        ),
    ],
)
def test_other_versions_and_machines_have_other_keys(monkeypatch, change):
    before = key(lambda x: x + 1, np.ones(3)), fingerprint.process_key("team")
    change(monkeypatch)
    fingerprint._surroundings.cache_clear()
    try:
        after = key(lambda x: x + 1, np.ones(3)), fingerprint.process_key("team")
    finally:
        monkeypatch.undo()
        fingerprint._surroundings.cache_clear()
    assert not set(before) & set(after)
    assert key(lambda x: x + 1, np.ones(3)) == before[0]


def test_the_processors_features_and_llvms_files_are_looked_at():
    assert any(line.startswith("flags") for line in fingerprint._processor())
    assert any("llvmlite" in str(part) for part in fingerprint._llvm_files())


def folders_of(package):
    """The folders of a package that is laid out as in an install, by name."""
    return {
        str(path.parent.relative_to(package)): path.parent
        for path in sorted(package.rglob("__init__.py"))
    }


@pytest.mark.parametrize("layout", ["checkout", "install"])
def test_a_file_more_in_any_folder_that_decides_code_changes_the_key(
    tmp_path, monkeypatch, layout
):
    package = tmp_path / "graphjit"
    shutil.copytree(Path(gj.__file__).parent, package)
    beside = package if layout == "install" else tmp_path
    for part in (passes, codegen):
        name = part.__name__.removeprefix("graphjit.")
        if not (package / name).exists() or layout == "checkout":
            shutil.rmtree(package / name, ignore_errors=True)
            shutil.copytree(part.__path__[0], beside / name, dirs_exist_ok=True)
    monkeypatch.setattr(fingerprint, "__file__", str(package / "ir" / "fingerprint.py"))

    def forget():
        for known in ("_surroundings", "_files_at_first", "_latest_change"):
            getattr(fingerprint, known).cache_clear()

    def key_now():
        forget()
        return fingerprint.process_key("team")

    folders = folders_of(package) | (
        {} if layout == "install" else {
            str(path.parent.relative_to(tmp_path)): path.parent
            for name in ("passes", "codegen")
            for path in (tmp_path / name).rglob("__init__.py")
        }
    )  # fmt: skip
    assert {"core", "ir", "ops", "tracing", "jit", "codegen/math", "passes"} <= set(folders)
    before = key_now()
    try:
        for name, folder in folders.items():
            (folder / "another.py").write_text("")
            after = key_now()
            assert (after == before) == (name in fingerprint._UNKEYED), name
            (folder / "another.py").unlink()
            assert key_now() == before, name
    finally:
        monkeypatch.undo()
        forget()


def test_code_of_files_that_changed_meanwhile_is_not_kept(monkeypatch):
    assert fingerprint.unchanged() and fingerprint.known()
    files = fingerprint._own_files()
    touched = [(*files[0][:3], files[0][3] + 1, files[0][4]), *files[1:]]
    with monkeypatch.context() as m:
        m.setattr(fingerprint, "_own_files", lambda: touched)
        assert not fingerprint.unchanged()
        gj.function(lambda x: x + 5)(np.ones(3))
    with monkeypatch.context() as m:
        m.setattr(fingerprint, "LOADED_NS", files[0][4] - 1)
        assert not fingerprint.known()
        gj.function(lambda x: x + 5)(np.ones(3))
    assert disk_cache.info().entries == 0
    assert fingerprint.unchanged() and fingerprint.known()


def test_content_that_is_no_program_is_a_miss(folder):
    f = gj.function(lambda x: x * 7 + 1)
    f(np.ones(3))
    graph = specialization_of(f).graph
    key = name, _ = compile_cache.key_of(graph, None, False, ())
    whole = disk_cache.read(name)
    length = int.from_bytes(whole[:8], "little")
    said = json.loads(whole[8 : 8 + length])
    changed = []
    for field in said:
        fewer = {k: v for k, v in said.items() if k != field}
        changed.append(fewer)
        for value in (None, 5, "x", [], [[]], {}, -1):
            if said[field] != value:
                changed.append({**said, field: value})
    contents = [b"", b"abc", whole[:100], whole + b"x"]
    for other in changed:
        text = json.dumps(other).encode()
        contents.append(len(text).to_bytes(8, "little") + text + whole[8 + length :])
    refused = 0
    for content in contents:
        disk_cache.write(name, content)
        refused += compile_cache.find(key) is None
    assert refused > len(contents) * 0.7
    for file in folder.iterdir():
        file.unlink()
    again = gj.function(lambda x: x * 7 + 1)
    same(again(np.ones(3)), np.full(3, 8.0))


PROGRAM = """
import sys
import numpy as np
import graphjit as gj

@gj.function(fallback="error")
def softmax(x):
    e = np.exp(x - np.max(x, axis=-1, keepdims=True))
    return e / np.sum(e, axis=-1, keepdims=True)

x = np.linspace(-9, 9, 3000, dtype=np.float32).reshape(30, 100)
y = softmax(x)
for _ in range({calls}):
    assert softmax(x).tobytes() == y.tobytes()
large = np.tile(x, (40, 10))
z = softmax(large)
print(softmax.specializations[0].from_cache, softmax._entered_at != 0)
print(y.tobytes().hex()[:2000], z[::100].tobytes().hex()[:2000])
print(*sys.modules)
"""


def fresh(program, **variables):
    environment = {**os.environ, **variables}
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program)], env=environment, capture_output=True,
        text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert not done.stderr
    return done.stdout.splitlines()


def test_a_fresh_process_finds_it_and_loads_no_compiler():
    cold, warm = fresh(PROGRAM.format(calls=40)), fresh(PROGRAM.format(calls=40))
    assert cold[0] == "False True"
    assert warm[0] == "True True"
    assert cold[1] == warm[1]
    loaded = set(warm[2].split())
    assert "llvmlite" in cold[2].split()
    assert not loaded & (HEAVY | LATE)


@pytest.mark.parametrize("variables", [{"GRAPHJIT_CACHE": "0"}, {"GRAPHJIT_VERIFY": "1"}])
def test_the_environment_turns_it_off(variables):
    fresh(PROGRAM.format(calls=0))
    assert fresh(PROGRAM.format(calls=0), **variables)[0].startswith("False")
    assert fresh(PROGRAM.format(calls=0))[0].startswith("True")


def test_damaged_files_are_made_again(folder):
    good = fresh(PROGRAM.format(calls=40))
    names = {path.name for path in folder.iterdir()}
    assert len(names) >= 3  # two specializations and the dispatcher, perhaps the team
    for round in range(4):
        for path in folder.iterdir():
            content = bytearray(path.read_bytes())
            for _ in range(RANDOM.integers(1, 4)):
                content[RANDOM.integers(len(content))] ^= 1 << RANDOM.integers(8)
            if round == 1:
                del content[RANDOM.integers(len(content)) :]
            path.write_bytes(content)
        assert fresh(PROGRAM.format(calls=40))[:2] == good[:2]
        assert {path.name for path in folder.iterdir()} == names
    assert fresh(PROGRAM.format(calls=40))[0] == "True True"


def test_a_read_only_folder_is_read(folder):
    fresh(PROGRAM.format(calls=0))
    folder.chmod(0o500)
    try:
        assert fresh(PROGRAM.format(calls=40))[0] == "True True"
    finally:
        folder.chmod(0o700)


@pytest.mark.skipif(sys.platform != "linux", reason="no folder where nobody can write")
def test_without_a_place_to_write_all_is_compiled():
    assert fresh(PROGRAM.format(calls=40), GRAPHJIT_CACHE_DIR="/proc/x")[0] == "False True"


def test_processes_that_are_killed_do_no_harm(folder):
    draw = np.random.default_rng(7)
    for _ in range(3):
        running = [
            subprocess.Popen(
                [sys.executable, "-c", PROGRAM.format(calls=0)],
                stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            )
            for _ in range(4)
        ]  # fmt: skip
        for process in running[:2]:
            try:
                process.communicate(timeout=float(draw.uniform(0.2, 0.9)))
            except subprocess.TimeoutExpired:
                process.kill()
                process.communicate()
        results = [process.communicate() for process in running[2:]]
        for process, (said, errors) in zip(running[2:], results, strict=True):
            assert process.returncode == 0, errors
            assert not errors
            lines = said.splitlines()
            assert lines[1] == fresh(PROGRAM.format(calls=0), GRAPHJIT_CACHE="0")[1]


@pytest.mark.parametrize(
    "function, shape",
    [
        (lambda x: np.sort(x) * 2, lambda n: (n,)),
        (lambda x: np.fft.irfft(np.fft.rfft(x)), lambda n: (2 * n,)),
        (lambda x: np.linalg.det(x @ x) + 1, lambda n: (n, 3, 3)),
    ],
)
def test_library_calls_of_any_size(function, shape, monkeypatch):
    monkeypatch.setattr(config, "symbolic_after", 2)
    for found in (False, True):
        f = gj.function(lambda x: function(x), fallback="error")
        for n in (4, 6, 8, 9):
            x = random(*shape(n), dtype=np.float64)
            np.testing.assert_allclose(f(x), function(x), rtol=1e-9, atol=1e-9)
        assert [
            specialization.from_cache
            for specialization in f.specializations
            if specialization.size_domain is not None
        ] == [found]
