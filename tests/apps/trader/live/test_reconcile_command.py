"""`trader reconcile` lists differences from the exchange and takes one answer at a time."""

import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from live_desk import ACCOUNT
from onetape.cli.program import HELP_NAMES
from onetape.core.errors import DataError, UsageError
from onetape.store.database import open_store
from onetape.store.leases import Fence, acquire_lease
from onetape.store.live_accounts import add_difference
from trader.main import app


@pytest.fixture
def db(tmp_path: Path) -> Path:
    path = tmp_path / "x.db"
    with open_store(path, create=True) as store:
        fence = Fence("test", acquire_lease(store, "test", "a test", now_ms=0, seconds=10))
        for kind, subject in (("missing coins", "BTC"), ("foreign fills", "17")):
            document = {"text": f"{kind} {Decimal(1)}", "symbol": "BTC/USDT"}
            add_difference(store, fence, ACCOUNT, kind, subject, document, seen_ms=1)
    return path


def run_reconcile(db: Path, *flags: str) -> Any:
    arguments = ["reconcile", "--db", str(db), *flags]
    # A command keeps the names of its first call, also for the help texts of later tests.
    return CliRunner().invoke(app, arguments, help_option_names=HELP_NAMES)


def test_differences_are_listed_with_the_possible_answers(db: Path) -> None:
    text = run_reconcile(db).output
    assert "missing coins: missing coins 1" in text
    assert "answer --adopt or --forget" in text
    assert "answer --keep" in text


def test_an_answer_is_stored_and_shown(db: Path) -> None:
    assert run_reconcile(db, "--forget", "1").exit_code == 0
    document = json.loads(run_reconcile(db, "--json").output)
    assert [one["answer"] for one in document["differences"]] == ["forget", None]


def test_an_answer_to_a_difference_of_another_account_is_refused(db: Path) -> None:
    refused = run_reconcile(db, "--account", "other", "--forget", "1")
    assert isinstance(refused.exception, UsageError)
    assert f"difference 1 is of account {ACCOUNT}, not other" in str(refused.exception)
    document = json.loads(run_reconcile(db, "--json").output)
    assert [one["answer"] for one in document["differences"]] == [None, None]


def test_an_account_that_does_not_exist_is_refused(db: Path) -> None:
    assert run_reconcile(db, "--account", ACCOUNT).exit_code == 0
    refused = run_reconcile(db, "--account", "tset")
    assert isinstance(refused.exception, DataError)
    assert "holds no account 'tset'" in str(refused.exception)


@pytest.mark.parametrize(
    "flags",
    [("--keep", "1"), ("--adopt", "2"), ("--keep", "9"), ("--keep", "2", "--forget", "1")],
)
def test_an_answer_that_does_not_fit_is_refused(db: Path, flags: tuple[str, ...]) -> None:
    result = run_reconcile(db, *flags)
    assert result.exit_code != 0
    document = json.loads(run_reconcile(db, "--json").output)
    assert [one["answer"] for one in document["differences"]] == [None, None]


def test_orders_of_copies_and_of_replaced_databases_offer_only_fitting_answers(db: Path) -> None:
    with open_store(db, create=False) as store:
        for kind in ("other copy", "older order"):
            document = {"text": f"the {kind}", "symbol": "BTC/USDT"}
            add_difference(store, None, ACCOUNT, kind, "BTC/USDT", document, seen_ms=1)
    text = run_reconcile(db).output
    assert "stop the other copy, then answer --adopt" in text
    assert "answer --adopt where" in text
    assert "takes only --adopt" in str(run_reconcile(db, "--keep", "3").exception)
    assert "takes only --adopt or --keep" in str(run_reconcile(db, "--forget", "4").exception)
    assert (
        run_reconcile(db, "--adopt", "3").exit_code
        == run_reconcile(db, "--keep", "4").exit_code
        == 0
    )
    document = json.loads(run_reconcile(db, "--json").output)
    assert [one["answer"] for one in document["differences"]] == [None, None, "adopt", "keep"]
