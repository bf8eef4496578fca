"""Git clean filter for uv.lock: standard input without index addresses to standard output.

uv records the address of every file it may download. The committed lock has names, versions and
hashes only, so it works behind any mirror. `requires-python` is replaced too: because it then
differs from the project's, uv resolves again with the recorded versions and adds the addresses.
"""

import re
import sys

PLACEHOLDER_REQUIRES_PYTHON = ">=3"
PLACEHOLDER_REGISTRY = "index"


def clean(lock: str) -> str:
    """Return the lock text without addresses; a clean lock is returned unchanged."""
    lock = re.sub(r'url = "[^"]*/([^"/]+)"', r'filename = "\1"', lock)
    source = f'source = {{ registry = "{PLACEHOLDER_REGISTRY}" }}'
    lock = re.sub(r'source = \{ registry = "[^"]*" \}', source, lock)
    line = f'requires-python = "{PLACEHOLDER_REQUIRES_PYTHON}"'
    return re.sub(r"^requires-python = .*$", line, lock, count=1, flags=re.MULTILINE)


if __name__ == "__main__":
    sys.stdout.write(clean(sys.stdin.read()))
