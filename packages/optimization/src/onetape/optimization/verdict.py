"""The verdict on the best of many trials: a ladder of tests, each decided by a number."""

from collections.abc import Sequence
from typing import Any

from msgspec import Struct
from msgspec.structs import asdict


class Rung(Struct, frozen=True):
    """One test of the verdict, with its result."""

    name: str
    """Statement that is tested, such as `profitable after costs`."""
    passed: bool | None
    """Whether the statement holds; None where it was not computed or does not apply."""
    failure: str
    """Verdict if the statement does not hold, such as `loses after costs`."""
    text: str
    """Number that decides the rung, as text."""


class Verdict(Struct, frozen=True):
    """Verdict on a result: its tests, in their order."""

    rungs: tuple[Rung, ...]
    """The tests, the first to be passed first."""

    @property
    def passed(self) -> bool:
        """Return whether every rung was passed."""
        return all(rung.passed for rung in self.rungs)

    @property
    def reached(self) -> int:
        """Return the number of rungs that were passed before the first one that was not."""
        return next(
            (number for number, rung in enumerate(self.rungs) if not rung.passed), len(self.rungs)
        )

    @property
    def summary(self) -> str:
        """Return the verdict in one line."""
        if self.passed:
            return f"not rejected ({self.rungs[-1].text}); that is not a proof of skill"
        rung = self.rungs[self.reached]
        before = f"{self.reached} of {len(self.rungs)} rungs"
        return f"{rung.failure} ({rung.text}); {before}"

    @property
    def lines(self) -> list[str]:
        """Return a line for each rung."""
        marks = {True: "yes", False: "NO", None: "-"}
        return [f"{marks[rung.passed]:>3}  {rung.name}: {rung.text}" for rung in self.rungs]

    def as_dict(self) -> dict[str, Any]:
        """Return plain values, for JSON."""
        rungs = [asdict(rung) for rung in self.rungs]
        return {"passed": self.passed, "text": self.summary, "rungs": rungs}


def has_failure(rungs: Sequence[Rung]) -> bool:
    """Return whether one of the rungs so far was not passed."""
    return any(not rung.passed for rung in rungs)
