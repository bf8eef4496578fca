"""Numbers of tests of a JUnit file that passed, failed and were skipped; CI prints them.

It fails if no test ran, or if a test was skipped although ONETAPE_SHARED names the recorded data:
then all that tests need is available, and a skip would be an unnoticed error.
"""

import os
import sys
from pathlib import Path
from xml.etree import ElementTree as ET


def count(file: Path) -> tuple[int, int, int]:
    """Return the numbers of tests that passed, failed (errors included) and were skipped."""
    root = ET.fromstring(file.read_text(encoding="utf-8"))  # noqa: S314 - pytest wrote it just now
    total = failed = skipped = 0
    for suite in root.iter("testsuite"):
        total += int(suite.get("tests", 0))
        failed += int(suite.get("failures", 0)) + int(suite.get("errors", 0))
        skipped += int(suite.get("skipped", 0))
    return total - failed - skipped, failed, skipped


def main() -> None:
    """Read the file named on the command line."""
    file = Path(sys.argv[1])
    passed, failed, skipped = count(file) if file.exists() else (0, 0, 0)
    print(f"{passed} passed, {failed} failed, {skipped} skipped")
    if not passed + failed:
        raise SystemExit("no test ran")
    if skipped and os.environ.get("ONETAPE_SHARED"):
        raise SystemExit(f"{skipped} tests skipped although ONETAPE_SHARED is set")


if __name__ == "__main__":
    main()
