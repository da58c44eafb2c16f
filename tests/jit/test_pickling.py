"""Functions, tensors, variables and graphs that travel to other processes, or are copied."""

from __future__ import annotations

import concurrent.futures
import copy
import functools
import importlib
import multiprocessing
import pickle
import subprocess
import sys
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cloudpickle
import joblib
import numpy as np
import pytest
from joblib.externals.loky.backend.reduction import dumps as loky_dumps

import graphjit as gj
from graphjit.passes.fold import Fold

X = np.arange(4, dtype=np.float32)
DUMPS: dict[str, Callable[[Any], bytes]] = {
    "pickle": pickle.dumps,
    "protocol 0": functools.partial(pickle.dumps, protocol=0),
    "pickle in Python": pickle._dumps,  # type: ignore[attr-defined]
    "cloudpickle": cloudpickle.dumps,
    "joblib's": loky_dumps,
}


@pytest.fixture(params=DUMPS)
def sent(request: Any) -> Callable[[Any], Any]:
    """What comes out of a pickle of something."""
    return lambda value: pickle.loads(DUMPS[request.param](value))


@gj.function
def doubled(x: Any) -> Any:
    return x * 2


class Layer:
    def __init__(self, scale: float) -> None:
        self.w = X + scale

    @gj.function
    def weighted(self, x: Any) -> Any:
        return x * self.w

    @staticmethod
    @gj.function
    def plus(x: Any) -> Any:
        return x + 1

    @classmethod
    @gj.function
    def named(cls, x: Any) -> Any:
        return x + len(cls.__name__)


def plain(x: Any) -> Any:
    return x - 1


renamed = gj.function(plain)


def test_functions_that_are_found_travel_by_name(sent: Callable[[Any], Any]) -> None:
    assert sent(doubled) is doubled
    assert sent(Layer.plus) is Layer.plus
    assert sent(Layer.weighted) is Layer.weighted
    assert sent(Layer.__dict__["named"].__func__) is Layer.__dict__["named"].__func__
    assert len(pickle.dumps(doubled)) < 100


def test_methods_travel_with_their_object(sent: Callable[[Any], Any]) -> None:
    again = sent(Layer(2.0).weighted)
    assert again.__func__ is Layer.weighted
    np.testing.assert_array_equal(again(X), X * (X + 2))
    np.testing.assert_array_equal(sent(Layer.named)(X), X + 5)


def test_functions_of_another_name_travel_by_value(sent: Callable[[Any], Any]) -> None:
    again = sent(renamed)
    assert again is not renamed
    assert again.python_function is plain  # which is found
    np.testing.assert_array_equal(again(X), X - 1)


def nested(scale: Any) -> Any:
    table = {"w": np.full(4, 3.0)}

    @gj.function(fallback="error")
    def power(x: Any, n: int) -> Any:
        return x * scale if n == 0 else x * table["w"] * power(x, n - 1)

    return power


def test_nested_functions_travel_with_what_they_hold(sent: Callable[[Any], Any]) -> None:
    power = nested(X)
    expected = power(X, 2)
    again = sent(power)
    assert again.specializations == [] and again.trace_count == 0
    np.testing.assert_array_equal(again(X, 2), expected)
    inner = again.python_function
    cells = dict(zip(inner.__code__.co_freevars, inner.__closure__, strict=True))
    assert cells["power"].cell_contents is again
    cells["table"].cell_contents["w"][:] = 0  # a copy, read anew at each call
    assert not again(X, 2).any()
    np.testing.assert_array_equal(power(X, 2), expected)


def test_functions_that_call_one_another(sent: Callable[[Any], Any]) -> None:
    functions: dict[str, Any] = {}
    functions["even"] = gj.function(
        lambda x, n: x if n == 0 else functions["odd"](x + 1, n - 1)
    )
    functions["odd"] = gj.function(lambda x, n: functions["even"](x * 2, n - 1))
    again = sent(functions["even"])
    np.testing.assert_array_equal(again(X, 4), functions["even"](X, 4))


def test_options_and_attributes_travel(sent: Callable[[Any], Any]) -> None:
    fold = Fold()
    fn = gj.function(
        lambda x: gj.exp(x),
        input_signature=[gj.TensorSpec([None], gj.float32)],
        fallback="error",
        outputs="tensor",
        passes=[fold],
        fast_math=True,
    )
    fn.note = "kept"
    fn.__doc__ = "What it does."
    again = sent(fn)
    assert again.input_signature == (gj.TensorSpec([None], gj.float32),)
    assert (again.fallback, again.outputs, again.fast_math) == ("error", "tensor", True)
    assert again.passes == (fold,)
    assert (again.note, again.__doc__, again.name) == ("kept", "What it does.", "<lambda>")
    assert type(again(X)) is gj.Tensor
    with pytest.raises(gj.errors.InvalidArgumentError, match="input_signature"):
        again(X.astype(np.float64))


