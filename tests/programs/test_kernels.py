"""The classic kernels as they are written in NumPy, decorated beside undecorated."""

from __future__ import annotations

import copy
import warnings

import numpy as np
import pytest
from decorated_checks import same
from programs.kernels import learning, linear_algebra, others, stencils
from programs.kernels.kernel import Kernel

import graphjit as gj

MODULES = (linear_algebra, stencils, learning, others)
KERNELS: list[Kernel] = [k for module in MODULES for k in module.KERNELS]
EAGER = {"azimint_hist", "scattering_self_energies"}


@pytest.mark.parametrize("kernel", KERNELS, ids=lambda k: k.name)
def test_gives_what_undecorated_python_gives(kernel: Kernel) -> None:
    decorated = gj.function(kernel.function)
    for seed in (0, 1):
        arguments = kernel.data(np.random.default_rng(seed), kernel.sizes[1])
        given, plain = copy.deepcopy(arguments), copy.deepcopy(arguments)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found, wanted = decorated(*given), kernel.function(*plain)
        single = any(getattr(x, "dtype", None) == np.float32 for x in arguments)
        same((found, given), (wanted, plain), kernel.name, 2e-3 if single else 1e-7)
    assert kernel.name in EAGER or not any(s.reason for s in decorated.specializations)


def test_all_kernels_are_there() -> None:
    names = [k.name for k in KERNELS]
    assert len(set(names)) == len(names) == 55 and set(names) > EAGER
