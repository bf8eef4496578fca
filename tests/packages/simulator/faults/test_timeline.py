"""A timeline in YAML: its faults, and one line with place and key for each mistake."""

from pathlib import Path

import pytest

from onetape.core.errors import ConfigurationError
from onetape.simulator.faults.kinds import KINDS
from onetape.simulator.faults.model import Fault, FaultError, make_fault
from onetape.simulator.faults.timeline import read_timeline


def write_timeline(tmp_path: Path, text: str) -> Path:
    file = tmp_path / "faults.yaml"
    file.write_text(text, encoding="utf-8")
    return file


def test_a_timeline_is_parsed(tmp_path: Path) -> None:
    text = """
seed: 5
faults:
  - kind: status          # a comment
    path: /api/v3/klines
    status: 429
    code: -1003
    headers: {Retry-After: 30}
    nth: 3
  - kind: wrong_body
    shape: null
    market_from: 2024-03-01T00:10
    market_for: 2m
"""
    timeline = read_timeline(write_timeline(tmp_path, text))
    assert timeline.seed == 5
    assert timeline.faults == (
        Fault(
            "status",
            path="/api/v3/klines",
            status=429,
            code=-1003,
            headers={"Retry-After": "30"},
            nth=3,
        ),
        Fault("wrong_body", shape="null", market_from="2024-03-01T00:10", market_for="2m"),
    )


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", ":1: the file: expected `key: value` lines"),
        ("- kind: drip", ":1: the file: expected `key: value` lines"),
        ("seed: 1", ":1: no `faults:`"),
        ("faults: 3", ":1: faults: expected a list"),
        ("faults: []\nspeed: 3", ":2: unknown key 'speed'"),
        ("faults: []\nseed: many", ":2: seed: expected a whole number, found 'many'"),
        ("faults:\n  - drip", ":2: faults[0]: expected `key: value` lines"),
        ("faults:\n  - path: /x", ":2: faults[0].kind: missing; one of latency"),
        ("faults:\n  - kind: latancy", ":2: faults[0].kind: unknown kind 'latancy'; did you mean"),
        (
            "faults:\n  - kind: drip\n  - kind: drip\n    nht: 3",
            ":4: faults[1].nht: unknown setting; did you mean 'nth'?",
        ),
        (
            "faults:\n  - kind: drip\n    nth: many",
            ":3: faults[0].nth: expected a whole number, found 'many'",
        ),
        ("faults:\n  - kind: drip\n    nth: 0", ":3: faults[0].nth: 1 or more, found 0"),
        ("faults:\n  - kind: drip\n    nth: [1]", ":3: faults[0].nth: expected one value"),
        ("faults:\n  - kind: drip\n    status: 500", ":3: faults[0].status: drip takes no status"),
        ("faults:\n  - kind: status", ":2: faults[0].status: status needs status"),
        ("faults:\n  - kind: latency", ":2: faults[0].seconds: latency needs seconds"),
        (
            "faults:\n  - kind: wrong_body\n    shape: htlm",
            ":3: faults[0].shape: wrong_body has html, null, empty_object",
        ),
        (
            "faults:\n  - kind: timeout\n    when: body",
            ":3: faults[0].when: timeout has before, after, found 'body'",
        ),
        (
            "faults:\n  - kind: drip\n    probability: 2",
            ":3: faults[0].probability: above 0 and at most 1, found 2",
        ),
        (
            "faults:\n  - kind: drip\n    market_for: soon",
            ":3: faults[0].market_for: a span such as 500ms",
        ),
        (
            "faults:\n  - kind: drip\n    market_from: yesterday",
            ":3: faults[0].market_from: a moment such as +10m",
        ),
        (
            "faults:\n  - kind: drip\n    market_to: +2m\n    market_for: 1m",
            ":4: faults[0].market_for: leave out market_to or market_for",
        ),
        ("faults:\n  - kind: drip\n    kind: drip", ":3: faults[0]: kind is set twice, first in"),
        ("faults:\n  - kind: !!python/object:os.system x", ":2: the tag tag:yaml.org,2002:python"),
        ("faults: [", ":1: no valid YAML"),
        ("faults: " + "[" * 3_000, " is nested too deeply"),
    ],
)
def test_an_invalid_timeline_is_one_line_with_its_place(
    tmp_path: Path, text: str, problem: str
) -> None:
    file = write_timeline(tmp_path, text)
    with pytest.raises(ConfigurationError) as failure:
        read_timeline(file)
    assert str(failure.value).startswith(f"{file}{problem}")
    assert "\n" not in str(failure.value)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="cannot be read"):
        read_timeline(tmp_path / "none.yaml")


def test_a_fault_made_in_python_is_immutable_and_checked() -> None:
    fault = Fault("latency", seconds=1.0)
    with pytest.raises(AttributeError):
        fault.seconds = 2.0  # pyright: ignore[reportAttributeAccessIssue] - which is the point
    with pytest.raises(FaultError, match="seconds: a number of seconds, 0 or more, found -1"):
        Fault("latency", seconds=-1.0)


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_fault_reads_back_from_its_description(kind: str) -> None:
    needed = {"seconds": 1.0, "status": 503, "symbol": "BTC/USDT"}
    settings = {"kind": kind, **{key: needed[key] for key in KINDS[kind].needs}}
    assert make_fault(settings).collect_given_settings() == settings


def test_the_example_timeline_runs_unchanged(repository: Path) -> None:
    timeline = read_timeline(repository / "config/faults.example.yaml")
    assert len(timeline.faults) >= 5
