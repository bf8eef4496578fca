"""A stand-in for the module `time` in one module, where a test checks pauses.

Threads of other tests may sleep meanwhile: the module of the whole process stays as it is.
"""

import time
from types import SimpleNamespace


def make_noted_sleep(slept: list[float]) -> SimpleNamespace:
    """Return the stand-in, whose `sleep` does not wait.

    Args:
        slept: Gets the seconds of each pause.
    """
    return SimpleNamespace(
        monotonic=time.monotonic, sleep=slept.append, time=time.time, time_ns=time.time_ns
    )
