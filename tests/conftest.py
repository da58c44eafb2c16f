"""What all tests share: hypothesis's settings, and a check of every graph after every pass."""

import os

from hypothesis import HealthCheck, settings

from graphjit import config

# No deadline: a first call compiles. Graphs are large examples by hypothesis's measure.
# CI draws the same examples on every run, so that a red run is the change's doing.
settings.register_profile(
    "graphjit",
    deadline=None,
    derandomize=bool(os.environ.get("CI")),
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
settings.load_profile("graphjit")

config.verify = True
