"""Whole programs, decorated beside undecorated: of numerical methods, simulation, graphs, dynamic
programming, signals and images, statistics, games.
"""

from __future__ import annotations

import copy
import warnings
from typing import Any

import numpy as np
import pytest
from decorated_checks import outcome, same
from programs import (
    dynamic_programming,
    games_and_integers,
    graphs,
    numerical_methods,
    signals_images,
    simulation,
    statistical,
)
from programs.program import Program

import graphjit as gj

MODULES = (
    numerical_methods, simulation, graphs, dynamic_programming, signals_images, statistical,
    games_and_integers,
)  # fmt: skip
PROGRAMS: list[Program] = [p for module in MODULES for p in module.PROGRAMS]
# What runs eagerly for some of its data. Others may not.
EAGER = {
    "adaptive_simpson", "agglomerate", "bfs_levels", "carve_seams", "cholesky_with_jitter",
    "coin_change", "decision_stump", "digit_puzzles", "dijkstra_heap",
    "elementary_automaton", "find_peaks", "flood_fill", "gradient_boosting",
    "greedy_colouring", "increasing_subsequence", "isotonic_regression", "k_means",
    "kruskal_clusters", "label_components", "label_regions", "lanczos", "lattice_boltzmann",
    "logistic_irls", "matrix_chain", "max_flow", "median_filter", "nelder_mead",
    "play_2048", "prime_factor_counts", "probable_primes", "queue_of_customers",
    "quick_select", "random_walk_exit", "rk45_van_der_pol", "rod_cutting", "romberg",
    "run_elevator", "run_lengths", "score_dice", "snakes_and_ladders", "strong_components",
    "sudoku_conflicts", "sweep_mines", "tic_tac_toe_winners", "time_warping",
    "topological_levels", "two_colouring",
}  # fmt: skip


def calls(program: Program) -> list[tuple[Any, ...]]:
    """Three data sets of the usual size, and one of another."""
    usual, other = program.sizes
    sizes = (usual, usual, usual, other)
    return [program.data(np.random.default_rng(k), size) for k, size in enumerate(sizes)]


@pytest.mark.parametrize("program", PROGRAMS, ids=lambda p: p.name)
def test_gives_what_undecorated_python_gives(
    program: Program, capsys: pytest.CaptureFixture[str]
) -> None:
    decorated = gj.function(program.function)
    for _ in range(2):
        for arguments in calls(program):
            given, plain = copy.deepcopy(arguments), copy.deepcopy(arguments)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                found = outcome(decorated, given)
                printed = capsys.readouterr().out
                wanted = outcome(program.function, plain)
            same((found, given), (wanted, plain), program.name, 1e-5)
            assert printed == capsys.readouterr().out
    reasons = [s.reason for s in decorated.specializations if s.reason]
    if program.name not in EAGER:
        assert not [r for r in reasons if not r.startswith("tracing raised")]


def test_all_programs_are_there() -> None:
    names = [p.name for p in PROGRAMS]
    assert len(set(names)) == len(names) == 134
    assert set(names) > EAGER and len(EAGER) <= 47
