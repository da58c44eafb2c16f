"""The command line: what it prints, for people and for pipes, and how it says no."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result
from hypothesis import assume, given, settings
from strategies import graphs

import graphjit
import graphjit as gj
from graphjit.cli import compare, plans, stages
from graphjit.cli import main as cli
from graphjit.cli.session import Session
from graphjit.codegen.cpu import processor
from graphjit.codegen.cpu import target as cpu
from graphjit.core.config import config
from graphjit.core.errors import InternalError, InvalidArgumentError
from graphjit.core.types import DTYPES, as_dtype
from graphjit.ir.graph import Graph, reachable
from graphjit.ir.graph_json import from_json
from graphjit.passes import DEFAULT, PASSES

GOLDEN = Path(__file__).parents[1] / "golden" / "cli"
MODEL = str(GOLDEN / "model.py")
UPDATE = bool(os.environ.get("GRAPHJIT_UPDATE_GOLDEN"))
SOFTMAX = ("softmax", "f32[64,128]")
STEP = ("step", "t:f32[64,8]")

SOURCE = """\
import functools
import time, types
import numpy as np
import graphjit as gj
from graphjit.passes.dce import Dce

weights = gj.Variable(np.zeros(3, np.float32))
count = 3

def double(x):
    return x * 2

def two(x, n, scale=1.0):
    return {"a": x * n, "b": (x.sum() * scale, "text")}

def branch(x):
    if x.sum() > 0:
        return x
    return -x

def broken(x):
    raise ValueError("no such thing")

def mismatch(x):
    return x + np.ones(7)

def pick(x, i):
    return gj.gather(x, i)

def train(x):
    weights.assign_add(x)
    return weights * 2

def looped(x):
    for i in range(len(x)):
        x = x + i
    return x

def untraced(x):
    if id(x) == 1:
        raise TypeError("no such array")
    return x + 0

def several(x, y):
    t = np.exp(x) + y
    return (t - x.mean(axis=0)) @ t.T, np.sort(t.sum(axis=1))

# passes for a function of a library, into which no trace looks
clock = types.FunctionType(
    (lambda: time.perf_counter_ns()).__code__, {"time": time, "__name__": "types"}
)

def unlike(x):
    return x + (1 + clock() % 1_000_000 / 1000)

@gj.function(passes=[Dce()])
def tidied(x):
    return x * 2

@gj.function(input_signature=[gj.TensorSpec([None, 3])])
def signed(x):
    return x * 2

class Layer:
    scale = np.arange(3.0)

    def method(self, x):
        return x * self.scale

    @gj.function
    def compiled(self, x):
        return x + self.scale

    def __call__(self, x):
        return x - self.scale

