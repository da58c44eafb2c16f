"""The stages of a compile: times, the line in the log, the line on a terminal."""

import gc
import io
import re
import subprocess
import sys
import threading
import time

import numpy as np
import pytest
from rich.console import Console

import graphjit as gj
from graphjit.ir import compile_log
from graphjit.ir.compile_log import STAGES, Stages, collector_paused, progress


class Terminal(io.StringIO):
    def isatty(self):
        return True


def console(stream):
    return Console(file=stream, force_terminal=True, width=80)


def shown(stream, text, seconds=20.0):
    """Whether a text comes to be shown."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        if text in stream.getvalue():
            return True
        time.sleep(0.005)
    return False


def step(x):
    return np.exp(x) * 2


def test_every_stage_is_timed_and_explained():
    f = gj.function(step)
    x = np.ones(10, np.float32)
    f(x)
    assert tuple(f.specializations[0].times_ns) == STAGES
    assert all(ns > 0 for ns in f.specializations[0].times_ns.values())
    times = f.explain(x).splitlines()[-1]
    assert re.fullmatch("times: " + ", ".join(rf"{s} \d+\.\d\d ms" for s in STAGES), times)


def test_a_stage_that_fails_is_timed_and_one_entered_twice_is_summed():
    found = Stages()
    with found.stage("emit"):
        time.sleep(0.002)
    first = found.times_ns["emit"]
    with pytest.raises(KeyError), found.stage("emit"):
        assert found.current == "emit"
        raise KeyError
    assert found.times_ns["emit"] > first >= 2_000_000


LINE = r"graphjit: compiled step in [\d.]+ ms: {}; 4 nodes, 1 steps\n".format(
    ", ".join(rf"{s} [\d.]+" for s in STAGES)
)


def test_each_compile_is_a_line_in_the_log(capsys, monkeypatch):
    monkeypatch.setattr(gj.config, "log", frozenset({"compile"}))
    f = gj.function(step)
    f(np.ones(10, np.float32))
    f(np.ones(10, np.float32))  # is not compiled again
    out, err = capsys.readouterr()
    assert not out and re.fullmatch(LINE, err)
    f(np.ones(11, np.float32))
    assert re.fullmatch(LINE, capsys.readouterr().err)


def test_nothing_is_logged_unasked(capsys, monkeypatch):
    monkeypatch.setattr(gj.config, "log", frozenset())
    gj.function(step)(np.ones(10, np.float32))
    assert capsys.readouterr() == ("", "")


def test_the_log_is_switched_on_by_the_environment():
    code = "import graphjit as gj, numpy as np\ngj.function(lambda x: x + 1)(np.ones(3))\n"
    code += "import sys; print('rich' in sys.modules)"
    for value, count in (("compile", 1), (" compile, ", 1), ("", 0)):
        done = subprocess.run(
            [sys.executable, "-c", code],
            env={"GRAPHJIT_LOG": value, "GRAPHJIT_CACHE": "0", "PATH": ""},
            capture_output=True,
            text=True,
            check=True,
        )
        assert (
            done.stderr.count("graphjit: compiled <lambda>")
            == count
            == len(done.stderr.splitlines())
        )
        assert done.stdout == "False\n"  # it isn't imported for a compile of a moment


def test_a_long_compile_is_shown_on_a_terminal_and_then_taken_away(monkeypatch):
    monkeypatch.setattr(compile_log, "PROGRESS_AFTER_S", 0.0)
    monkeypatch.setattr(compile_log, "REFRESH_S", 0.001)
    stream, found = Terminal(), Stages()
    monkeypatch.setattr(sys, "stderr", stream)
    threads, output = threading.active_count(), sys.stdout
    with progress("model", found, console):
        with found.stage("fuse"):
            assert shown(stream, "graphjit compiles model: fuse, 0 s")
        with found.stage("llvm"):
            assert shown(stream, "graphjit compiles model: llvm")
        assert sys.stderr is stream and sys.stdout is output
    assert stream.getvalue().endswith("\x1b[2K")  # the line is erased
    assert threading.active_count() == threads


def test_the_line_goes_when_the_compile_fails(monkeypatch):
    monkeypatch.setattr(compile_log, "PROGRESS_AFTER_S", 0.0)
    stream = Terminal()
    monkeypatch.setattr(sys, "stderr", stream)
    threads = threading.active_count()
    with pytest.raises(KeyError), progress("model", Stages(), console):
        assert shown(stream, "graphjit compiles model")
        raise KeyError
    assert stream.getvalue().endswith("\x1b[2K")
    assert threading.active_count() == threads


def test_nothing_is_shown_of_a_short_compile_nor_where_there_is_no_terminal(monkeypatch):
    stream = Terminal()
    monkeypatch.setattr(sys, "stderr", stream)
    gj.function(step)(np.ones(10, np.float32))
    assert stream.getvalue() == ""
    monkeypatch.setattr(compile_log, "PROGRESS_AFTER_S", 0.0)
    for plain in (io.StringIO(), None):
        monkeypatch.setattr(sys, "stderr", plain)
        threads = threading.active_count()
        with progress("model", Stages(), console):
            assert threading.active_count() == threads
        assert plain is None or plain.getvalue() == ""


@pytest.mark.parametrize("enabled", [True, False])
def test_the_collector_is_as_it_was_after_a_compile_and_after_one_that_failed(enabled):
    before = gc.isenabled()
    (gc.enable if enabled else gc.disable)()
    try:
        with collector_paused():
            assert not gc.isenabled()
        assert gc.isenabled() == enabled
        with pytest.raises(KeyError), collector_paused():
            raise KeyError
        assert gc.isenabled() == enabled
    finally:
        (gc.enable if before else gc.disable)()
