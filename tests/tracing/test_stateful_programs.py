"""Random programs with state and failing traces; `stateful_programs.py` runs more of them."""

import random

import pytest
from stateful_programs import difference

pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.mark.parametrize("seed", range(10))
def test_a_decorated_program_does_what_the_plain_one_does(seed):
    for number in range(30):
        assert not difference(random.Random(f"pytest {seed} {number}"))
