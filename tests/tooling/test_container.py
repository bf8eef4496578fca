"""What goes into an image, and what its services may do."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from check_services import read_services
from install import member_folders


def test_an_image_holds_the_app_and_what_it_needs_and_no_other_app():
    folders = {folder.name for folder in member_folders("backtester")}
    assert {"backtester", "cli", "core", "store", "strategies"} <= folders
    assert not folders & {"backfiller", "trader", "exchange", "websocket"}


def test_an_unknown_app_is_refused():
    with pytest.raises(SystemExit, match="no app miner"):
        member_folders("miner")


def test_every_app_has_a_service(repository: Path):
    services = read_services(repository / "docker-compose.yml")
    apps = sorted(path.parent.name for path in repository.glob("apps/*/pyproject.toml"))
    assert [service.app for service in services if service.program == service.app] == apps


def test_the_simulator_is_a_service_that_only_other_services_reach(repository: Path):
    (service,) = (
        one
        for one in read_services(repository / "docker-compose.yml")
        if one.program == "simulator"
    )
    assert "onetape-simulator" in (repository / "apps" / service.app / "pyproject.toml").read_text(
        encoding="utf-8"
    )
    assert "--allow-remote" in service.command
    assert service.offline[-4:] == ["--host", "127.0.0.1", "--port", "0"]


def test_no_service_can_gain_rights_write_outside_its_volume_or_be_reached(repository: Path):
    text = (repository / "docker-compose.yml").read_text(encoding="utf-8")
    services: dict[str, dict[str, Any]] = yaml.safe_load(text)["services"]
    for service in services.values():
        assert service["read_only"] is True
        assert service["cap_drop"] == ["ALL"]
        assert service["security_opt"] == ["no-new-privileges:true"]
        assert not service.keys() & {"ports", "privileged", "network_mode"}


def test_another_trader_is_four_lines_and_has_the_health_check_of_the_first(
    repository: Path,
) -> None:
    text = (repository / "docker-compose.yml").read_text(encoding="utf-8")
    added = """
  trader-eth-binance-4h:
    <<: *trader
    command: ["--symbol", "ETH/USDT", "--exchange", "binance", "--timeframe", "4h"]
"""
    services = yaml.safe_load(text.replace("\nvolumes:\n  tape:", f"{added}\nvolumes:\n  tape:"))[
        "services"
    ]
    first, other = services["trader-btc-binance-1h"], services["trader-eth-binance-4h"]
    assert {name for name in first if first[name] != other[name]} == {"command"}
    assert first["healthcheck"]["test"] == ["CMD", "onetape", "status", "--here"]
