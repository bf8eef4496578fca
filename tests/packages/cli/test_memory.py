"""Memory that a short program frees is reused without new page faults."""

import subprocess
import sys

import pytest

#: Page faults of 20 rounds in which three blocks of 1 MiB are written, and freed together.
ROUNDS = """
import resource, sys
if "keep" in sys.argv:
    from onetape.cli.memory import keep_freed_memory
    keep_freed_memory()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(20):
    blocks = [b"x" * (1 << 20) for _ in range(3)]
    del blocks
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def count_page_faults(*arguments: str) -> int:
    """Return the page faults of a separate process."""
    done = subprocess.run(
        [sys.executable, "-c", ROUNDS, *arguments],
        capture_output=True,
        text=True,
        check=True,
        timeout=180,
    )
    return int(done.stdout)


@pytest.mark.skipif(sys.platform != "linux", reason="the C library of Linux is set")
def test_freed_memory_is_used_again() -> None:
    assert count_page_faults("keep") < count_page_faults() / 4
