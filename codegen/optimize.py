"""LLVM's passes over a module's text, for any target."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import llvmlite.binding as llvm

# Text and LLVM's machine -> LLVM's module, optimised.
Optimizer = Callable[[str, Any], Any]


def optimize(text: str, machine: Any) -> Any:
    """The parsed module after LLVM's pipeline (vectors are explicit: no vectorisers)."""
    module = parsed(text, machine)
    options = llvm.create_pipeline_tuning_options(speed_level=2)
    options.loop_vectorization = False
    options.slp_vectorization = False
    options.loop_unrolling = False
    passes = llvm.create_pass_builder(machine, options)
    run_passes(passes.getModulePassManager(), module, passes)
    return module


def parsed(text: str, machine: Any) -> Any:
    """The module of a text, for a target machine."""
    module = llvm.parse_assembly(text)
    module.triple = machine.triple
    module.data_layout = str(machine.target_data)
    return module


def run_passes(manager: Any, module: Any, builder: Any) -> None:
    """Run a pass manager and free it: llvmlite's has a method for that, which its other base
    class hides, so that each would keep 60 KB for ever.
    """
    try:
        manager.run(module, builder)
    finally:
        if type(manager)._dispose is llvm.ffi.ObjectRef._dispose:
            llvm.newpassmanagers.NewPassManager._dispose(manager)


def simplify(text: str, machine: Any) -> Any:
    """The parsed module after the passes that are worth their time for code that is written
    once and holds no loops over elements: stack slots become registers.
    """
    return after_passes(text, machine, "sroa", "simplify_cfg")


def optimize_math(text: str, machine: Any) -> Any:
    """The parsed module after the passes that do for math functions all that the pipeline
    would, where kernels are too long for it: they are simple code without loops. A fifth of
    the pipeline's time.
    """
    passes = "always_inliner", "sroa", "simplify_cfg", "instruction_combine"
    return after_passes(text, machine, *passes)


def after_passes(text: str, machine: Any, *names: str) -> Any:
    """The parsed module after passes."""
    module = parsed(text, machine)
    passes = llvm.create_new_module_pass_manager()
    for name in names:
        getattr(passes, f"add_{name}_pass")()
    builder = llvm.create_pass_builder(machine, llvm.create_pipeline_tuning_options())
    run_passes(passes, module, builder)
    return module


__all__ = ["Optimizer", "optimize", "optimize_math", "parsed", "run_passes", "simplify"]
