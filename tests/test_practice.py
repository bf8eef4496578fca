"""The programs of docs/practice.md trade on a simulator as printed."""

import json
import os
import re
import subprocess
import sys
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from onetape.simulator.embedded import embedded_simulator

ADDRESS = "127.0.0.1:8790"


@pytest.fixture(scope="module")
def page(repository: Path) -> str:
    return (repository / "docs/practice.md").read_text(encoding="utf-8")


#: Its package has the name of another one that is installed here: `uv` makes it an environment.
CONNECTOR = ("uv", "run", "--no-project", "--with", "binance-connector==3.13.0", "python")
PROGRAMS: dict[str, tuple[str, ...]] = {
    "practice_ccxt": (sys.executable,),
    "practice_python_binance": (sys.executable,),
}
if "ONETAPE_CLIENTS" in os.environ:  # `make clients`: it is fetched from a package index
    PROGRAMS["practice_binance_connector"] = CONNECTOR


@pytest.mark.parametrize("name", PROGRAMS)
def test_a_program_of_the_page_prints_what_the_page_shows(
    name: str, page: str, tmp_path: Path
) -> None:
    ((program, printed),) = re.findall(
        rf"```python\n(# {name}\.py\n.*?)```\n\n```text\n(.*?)```", page, re.DOTALL
    )
    with embedded_simulator(balance={"USDT": Decimal(100_000)}) as simulator:
        file = tmp_path / f"{name}.py"
        file.write_text(
            program.replace(ADDRESS, simulator.url.removeprefix("http://")), encoding="utf-8"
        )
        done = subprocess.run(
            [*PROGRAMS[name], file], capture_output=True, text=True, check=False, timeout=180
        )
        assert (done.stdout, done.returncode) == (printed, 0), done.stderr


def test_the_configuration_of_freqtrade_has_addresses_of_the_simulator_only(page: str) -> None:
    (text,) = re.findall(r"```json\n(.*?)```", page, re.DOTALL)

    def addresses(value: Any) -> list[str]:
        if isinstance(value, dict):
            return [one for inner in value.values() for one in addresses(inner)]  # pyright: ignore[reportUnknownVariableType,reportUnknownArgumentType] - JSON
        return [str(value)]

    found = addresses(json.loads(text)["exchange"]["ccxt_config"]["urls"])
    assert len(found) == 8
    assert all(one.split("://")[1].startswith(ADDRESS) for one in found)
