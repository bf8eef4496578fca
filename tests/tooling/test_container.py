"""Contents of an image, and the rights of its services."""

import os
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from check_services import LIVE, read_services
from install import extra_lists, member_folders
from onetape.cli.credentials import read_credentials
from onetape.cli.setting_sources import build_environment_tree
from onetape.core.errors import ConfigurationError


def test_an_image_holds_the_app_and_what_it_needs_and_no_other_app():
    folders = {folder.name for folder in member_folders("backtester")}
    assert {"backtester", "cli", "core", "store", "strategies"} <= folders
    assert not folders & {"backfiller", "trader", "exchange", "websocket"}


def test_an_unknown_app_is_refused():
    with pytest.raises(SystemExit, match="no app miner"):
        member_folders("miner")


def test_extras_are_lists_with_hashes_and_an_unknown_one_is_refused(repository: Path):
    lists = extra_lists("talib, optuna talib")
    assert lists == ["requirements/extras/talib.txt", "requirements/extras/optuna.txt"]
    assert extra_lists("") == []
    text = (repository / lists[0]).read_text(encoding="utf-8")
    assert re.match(r"ta-lib==[\d.]+ \\\n    --hash=sha256:", text)
    assert text.count("==") == 1
    with pytest.raises(
        SystemExit, match=r"no extra ta \(there are: cluster, optuna, parquet, talib\)"
    ):
        extra_lists("ta")


def test_the_extras_of_a_build_reach_the_install_script(repository: Path):
    lines = (repository / "Dockerfile").read_text(encoding="utf-8").splitlines()
    assert 'ARG EXTRAS=""' in lines
    (step,) = [line for line in lines if line.endswith(" requirements") and "RUN" in line]
    assert '--extras "$EXTRAS"' in step
    services = yaml.safe_load((repository / "docker-compose.yml").read_text(encoding="utf-8"))
    for service in services["services"].values():
        assert service["build"]["args"]["EXTRAS"] == "${EXTRAS:-}"


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


def test_no_service_can_gain_rights_or_write_outside_its_volume_or_be_reached(repository: Path):
    text = (repository / "docker-compose.yml").read_text(encoding="utf-8")
    services: dict[str, dict[str, Any]] = yaml.safe_load(text)["services"]
    for service in services.values():
        assert service["read_only"] is True
        assert service["cap_drop"] == ["ALL"]
        assert service["security_opt"] == ["no-new-privileges:true"]
        assert not service.keys() & {"privileged", "network_mode"}
        # Other computers reach the scheduler of a cluster alone, with a certificate.
        assert "ports" not in service or service["command"][-2:] == ["--tls", "data/tls"]


def test_another_trader_is_four_lines_and_has_the_health_check_of_the_first(
    repository: Path,
) -> None:
    text = (repository / "docker-compose.yml").read_text(encoding="utf-8")
    added = """
  trader-eth-binance-4h:
    <<: *trader
    command: ["--symbol", "ETH/USDT", "--exchange", "binance", "--timeframe", "4h"]
"""
    services = yaml.safe_load(text.replace("\nvolumes:\n  data:", f"{added}\nvolumes:\n  data:"))[
        "services"
    ]
    first, other = services["trader-btc-binance-1h"], services["trader-eth-binance-4h"]
    assert {name for name in first if first[name] != other[name]} == {"command"}
    assert first["healthcheck"]["test"] == ["CMD", "onetape", "status", "--here"]


def test_a_trader_goes_live_by_a_mode_and_two_secrets(repository: Path, tmp_path: Path) -> None:
    (trader,) = (
        one
        for one in read_services(repository / "docker-compose.yml")
        if one.program == one.app == "trader"
    )
    assert trader.name == "trader-btc-binance-1h"
    # Empty is not given: a mode or a test network of the settings file holds.
    assert set(build_environment_tree("trader", trader.variables({}, tmp_path))) == set()
    live = trader.variables(LIVE, tmp_path)
    assert live == {
        "TRADER__MODE": "live",
        "TRADER__SANDBOX": "",
        "ONETAPE_API_KEY_FILE": str(tmp_path / "api_key"),
        "ONETAPE_API_SECRET_FILE": str(tmp_path / "api_secret"),
    }
    text = (repository / "docker-compose.yml").read_text(encoding="utf-8")
    document: dict[str, Any] = yaml.safe_load(text)
    assert document["services"][trader.name]["secrets"] == list(document["secrets"])
    # Without secrets of a person the service starts on paper anyway.
    assert {one["file"].rpartition(":-")[2] for one in document["secrets"].values()} == {
        "/dev/null}"
    }


def test_a_live_service_without_its_secrets_names_the_file_it_misses(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("ONETAPE_API_KEY_FILE", "/dev/null")
    with pytest.raises(ConfigurationError, match="ONETAPE_API_KEY_FILE: /dev/null is not a file"):
        read_credentials(dict(os.environ))
