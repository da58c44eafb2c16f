"""Random numbers: with keys as in JAX, and under TensorFlow's stateless names.

A key is a tensor, uint32 of shape (2,), made by `key(seed)`. A function of a key gives the same
numbers for the same key, eagerly and compiled, on any processor and for any number of threads.
New keys come from `split` and `fold_in`. A `Generator` has its state in a `Variable`.

NumPy's generators keep their own streams in traced functions.
"""

from .continuous import (
    beta,
    cauchy,
    chisquare,
    dirichlet,
    double_sided_maxwell,
    exponential,
    f,
    gamma,
    gumbel,
    laplace,
    loggamma,
    logistic,
    lognormal,
    maxwell,
    multivariate_normal,
    normal,
    pareto,
    rayleigh,
    t,
    triangular,
    truncated_normal,
    uniform,
    wald,
    weibull_min,
)
from .discrete import (
    bernoulli,
    binomial,
    categorical,
    choice,
    geometric,
    permutation,
    poisson,
    rademacher,
    randint,
)
from .generator import (
    Generator,
    create_rng_state,
    get_global_generator,
    set_global_generator,
    set_seed,
)
from .keys import PRNGKey, bits, fold_in, key, key_data, split, wrap_key_data
from .seeds import stateless_fold_in, stateless_split
from .stateless import (
    stateless_binomial,
    stateless_categorical,
    stateless_gamma,
    stateless_normal,
    stateless_parameterized_truncated_normal,
    stateless_poisson,
    stateless_shuffle,
    stateless_truncated_normal,
    stateless_uniform,
)

__all__ = [
    "Generator", "PRNGKey", "bernoulli", "beta", "binomial", "bits", "categorical", "cauchy",
    "chisquare", "choice", "create_rng_state", "dirichlet", "double_sided_maxwell",
    "exponential", "f", "fold_in", "gamma", "geometric", "get_global_generator", "gumbel",
    "key", "key_data", "laplace", "loggamma", "logistic", "lognormal", "maxwell",
    "multivariate_normal", "normal", "pareto", "permutation", "poisson", "rademacher",
    "randint", "rayleigh", "set_global_generator", "set_seed", "split", "stateless_binomial",
    "stateless_categorical", "stateless_fold_in", "stateless_gamma", "stateless_normal",
    "stateless_parameterized_truncated_normal", "stateless_poisson", "stateless_shuffle",
    "stateless_split", "stateless_truncated_normal", "stateless_uniform", "t", "triangular",
    "truncated_normal", "uniform", "wald", "weibull_min", "wrap_key_data",
]  # fmt: skip
