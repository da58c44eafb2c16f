"""LLVM's passes over a module's text, for any target."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import llvmlite.binding as llvm

from graphjit.core.config import config

# (LLVM IR, LLVM's target machine) -> the optimized module.
Optimizer = Callable[[str, Any], Any]


def optimize(text: str, machine: Any) -> Any:
    """The module after LLVM's pipeline, without vectorizers, since vectors are explicit."""
    module = parse_module(text, machine)
    options = llvm.create_pipeline_tuning_options(speed_level=2)
    options.loop_vectorization = False
    options.slp_vectorization = False
    options.loop_unrolling = False
    passes = llvm.create_pass_builder(machine, options)
    run_passes(passes.getModulePassManager(), module, passes)
    return module


def parse_module(text: str, machine: Any) -> Any:
    """The module of a text, for a target machine."""
    module = llvm.parse_assembly(text)
    if config.verify:
        module.verify()
    module.triple = machine.triple
    module.data_layout = str(machine.target_data)
    return module


def run_passes(manager: Any, module: Any, builder: Any) -> None:
    """Run a pass manager and free it.

    llvmlite's method for freeing one is hidden by its other base class, so each would leak 60
    KB.
    """
    try:
        manager.run(module, builder)
    finally:
        if type(manager)._dispose is llvm.ffi.ObjectRef._dispose:
            llvm.newpassmanagers.NewPassManager._dispose(manager)


def simplify(text: str, machine: Any) -> Any:
    """The module after the passes that pay for code without loops over elements."""
    return _run_named_passes(text, machine, "sroa", "simplify_cfg")


def optimize_math(text: str, machine: Any) -> Any:
    """The module after the few passes that math functions need.

    For modules whose kernels are too long for the pipeline. Math functions are simple code
    without loops, for which these passes do what the pipeline would in a fifth of the time.
    """
    passes = "always_inliner", "sroa", "simplify_cfg", "instruction_combine"
    return _run_named_passes(text, machine, *passes)


def _run_named_passes(text: str, machine: Any, *names: str) -> Any:
    """The module after these passes."""
    module = parse_module(text, machine)
    passes = llvm.create_new_module_pass_manager()
    for name in names:
        getattr(passes, f"add_{name}_pass")()
    builder = llvm.create_pass_builder(machine, llvm.create_pipeline_tuning_options())
    run_passes(passes, module, builder)
    return module


__all__ = ["Optimizer", "optimize", "optimize_math", "parse_module", "run_passes", "simplify"]