layer = Layer()
partial = functools.partial(two, n=2)
"""


@pytest.fixture
def source(tmp_path: Path) -> str:
    path = tmp_path / "story.py"
    path.write_text(SOURCE)
    return str(path)


def invoke(*args: str) -> Result:
    return CliRunner().invoke(cli.main, args)


def succeed(*args: str) -> str:
    result = invoke(*args)
    assert result.exit_code == 0, result.output
    assert not result.stderr
    return result.stdout


def fail(code: int, *args: str) -> str:
    """The one message on stderr of a command that ends with this code."""
    result = invoke(*args)
    assert result.exit_code == code, result.output
    assert "Traceback" not in result.output
    assert len(re.findall(r"^Error: ", result.stderr, re.MULTILINE)) == 1
    return result.stderr


def traced(source: str, name: str, *arguments: str) -> Graph:
    text = succeed("dump", f"{source}:{name}", *options(arguments), "--stage", "trace")
    return Graph.parse(text)


def options(arguments: Sequence[str]) -> list[str]:
    return [part for text in arguments for part in ("--arg", text)]


@pytest.mark.parametrize("stage", ["trace", "simplify,dce", "kernels", "buffers", "loops"])
@pytest.mark.parametrize(("name", "argument"), [SOFTMAX, STEP])
def test_dump_is_the_golden_text(
    name: str, argument: str, stage: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # loops are those of the same CPU everywhere
    wide = replace(processor.host(), vector_bytes=64)
    monkeypatch.setattr(processor, "host", lambda: wide)
    found = succeed("dump", f"{MODEL}:{name}", "--arg", argument, "--stage", stage)
    asked = f"$ graphjit dump model.py:{name} --arg '{argument}' --stage {stage}\n"
    path = GOLDEN / f"{name}-{stage.replace(',', '-')}.txt"
    if UPDATE:
        path.write_text(asked + found, encoding="utf-8")
    assert asked + found == path.read_text(encoding="utf-8")


def test_a_pipeline_prints_the_graph_after_each_pass() -> None:
    text = succeed("dump", f"{MODEL}:step", "--arg", STEP[1], "--stage", "simplify,cse,dce")
    parts = re.split(r"^(---.*)\n", text, flags=re.MULTILINE)[1:]
    headers, graphs = parts[::2], parts[1::2]
    assert headers[0] == "--- traced"
    assert headers[1].startswith("--- simplify    # x * 1 -> x at %2")
    assert headers[2:] == ["--- cse    # nothing changed", "--- dce    # nothing changed"]
    before, after = Graph.parse(graphs[0]), Graph.parse(graphs[1])
    assert PASSES["simplify"]().run(before) == after
    assert graphs[2:] == ["", ""]


def test_the_default_stage_is_the_default_pipeline() -> None:
    text = succeed("dump", f"{MODEL}:softmax", "--arg", SOFTMAX[1])
    headers = re.findall(r"^--- ([\w-]+)", text, re.MULTILINE)
    assert headers == ["traced", *[str(step) for step in DEFAULT.passes]]
    assert text == succeed(
        "dump", f"{MODEL}:softmax", "--arg", SOFTMAX[1], "--stage", str(DEFAULT)
    )


def test_a_functions_own_passes_come_first(source: str) -> None:
    text = succeed("dump", f"{source}:tidied", "--arg", "f32[3]")
    headers = re.findall(r"^--- ([\w-]+)", text, re.MULTILINE)
    assert headers == ["traced", "dce", *[str(step) for step in DEFAULT.passes]]


def test_pass_options_are_part_of_the_header(source: str) -> None:
    text = succeed(
        "dump", f"{source}:double", "--arg", "f32[3]", "--stage", "fold{max_bytes=16}"
    )
    assert "--- fold{max_bytes=16}" in text


@pytest.mark.parametrize("stage", ["llvm", "llvm-opt"])
def test_llvm_code_adds_whole_vectors(stage: str) -> None:
    text = succeed("dump", f"{MODEL}:softmax", "--arg", SOFTMAX[1], "--stage", stage)
    lanes = processor.host().vector_bytes // 4
    assert re.search(r"^define ", text, re.MULTILINE)
    assert re.search(rf"\bfadd [a-z ]*<{lanes} x float>", text)


def test_assembly_has_the_function() -> None:
    text = succeed("dump", f"{MODEL}:softmax", "--arg", SOFTMAX[1], "--stage", "asm")
    assert re.search(r"^_?segment0:", text, re.MULTILINE)


def test_a_dump_works_where_code_generation_does_not(
    source: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any) -> None:
        raise InternalError("no code")

    monkeypatch.setattr(cpu, "emit_program", refuse)
    assert traced(source, "double", "f32[3]").nodes[-1].primitive.name == "mul"
    fail(4, "dump", f"{source}:double", "--arg", "f32[3]", "--stage", "llvm")


def test_formats_of_a_graph(source: str, tmp_path: Path) -> None:
    asked = ["dump", f"{source}:double", "--arg", "f32[3]", "--stage", "trace"]
    graph = traced(source, "double", "f32[3]")
    assert from_json(succeed(*asked, "--format", "json")) == graph
    assert succeed(*asked, "--format", "dot").startswith('digraph "double" {')
    assert succeed(*asked, "--format", "svg").startswith(("<svg", "<?xml"))
    drawn = tmp_path / "graph.svg"
    assert succeed(*asked, "-o", str(drawn)) == ""
    assert "<svg" in drawn.read_text(encoding="utf-8")
    plain = tmp_path / "graph.txt"
    succeed(*asked, "-o", str(plain))
    assert Graph.parse(plain.read_text(encoding="utf-8")) == graph


def test_a_pipeline_draws_the_last_graph() -> None:
    asked = ["dump", f"{MODEL}:step", "--arg", STEP[1], "--format", "json", "--stage"]
    first = json.loads(succeed(*asked, "trace"))["nodes"]
    last = json.loads(succeed(*asked, "simplify,dce"))["nodes"]
    assert len(last) < len(first)


def test_drawings_of_kernels_are_coloured_by_kernel(source: str) -> None:
    asked = ["dump", f"{source}:several", *options(["f32[4,5]", "f32[4,5]"]), "--format", "dot"]
    text = succeed(*asked, "--stage", "kernels")
    assert {"kernel 0", "kernel 1"} <= set(re.findall(r"kernel \d+", text))
    assert "kernel 0" not in succeed(*asked)


@pytest.mark.parametrize(
    ("stage", "output_format"), [("asm", "dot"), ("loops", "svg"), ("kernels", "json")]
)
def test_what_is_no_graph_is_not_drawn(source: str, stage: str, output_format: str) -> None:
    asked = [
        "dump",
        f"{source}:double",
        "--arg",
        "f32[3]",
        "--stage",
        stage,
        "--format",
        output_format,
    ]
    assert f"stage {stage} has no {output_format} format" in fail(2, *asked)


def test_methods_and_objects_are_functions(source: str) -> None:
    for name, op in [("layer.method", "mul"), ("layer.compiled", "add"), ("layer", "sub")]:
        graph = traced(source, name, "f64[3]")
        assert graph.nodes[-1].primitive.name == op
        assert graph.nodes[0].attr("name") == "x"


def test_a_module_is_found_in_the_current_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "cli_test_package"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "inner.py").write_text("def double(x):\n    return x * 2\n")
    monkeypatch.chdir(tmp_path)
    assert len(traced("cli_test_package.inner", "double", "f32[3]")) == 3


def test_a_file_imports_its_neighbours(tmp_path: Path) -> None:
    (tmp_path / "cli_test_neighbour.py").write_text("factor = 3.0\n")
    path = tmp_path / "cli_test_model.py"
    path.write_text("import cli_test_neighbour as n\ndef f(x):\n    return x * n.factor\n")
    before = list(sys.path)
    assert len(traced(str(path), "f", "f64[2]")) == 3
    assert sys.path == before and "cli_test_model" not in sys.modules


@pytest.mark.parametrize("dtype", DTYPES, ids=lambda dtype: dtype.name)
def test_every_dtype_is_an_argument(dtype: Any) -> None:
    random = np.random.default_rng(0)
    for name in (dtype.short, dtype.name):
        argument = cli.parse_argument(f"{name}[2, 3]")
        for array in (argument.make(), argument.make(random)):
            assert array.shape == (2, 3) and as_dtype(array.dtype) is dtype
    assert cli.parse_argument(f"{dtype.short}[]").make(random).shape == ()


def test_tensors_literals_and_files_are_arguments(tmp_path: Path) -> None:
    make: Callable[..., Any] = lambda *a: cli.parse_argument(*a).make()  # noqa: E731
    assert isinstance(make("t:f32[0,3]"), graphjit.Tensor)
    assert isinstance(make("f32[3]", True), graphjit.Tensor)
    assert type(make("f32[3]")) is np.ndarray
    for text, value in [
        ("3", 3),
        ("-0.5", -0.5),
        ("True", True),
        ("None", None),
        ("(1,)", (1,)),
    ]:
        found = make(text, True)
        assert found == value and type(found) is type(value)
    np.save(tmp_path / "x.npy", np.arange(3))
    assert make(f"{tmp_path}/x.npy").tolist() == [0, 1, 2]
    assert isinstance(make(f"t:{tmp_path}/x.npy"), graphjit.Tensor)


def test_extents_may_be_open(source: str, tmp_path: Path) -> None:
    both = options(["f32[None,32]", "f32[None,32]"])
    assert "f32[n0, 32]" in succeed("dump", f"{source}:several", *both, "--stage", "trace")
    assert "[d0 < n0]" in succeed("dump", f"{source}:several", *both, "--stage", "kernels")
    assert ".param .u64" in succeed(
        "dump", f"{source}:signed", "--arg", "f32[None,3]", "--stage", "ptx"
    )
    text = succeed("explain", f"{source}:several", *both)
    assert "sizes are open: bytes and flops for extents of 256 or more" in text
    assert "%\n" not in text and "roofline" not in text
    np.save(tmp_path / "x.npy", np.ones(32, np.float32))
    mixed = options(["f32[None,32]", f"{tmp_path}/x.npy"])
    assert "f32[32]" in succeed("dump", f"{source}:several", *mixed, "--stage", "trace")


@pytest.mark.parametrize("command", ["dump", "explain"])
@pytest.mark.parametrize("name", ["layer", "layer.method", "layer.compiled"])
def test_open_extents_of_methods(name: str, command: str, source: str) -> None:
    assert "f64[n0, 3]" in succeed(command, f"{source}:{name}", "--arg", "f64[None,3]")


@pytest.mark.parametrize("command", ["dump", "explain", "ptx"])
def test_sizes_that_nothing_is_open_for(command: str, source: str, tmp_path: Path) -> None:
    where = ["-o", str(tmp_path / "out")] if command == "ptx" else []
    for name, argument, text in (
        ("looped", "f32[None]", "there is no one specialization of looped for all sizes"),
        ("train", "f32[None,99999999999999999999]", "Maximum allowed dimension"),
        ("train", "f32[9999999999,9999999999]", "array is too big"),
        ("signed", "f32[None,5]", "incompatible with input_signature"),
    ):
        message = fail(2, command, f"{source}:{name}", "--arg", argument, *where)
        assert text in message and "core.py" not in message


def test_extents_that_cannot_be_open(source: str) -> None:
    assert "no extent can be left open here" in fail(
        2, "run", f"{source}:two", "--arg", "f32[None]"
    )
    assert "no extent can be left" in fail(2, "dump", f"{source}:train", "--arg", "t:f32[None]")
    assert "write f32[2,3], f32[None,3]" in fail(
        2, "dump", f"{source}:train", "--arg", "f32[n]"
    )
    pair = options(["f32[None,2]", "3.5"])
    assert "all arguments are arrays, not 3.5" in fail(2, "dump", f"{source}:several", *pair)


def test_the_tensor_flag_means_tensorflow_rules(source: str) -> None:
    path, asked = f"{source}:mismatch", options(["f32[7]"])
    assert "cast" in succeed("dump", path, *asked, "--stage", "trace")
    assert "was expected to be a float tensor" in fail(2, "dump", path, *asked, "--tensor")


def test_explain_says_what_was_fused_and_what_not(source: str) -> None:
    text = succeed("explain", f"{source}:several", *options(["f32[64,32]", "f32[64,32]"]))
    lines = text.splitlines()
    assert lines[1].split() == [
        "step",
        "what",
        "bytes",
        "flops",
        "floor",
        "takes",
        "reached",
        "nodes",
    ]
    assert any(re.search(r"kernel .*\d exp, %\d+ add", line) for line in lines)
    assert any(
        re.search(r"kernel k\d+ +[\d.]+ kB +262 k .*%\d+ matmul", line) for line in lines
    )
    assert re.search(
        r"^not fused: %\d+ \w+ \(story.py:\d+\) apart from %\d+", text, re.MULTILINE
    )
    assert re.search(r"^library: step \d leaves native code for %\d+ sort", text, re.MULTILINE)
    assert re.search(r"^arena: \d+ bytes", text, re.MULTILINE)
    assert re.search(
        r"^times: trace .*, passes .*, fuse .*, emit .*, llvm ", text, re.MULTILINE
    )


def test_explain_says_what_is_computed_twice() -> None:
    text = """graph f
