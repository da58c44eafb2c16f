"""Names of test cases that are the same in every process."""

import re
from collections.abc import Iterable
from typing import Any


def ids(values: Iterable[Any]) -> list[str]:
    """A short name for each value, without addresses."""
    return [re.sub(r" at 0x\w+", "", repr(value))[:40] for value in values]