def test_partial_functions_travel(sent: Callable[[Any], Any]) -> None:
    fn = gj.function(functools.partial(lambda a, x, *, b: a * x + b, 3.0, b=X))
    np.testing.assert_array_equal(sent(fn)(X), 3 * X + X)


def test_subclasses_travel(sent: Callable[[Any], Any]) -> None:
    class Named(gj.Function):
        def __init__(self, function: Any, label: str) -> None:
            super().__init__(function)
            self.label = label

    again = sent(Named(lambda x: x + 1, "first"))
    assert (type(again).__name__, again.label) == ("Named", "first")
    np.testing.assert_array_equal(again(X), X + 1)


@pytest.mark.parametrize("dump", ["cloudpickle", "joblib's"])
def test_what_functions_share_stays_shared(dump: str) -> None:
    v = gj.Variable(X)
    add, read = gj.function(lambda x: v.assign_add(x)), gj.function(lambda x: x * v)
    add_again, read_again, v_again = pickle.loads(DUMPS[dump]((add, read, v)))
    add_again(gj.constant(X))
    np.testing.assert_array_equal(v_again.numpy(), X * 2)
    np.testing.assert_array_equal(read_again(gj.constant(X)).numpy(), X * X * 2)
    np.testing.assert_array_equal(v.numpy(), X)


def test_what_can_not_travel_says_so() -> None:
    lock = nested.__class__, concurrent.futures.Future()
    fn = gj.function(lambda x: x if lock else x + 1)
    with pytest.raises(TypeError, match="pickle"):
        pickle.dumps(fn)


def test_modules_whose_functions_travel_by_value() -> None:
    name = "module_to_send"
    module = types.ModuleType(name)
    code = "import graphjit as gj\n@gj.function\ndef f(x): return x + SHIFT\nSHIFT = 5"
    exec(code, module.__dict__)
    sys.modules[name] = module
    try:
        assert pickle.loads(cloudpickle.dumps(module.f)) is module.f
        cloudpickle.register_pickle_by_value(module)
        assert pickle.loads(pickle.dumps(module.f)) is module.f
        data = cloudpickle.dumps(module.f)
    finally:
        cloudpickle.unregister_pickle_by_value(module)
        del sys.modules[name]
    np.testing.assert_array_equal(pickle.loads(data)(X), X + 5)


def test_a_name_that_leads_elsewhere_now() -> None:
    data = pickle.dumps(doubled)
    found = globals().pop("doubled")
    try:
        with pytest.raises(AttributeError, match="doubled"):
            pickle.loads(data)
        assert pickle.loads(pickle.dumps(found)) is not found
        np.testing.assert_array_equal(pickle.loads(pickle.dumps(found))(X), X * 2)
    finally:
        globals()["doubled"] = found


def test_copies_are_the_function_itself() -> None:
    fn = gj.function(lambda x: x + 1)
    assert copy.copy(fn) is fn
    assert copy.deepcopy(fn) is fn
    layer = copy.deepcopy(Layer(1.0))
    np.testing.assert_array_equal(layer.weighted(X), X * (X + 1))


@pytest.mark.parametrize("shape", [(), (0, 3), (2, 3)])
@pytest.mark.parametrize("dtype", ["bool", "int16", "bfloat16", "float64", "complex64"])
def test_tensors_and_variables(
    shape: tuple[int, ...], dtype: str, sent: Callable[[Any], Any]
) -> None:
    tensor = gj.cast(gj.ones(shape, gj.float32), dtype)
    for again in (sent(tensor), copy.copy(tensor), copy.deepcopy(tensor)):
        assert again.type == tensor.type
        np.testing.assert_array_equal(again.numpy(), tensor.numpy())
        with pytest.raises((ValueError, TypeError)):
            again.numpy()[...] = 0
    v = gj.Variable(tensor, trainable=False, name="weights")
    for again in (sent(v), copy.copy(v), copy.deepcopy(v)):
        assert (again.type, again.name, again.trainable) == (v.type, "weights:0", False)
        again.assign(gj.zeros_like(tensor))
        assert again.cell is not v.cell
        np.testing.assert_array_equal(v.numpy(), tensor.numpy())


