"""Seeds of random tests: equal in each run, or given by an option.

`--hypothesis-seed=N`, an option of Hypothesis, seeds everything that a test draws, also without
Hypothesis: through the fixture `random_seed` and the generators that modules share.
"""

import random
import shlex
from collections.abc import Iterable

import numpy as np
import pytest
from hypothesis import HealthCheck, settings
from hypothesis.internal.conjecture import providers
from hypothesis.internal.constants_ast import Constants

from explore import REPEAT, SEED_OPTION

#: Seed of tests that choose at random without Hypothesis, where the option names none.
DEFAULT_SEED = 1
#: Examples of a test that names no number itself, where a seed is given.
BY_SEED = 100


def count_examples(count: int) -> int:
    """Return the number of examples of a property: all with a given seed, else a fourth.

    A run without a seed draws the same examples each time; new ones come from `make explore`.
    """
    return count if settings.get_current_profile_name() == "by seed" else -(-count // 4)


def set_up_hypothesis() -> None:
    """Make Hypothesis draw the same examples in each run, after any other work of the process."""
    # A busy machine makes an example slow, not wrong.
    settings.register_profile(
        "repeatable",
        max_examples=count_examples(BY_SEED),
        deadline=None,
        print_blob=True,
        derandomize=True,
        suppress_health_check=[HealthCheck.too_slow],
    )
    settings.register_profile(
        "by seed",
        settings.get_profile("repeatable"),
        max_examples=BY_SEED,
        derandomize=False,
        database=None,
    )
    settings.load_profile("repeatable")
    # Hypothesis also draws constants that it finds in the modules loaded so far, so that examples
    # depend on the tests before. No setting is against it; a test notices if this stops working.
    providers._get_local_constants = Constants  # pyright: ignore[reportPrivateUsage]


def use_given_seed(config: pytest.Config) -> None:
    """Make Hypothesis draw by the seed of the command line, if one is given."""
    if config.getoption(SEED_OPTION) is not None:
        settings.load_profile("by seed")


def get_seed(config: pytest.Config) -> int:
    """Return the seed of the command line, or the default."""
    text = config.getoption(SEED_OPTION)
    return DEFAULT_SEED if text is None else int(text)


def seed_shared_generators(seed: int) -> None:
    """Put the generators that all modules share into the state of a seed."""
    random.seed(seed)
    np.random.seed(seed % 2**32)  # noqa: NPY002 - it is the shared one that must be fixed


def make_repeat_lines(config: pytest.Config, node_ids: Iterable[str]) -> list[str]:
    """Return the command that repeats each failed test with the seed; none without a seed."""
    if config.getoption(SEED_OPTION) is None:
        return []
    begin = f"{REPEAT}uv run pytest -n0 {SEED_OPTION}={get_seed(config)}"
    return [f"{begin} {shlex.quote(node_id)}" for node_id in node_ids]