%0: f32[3] = param "x"
%1: f32[3] = exp %0
%2: f32[3] = neg %0
%3: f32[9] = concat{axis=0} %1, %2, %1
return %3"""
    plan = plans.plan(Graph.parse(text))
    assert plan.nodes == ((1, 3), (2, 3), (1, 3))
    assert plan.repeated() == {1: (0, 2)}


def test_every_live_node_is_in_a_step(source: str) -> None:
    graph = traced(source, "several", "f32[64,32]", "f32[64,32]")
    plan = plans.plan(graph)
    sources = {"param", "const"}
    names = {i for i, n in enumerate(plan.graph.nodes) if n.primitive.name not in sources}
    assert set(plan.kernel_of()) == names


@settings(max_examples=30)
@given(graphs())
def test_every_node_of_a_random_graph_is_in_a_step(graph: Graph) -> None:
    plan = plans.plan(graph)
    assume(all(node.tensor.size for node in plan.graph.nodes))  # empty ones take no step
    live = reachable(plan.graph)
    computed = {
        index
        for index, node in enumerate(plan.graph.nodes)
        if live[index] and node.primitive.name not in {"param", "const"}
    }
    assert computed <= set(plan.kernel_of())
    assert plan.graph.to_dot(plan.kernel_of())


def test_run_compares_with_eager(source: str) -> None:
    text = succeed(
        "run", f"{source}:two", *options(["f32[100]", "3", "0.5"]), "--compare-eager",
        "--repeat", "3",
    )  # fmt: skip
    rows = [re.split(r"  +", line) for line in text.splitlines()]
    assert rows[1][:2] == ["result 0", "f32[100]"]
    assert rows[3] == ["result 2", "str", "'text'"]
    assert [row[-1] for row in rows[5:8]] == ["agrees"] * 3
    assert re.match(
        r"compiled .* eager .*\(median of 3, in turns\): .* times as fast", rows[8][0]
    )


def test_run_is_the_same_for_the_same_seed(source: str) -> None:
    def first_lines(*more: str) -> list[str]:
        asked = ["run", f"{source}:double", "--arg", "f32[50]", "--repeat", "1", *more]
        return succeed(*asked).splitlines()[:2]

    assert first_lines() == first_lines("--seed", "0") != first_lines("--seed", "1")


def test_run_reads_files_and_restores_variables(source: str, tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.array([1, 2, 6], np.float32))
    path = f"t:{tmp_path / 'x.npy'}"
    text = succeed(
        "run", f"{source}:train", "--input", path, "--compare-eager", "--repeat", "4"
    )
    assert "min 2, mean 6, max 12" in text
    assert re.search(r"^variable Variable +f32\[3\] +min 1, mean 3, max 6", text, re.MULTILINE)
    assert text.count("agrees") == 2


def test_run_fails_where_results_differ(source: str) -> None:
    asked = ["run", f"{source}:unlike", "--arg", "f32[5]", "--repeat", "1"]
    result = invoke(*asked, "--compare-eager")
    assert result.exit_code == 1
    assert "more than 256 ulps" in result.stdout
    assert result.stderr == "Error: compiled and eager results differ\n"
    succeed(*asked)
    succeed(*asked, "--compare-eager", "--ulps", "1e9")


def results(*values: Any) -> list[compare.Result]:
    return [compare.Result(f"result {k}", value) for k, value in enumerate(values)]


def test_differences_are_measured_in_units_in_the_last_place() -> None:
    one = np.ones(4, np.float32)
    (near,) = compare.differences(results(one), results(one + np.float32(2.0**-22)))
    assert (near.absolute, near.ulps, near.problem) == (2.0**-22, pytest.approx(2.0), "")
    small = np.array([1.0, 1e-9], np.float32)  # an element's size is at least the mean's
    (mean,) = compare.differences(results(small), results(small * np.float32([1, 2])))
    assert mean.ulps < 1


@pytest.mark.parametrize(
    ("actual", "expected", "problem"),
    [
        (np.float32([1]), np.float64([1]), "f32[1], eagerly f64[1]"),
        (np.int32([1, 2]), np.int32([1, 3]), "1 of 2 elements differ"),
        (np.float32([np.nan, 1]), np.float32([1, 1]), "1 NaNs or infinities are not the same"),
        (np.float32([np.inf]), np.float32([-np.inf]), "1 NaNs or infinities are not the same"),
        ("a", "b", "'a', eagerly 'b'"),
    ],
)
def test_differences_that_are_no_rounding(actual: Any, expected: Any, problem: str) -> None:
    (found,) = compare.differences(results(actual), results(expected))
    assert found.problem == problem
    (same,) = compare.differences(results(actual), results(actual))
    assert (same.absolute, same.ulps, same.problem) == (0, 0, "")


def test_a_missing_result_is_a_difference() -> None:
    (found,) = compare.differences(results(1.0), results(1.0, 2.0))
    assert found.problem == "1 results, eagerly 2"


def test_passes_are_listed_with_their_options() -> None:
    text = succeed("passes")
    for name, kind in PASSES.items():
        first = (kind.__doc__ or "").split(".")[0].split()[0]
        assert re.search(rf"^{kind.level}  +{name}  .*{first}", text, re.MULTILINE)
    assert "max_bytes=65536" in text
    assert f"default: {DEFAULT}" in text


def test_version_and_help() -> None:
    assert graphjit.__version__ in succeed("--version")
    for command in ([], ["dump"], ["explain"], ["run"], ["passes"]):
        assert "Exit codes:" in succeed(*command, "--help")


WRONG = {
    "no argument": ("double", [], "double(x): missing a required argument: 'x'"),
    "too many": ("double", ["1", "2"], "double(x): too many positional arguments"),
    "bad dtype": ("double", ["q32[3]"], "no dtype 'q32' in 'q32[3]'"),
    "bad shape": ("double", ["f32[3,,4]"], "'f32[3,,4]' has no such shape"),
    "no shape": ("double", ["f32"], "'f32' is no argument: write a type"),
    "tensor literal": ("double", ["t:3"], "'t:3' is no argument"),
    "huge": ("double", ["f32[99999999999999]"], "out of memory"),
    "no .npy": ("double", ["none.npy"], "none.npy can't be read as an array"),
    "typo": ("duoble", ["f32[3]"], "story has no 'duoble': did you mean double?"),
    "no such name": (
        "xyz",
        ["f32[3]"],
        "story has no 'xyz': it has Dce, Layer, branch,",
    ),
    "class": ("Layer", ["f32[3]"], "Layer is a class, not a function"),
    "method": ("Layer.method", ["f32[3]"], "Layer.method is a method of a class"),
    "number": ("count", ["f32[3]"], "count is no function but a int"),
    "partial": ("partial", ["f32[3]"], "a partial is no Python function"),
    "user's error": ("broken", ["f32[3]"], "raise ValueError"),
    "shapes": ("mismatch", ["f64[3]"], "at story.py:25 in mismatch: return x + np.ones(7)"),
    "signature": ("signed", ["f32[3,4]"], "incompatible with input_signature"),
}


@pytest.mark.parametrize("command", ["dump", "explain", "run"])
@pytest.mark.parametrize("case", WRONG)
def test_user_errors_are_one_message(command: str, case: str, source: str) -> None:
    name, arguments, message = WRONG[case]
    said = fail(2, command, f"{source}:{name}", *options(arguments))
    assert message in said
    assert "callback" not in said  # a line of ours is no line of the user's


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ("none.py:f", "no file none.py"),
        ("folder/none:f", "no file folder/none"),
        ("no_such_module_at_all:f", "no module 'no_such_module_at_all'"),
        ("graphjit.none:f", "no module 'graphjit.none'"),
        ("model.py", "'model.py' names no function"),
        ("model.py:", "'model.py:' names no function"),
        (":f", "':f' names no function"),
    ],
)
def test_targets_that_are_not_there(target: str, message: str) -> None:
    assert message in fail(2, "dump", target)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("x = 1\ny = nothing\n", "raised NameError: name 'nothing' is not defined\n  at bad"),
        ("def f(:\n", "raised SyntaxError"),
        ("import no_such_module_at_all\n", "raised ModuleNotFoundError"),
        ("raise SystemExit(3)\n", "raised SystemExit: 3"),
    ],
)
def test_files_that_cannot_be_imported(text: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "bad_story.py"
    path.write_text(text)
    assert f"importing bad_story.py {message}" in fail(2, "dump", f"{path}:f")
    assert "bad_story" not in sys.modules


def test_a_file_may_not_hide_a_module_in_use(tmp_path: Path) -> None:
    path = tmp_path / "json.py"
    path.write_text("def f(x):\n    return x\n")
    assert "json.py has the name of a module in use" in fail(2, "dump", f"{path}:f")
    assert sys.modules["json"] is json


@pytest.mark.parametrize(
    ("stage", "message"),
    [
        ("simplify,nothing", "no pass 'nothing'; the passes are pin-sizes, simplify, fold"),
        ("fold{max=3}", "options of 'fold{max=3}'"),
        ("fold{16}", "options of 'fold{16}'"),
        ("fold{)+f(}", "options of 'fold{)+f(}'"),
        (
            "loop",
            "the stages are trace, default, fuse, update-in-place, pack, row-blocks",
        ),
        ("dce,fuse", "fuse makes a program: give its name alone"),
    ],
)
def test_stages_that_are_not_there(source: str, stage: str, message: str) -> None:
    asked = ["dump", f"{source}:double", "--arg", "f32[3]", "--stage", stage]
    assert message in fail(2, *asked)


def test_files_that_cannot_be_written(source: str, tmp_path: Path) -> None:
    path = str(tmp_path / "no" / "folder.txt")
    asked = ["dump", f"{source}:double", "--arg", "f32[3]", "-o", path]
    assert "can't be written: No such file" in fail(2, *asked)


@pytest.mark.parametrize("command", ["dump", "explain", "run"])
def test_functions_that_cannot_be_traced(command: str, source: str) -> None:
    said = fail(3, command, f"{source}:branch", "--arg", "f32[3]")
    assert "can't be traced" in said and "at story.py:17 in branch: if x.sum() > 0:" in said


def test_what_works_only_eagerly_cannot_be_traced(source: str) -> None:
    said = fail(3, "run", f"{source}:untraced", "--arg", "f32[3]")
    assert "can't be traced: asks for the id of an object" in said


def test_an_index_out_of_range_is_the_users_error(source: str, tmp_path: Path) -> None:
    np.save(tmp_path / "i.npy", np.array([9]))
    asked = options(["t:f32[5]", f"t:{tmp_path}/i.npy"])
    assert "index 9 is out of range" in fail(2, "run", f"{source}:pick", *asked)


@pytest.mark.parametrize(
    ("error", "code", "message"),
    [
        (KeyError("k"), 4, "internal error: KeyError: 'k' (-v shows where)"),
        (InternalError("broken"), 4, "internal error: broken"),
        (InvalidArgumentError("no"), 2, "Error: no"),
        (MemoryError("much"), 2, "out of memory: much"),
        (KeyboardInterrupt(), 130, ""),
    ],
)
def test_exit_codes_of_errors_within(
    error: BaseException, code: int, message: str, source: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any) -> None:
        raise error

    monkeypatch.setattr(stages, "run_passes", refuse)
    asked = ["dump", f"{source}:double", "--arg", "f32[3]"]
    result = invoke(*asked)
    assert result.exit_code == code and message in result.stderr
    assert "Traceback" not in result.output
    if code != 130:
        result = invoke(*asked, "-v")
        assert result.exit_code == code
        assert "Traceback" in result.stderr and "in refuse" in result.stderr


def test_traceback_of_the_users_file(source: str) -> None:
    result = invoke("-v", "dump", f"{source}:broken", "--arg", "f32[3]")
    assert result.exit_code == 2
    assert "Traceback" in result.stderr and 'raise ValueError("no such thing")' in result.stderr


COMMAND = [sys.executable, "-m", "graphjit.cli"]


def test_piped_output_has_no_escape_codes() -> None:
    asked = [*COMMAND, "dump", f"{MODEL}:step", "--arg", STEP[1], "--stage", "trace"]
    done = subprocess.run(asked, capture_output=True, text=True, encoding="utf-8", timeout=60)
    assert (done.returncode, done.stderr) == (0, "")
    assert "\x1b" not in done.stdout
    golden = (GOLDEN / "step-trace.txt").read_text(encoding="utf-8")
    assert done.stdout == golden.split("\n", 1)[1]


def test_a_process_ends_with_the_exit_code(source: str) -> None:
    asked = [*COMMAND, "run", f"{source}:branch", "--arg", "f32[3]"]
    done = subprocess.run(asked, capture_output=True, text=True, encoding="utf-8", timeout=60)
    assert (done.returncode, done.stdout) == (3, "")
    assert done.stderr.startswith("Error: can't be traced: ")


def test_using_the_library_loads_neither_click_nor_rich() -> None:
    code = "import sys, graphjit; print({'click', 'rich'} & set(sys.modules))"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60
    )
    assert done.stdout.strip() == "set()"


@pytest.mark.skipif(os.name != "posix", reason="needs a pseudo-terminal")
@pytest.mark.parametrize("no_color", ["", "1"])
def test_a_terminal_gets_colour_unless_told_otherwise(no_color: str) -> None:
    import pty

    main, other = pty.openpty()
    asked = [*COMMAND, "dump", f"{MODEL}:step", "--arg", STEP[1], "--stage", "trace"]
    environment = {**os.environ, "TERM": "xterm-256color", "NO_COLOR": no_color}
    subprocess.run(asked, stdout=other, stdin=other, env=environment, timeout=60, check=True)
    os.close(other)
    found = b""
    while True:
        try:
            part = os.read(main, 65536)
        except OSError:  # Linux's way to say that the other end is closed
            break
        if not part:
            break
        found += part
    os.close(main)
    text = found.decode()
    assert ("\x1b[" in text) is not bool(no_color)
    plain = re.sub(r"\x1b\[[\d;]*m", "", text).replace("\r\n", "\n")
    golden = (GOLDEN / "step-trace.txt").read_text(encoding="utf-8")
    assert plain == golden.split("\n", 1)[1]


@pytest.mark.parametrize("name", stages.PROGRAM_PASSES)
def test_a_pass_over_programs_is_a_stage(name: str) -> None:
    text = succeed("dump", f"{MODEL}:softmax", "--arg", "f32[64,128]", "--stage", name)
    assert text.startswith("program softmax\n") and "kernel k" in text


def test_timed_calls_go_by_the_native_entry() -> None:
    def f(x: Any) -> Any:
        return x * 2 + 1

    before, config.gates[1] = config.gates[1], 0  # another test may have opened it for good
    try:
        session = Session(f, [np.ones(4, np.float32)])
        session.results(), session.results(eagerly=True)
        compiled, eager = session.times_ns(2, True)
        assert len(compiled) == len(eager) == 2
        assert list(config.gates) == [0, 0]  # else machine code hands every call to Python
        assert not config.functions_run_eagerly
    finally:
        config.gates[1] |= before


def test_a_batch_of_calls_changes_no_variable() -> None:
    v = gj.Variable(1.0)

    def count() -> Any:
        return v.assign_add(1.0)

    session = Session(count, [])
    session.times_ns(3, True)
    assert float(v) == 1.0
    assert float(session.results()[0].value) == 2.0