def test_types_and_graphs(sent: Callable[[Any], Any]) -> None:
    for value in (gj.float32, gj.bfloat16):
        assert sent(value) is value
        assert copy.deepcopy(value) is value
    spec = gj.TensorSpec([None, 3], gj.int32)
    assert pickle.loads(pickle.dumps(spec)) == spec == copy.deepcopy(spec)
    graph = nested(X).get_graph(X, 1)
    for again in (pickle.loads(pickle.dumps(graph)), copy.deepcopy(graph), copy.copy(graph)):
        assert str(again) == str(graph)
    assert gj.Graph.parse(str(again)) == graph


MODULE = """
import numpy as np, graphjit as gj

@gj.function
def doubled(x):
    return x * 2

class Layer:
    def __init__(self):
        self.w = np.arange(4, dtype=np.float32)

    @gj.function
    def weighted(self, x):
        return x * self.w
"""
METHODS = [
    name for name in ("fork", "spawn") if name in multiprocessing.get_all_start_methods()
]


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
@pytest.mark.parametrize("method", METHODS)
def test_pools_of_processes(method: str, tmp_path: Path, monkeypatch: Any) -> None:
    (tmp_path / "module_of_workers.py").write_text(MODULE)
    monkeypatch.syspath_prepend(tmp_path)
    module = importlib.import_module("module_of_workers")
    scale = X + 5
    functions = [module.doubled, module.Layer().weighted, gj.function(lambda x: x * scale)]
    context = multiprocessing.get_context(method)
    with concurrent.futures.ProcessPoolExecutor(1, mp_context=context) as pool:
        for fn in functions:
            fn(X)
            for x in (X, X[:2], gj.constant(X)):
                if fn is module.doubled or len(x) == 4:
                    same(pool.submit(fn, x).result(120), fn(x))
    with context.Pool(1) as workers:
        for result in workers.map(functions[2], [X, X]):
            same(result, X * scale)


def same(a: Any, b: Any) -> None:
    assert type(a) is type(b)
    np.testing.assert_array_equal(a, b)


def test_joblib() -> None:
    scale = X + 5
    fn = gj.function(lambda x: x * scale)
    results = joblib.Parallel(2)(joblib.delayed(fn)(X + k) for k in range(4))
    for k, result in enumerate(results):
        same(result, (X + k) * scale)


SCRIPT = """
import multiprocessing, pickle, sys
import concurrent.futures, joblib, numpy as np, graphjit as gj

w = np.arange(4.0)

@gj.function
def scaled(x):
    return x * w

class Base:
    @gj.function
    def step(self, x):
        return x + 1

class Model(Base):
    def __init__(self):
        self.w = w + 1

    @gj.function
    def step(self, x):
        return super().step(x) * self.w

    @staticmethod
    @gj.function
    def half(x):
        return x / 2

if __name__ == "__main__":
    x = np.ones(4)
    calls = [scaled, Model().step, Model.half]
    for fn in calls:
        again = pickle.loads(pickle.dumps(fn))
        assert np.array_equal(again(x), fn(x))
    for method in sys.argv[1:]:
        with concurrent.futures.ProcessPoolExecutor(
            1, mp_context=multiprocessing.get_context(method)
        ) as pool:
            for fn in calls:
                assert np.array_equal(pool.submit(fn, x).result(120), fn(x)), (method, fn)
    for fn in calls:
        for result in joblib.Parallel(2)(joblib.delayed(fn)(x) for _ in range(2)):
            assert np.array_equal(result, fn(x)), fn
    print("fine")
"""


@pytest.mark.parametrize("main", ["script", "no file"])
def test_functions_of_main(main: str, tmp_path: Path) -> None:
    """Without a file, as in a notebook, workers that don't fork can import no `__main__`."""
    path = tmp_path / "script.py"
    path.write_text(SCRIPT)
    command = [str(path), *METHODS] if main == "script" else ["-c", SCRIPT, *METHODS[:1]]
    done = subprocess.run(
        [sys.executable, *command], capture_output=True, text=True, timeout=300
    )
    assert done.stdout.strip() == "fine", done.stderr


def test_by_value_where_main_has_no_file() -> None:
    code = (
        "import multiprocessing, numpy as np, graphjit as gj\n"
        "@gj.function\n"
        "def scaled(x): return x * w\n"
        "w = np.arange(4.0)\n"
        "with multiprocessing.get_context('spawn').Pool(1) as pool:\n"
        "    print(pool.apply(scaled, (np.ones(4),)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=300
    )
    assert done.stdout.strip() == "[0. 1. 2. 3.]", done.stderr
