"""What all tests share: hypothesis's settings, a check of every graph after every pass, and a
cache folder of their own.
"""

import atexit
import os
import shutil
import tempfile

import guard_pages
from hypothesis import HealthCheck, settings

if guard_pages.wanted():  # before anything of graphjit takes what is replaced
    guard_pages.install()

from graphjit import config

os.environ["GRAPHJIT_CACHE_DIR"] = tempfile.mkdtemp(prefix="graphjit-tests-")
atexit.register(shutil.rmtree, os.environ["GRAPHJIT_CACHE_DIR"], ignore_errors=True)

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

# Another level of x86-64 than this processor's: x86-64, x86-64-v2, ivybridge, x86-64-v3 or -v4.
if level := os.environ.get("GRAPHJIT_TEST_LEVEL"):
    from levels import use

    use(level)
