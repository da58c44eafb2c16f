"""The field's words in names: those that took the place of private ones stay away."""

from __future__ import annotations

import io
import re
import tokenize
from pathlib import Path

import pytest

import graphjit as gj
from graphjit import codegen, passes

# Old name -> what it is called. Names are whole; with a folder before them, only there.
OLD = {
    "walk_in_parts": "walk_in_register_blocks",
    "OpenSquares": "TransposeCondition",
    "Band": "RowBlock",
    "bands": "row_blocks",
    "codegen:Turn": "TransposeTile",
    "codegen:Put": "StoreResult",
    "codegen:Keep": "Spill",
    "codegen:Recall": "Reload",
    "codegen:Functions": "KernelTable",
    "codegen:Call": "KernelInvocation",
    "codegen:Sized": "SizedKernel, SizedLaunch",
    "codegen:Form": "KernelVariant",
    "MmaForm": "MmaVariant",
    "FORMS": "MMA_VARIANTS",
    "passes:form": "specialization, variant, layout, format",
    "codegen:form": "specialization, variant, layout, format",
    "codegen:Walk": "ThreadWalk",
    "codegen:Launch": "GridLaunch, NativeLaunch",
    "codegen:Leaf": "LeafGuard",
    "codegen:in_deep_thread": "run_on_large_stack",
    "codegen:needs_room": "needs_large_stack",
    "KEEP_BYTES": "SPILL_BYTES",
    "KEEP_COST": "SPILL_COST",
    "BAND_ROWS": "ROW_BLOCK_MAX_ROWS",
    "MAX_TURNED": "MAX_TRANSPOSED",
    "passes:Unit": "FusionGroup",
    "passes:Walk": "DemandWalk",
    "passes:_Plan": "Grouping",
    "passes:Place": "IndexValue",
    "passes:Choice": "DynamicIndex",
    "passes:Running": "ScanValue",
    "graphjit:Known": "ConstSource",
    "graphjit:Held": "WeakRefSource",
    "graphjit:Agreed": "ConsensusSource",
    "graphjit:Getter": "Source",
    "graphjit:Surroundings": "SideEffects",
    "graphjit:Repeats": "OpMemo",
    "graphjit:faithful": "fallback_on_error",
    "graphjit:doubt": "trace_error",
    "graphjit:forms": "specializations",
    "graphjit:TracedForm": "TracedSpecialization",
    "graphjit:CudaForm": "CudaSpecialization",
    "graphjit:Seen": "SizeHistory",
    "graphjit:Fit": "SizeDomain",
    "graphjit:Assumptions": "SizeAssumptions",
    "graphjit:Returned": "ReturnPlan",
    "graphjit:_StateChanged": "MaySettleError",
    "graphjit:_Impure": "ImpureError",
    "graphjit:_Later": "_DeferredName",
    "graphjit:_apart": "_are_disjoint",
    "graphjit:_finished": "convert_results",
    "graphjit:_fallen": "fall_back",
    "graphjit:_has_more": "_has_extra_attributes",
    "graphjit:_Wanted": "OutArrays",
    "graphjit:_Numbers": "GeneratorSnapshot",
    "graphjit:_Cached": "LruCacheSnapshot",
    "graphjit:way_up": "view_chain",
    "graphjit:_stand_on": "_become_view_of",
    "graphjit:_require_own": "_require_writable",
    "graphjit:be_array": "mark_as_array",
    "graphjit:slice_of": "variable_slice",
    "graphjit:loose_key": "rank_key",
    "graphjit:holding_variables": "locked_variables",
}


# The same for phrases, in docs too.
OLD_PHRASES = {
    "compiled form": "specialization",
    "kept on disk": "stored on disk",
    "code is kept": "code is stored",
    "one form for": "one specialization for",
}
# Old modules: those whose names told too little, or were those of others at another level.
OLD_MODULES = {
    "passes": ("memory", "expand"),
    "codegen": (
        "cpu/entry", "cpu/kernel_variants", "cpu/launch", "math/rules", "runtime/tables",
    ),
    "graphjit": (
        "core/field_layout", "core/memory", "ir/eager", "ir/export", "jit/direct_calls",
        "jit/native_launch", "numpy_protocol/selections", "ops/rules",
    ),
}  # fmt: skip


def sources() -> list[tuple[str, Path]]:
    """The files of the package, with the name of the folder that they are in."""
    tops = {
        "graphjit": Path(gj.__file__).parent,
        "passes": Path(passes.__path__[0]),
        "codegen": Path(codegen.__path__[0]),
    }
    return [(name, path) for name, top in tops.items() for path in sorted(top.rglob("*.py"))]


@pytest.mark.parametrize("old", OLD)
def test_old_names_are_gone(old: str) -> None:
    folder, _, name = old.rpartition(":")
    for top, path in sources():
        if folder and top != folder:
            continue
        text = path.read_text(encoding="utf-8")
        if name not in text:
            continue
        for token in tokenize.generate_tokens(io.StringIO(text).readline):
            if token.type == tokenize.NAME:
                assert token.string != name, f"{path}:{token.start[0]}: {OLD[old]}"


def test_limits_are_called_max() -> None:
    for _, path in sources():
        found = re.search(r"\b_?MOST_\w+", path.read_text(encoding="utf-8"))
        assert found is None, f"{path}: {found and found[0]}"


@pytest.mark.parametrize("old", OLD_PHRASES)
def test_old_phrases_are_gone(old: str) -> None:
    pages = Path(__file__).parents[1].joinpath("docs").rglob("*.md")
    for path in (*(path for _, path in sources()), *pages):
        words = " ".join(path.read_text(encoding="utf-8").split())
        assert old not in words, f"{path}: {OLD_PHRASES[old]}"


def test_old_modules_are_gone() -> None:
    found = {path.as_posix() for _, path in sources()}
    for top, names in OLD_MODULES.items():
        for name in names:
            assert not any(path.endswith(f"{top}/{name}.py") for path in found), f"{top}/{name}"
