"""CCXT whose exchanges are loaded at first use, compared with a plain import of CCXT."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

INSTALL = "from onetape.exchange.lazy_ccxt import install; install()\n"
#: Prints each package's public names with what they are, and what `import *` brings.
DESCRIBE = """
import json, types
import ccxt, ccxt.async_support, ccxt.pro

def described(value):
    if isinstance(value, type):
        return [value.__module__, value.__qualname__, [base.__module__ for base in value.__mro__]]
    if isinstance(value, types.ModuleType | types.FunctionType):
        return value.__name__
    return repr(value)

packages = {}
for package in (ccxt, ccxt.async_support, ccxt.pro):
    star = {}
    exec(f"from {package.__name__} import *", star)
    names = [name for name in dir(package) if not name.startswith("__")]
    packages[package.__name__] = [
        {name: described(getattr(package, name)) for name in names},
        sorted(star.keys() - {"__builtins__"}),
    ]
print(json.dumps(packages))
"""
#: Prints the modules of exchanges that are loaded.
LOADED = """
import json, sys
packages = ("ccxt", "ccxt.async_support", "ccxt.pro")
wanted = {f"{package}.{name}" for package in packages for name in sys.modules["ccxt"].exchanges}
print(json.dumps(sorted(wanted & {*sys.modules})))
"""


def run(code: str, folder: Path | None = None) -> Any:
    """Return the JSON output of a new process; modules of a folder hide installed ones."""
    environment = {**os.environ, **({"PYTHONPATH": str(folder)} if folder else {})}
    done = subprocess.run(
        [sys.executable, "-W", "error::ImportWarning", "-c", code],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert (done.returncode, done.stderr) == (0, "")
    return json.loads(done.stdout)


def test_every_name_of_every_package_equals_that_of_a_plain_import() -> None:
    assert run(INSTALL + DESCRIBE) == run(DESCRIBE)


def test_clients_of_one_exchange_load_the_modules_of_this_exchange_only() -> None:
    # Where this fails after an update of CCXT, its packages import exchanges by another statement:
    # all of them are loaded again, which costs 60 MB and 0.3 s of each start.
    clients = """
from onetape.websocket.client import make_guarded_client
from onetape.exchange.rest import RestExchange, Endpoint
RestExchange(Endpoint("kraken"))
make_guarded_client(Endpoint("kraken"), on_connected=print)
"""
    assert run(clients + LOADED) == ["ccxt.async_support.kraken", "ccxt.pro.kraken"]


def test_error_classes_are_those_of_a_later_plain_import() -> None:
    code = """
import json
import onetape.exchange.rest
from ccxt.async_support.binance import binance
error = None
try:
    binance().market("BTC/USDT")
except Exception as caught:
    error = caught
import ccxt, ccxt.pro
kinds = [ccxt.ExchangeError, ccxt.pro.ExchangeError, ccxt.async_support.ExchangeError]
print(json.dumps([isinstance(error, kind) for kind in kinds]))
"""
    assert run(code) == [True, True, True]


def test_a_package_that_was_imported_before_is_unchanged() -> None:
    code = """
import json
import ccxt
before, plain = vars(ccxt)["binance"], type(ccxt)
from onetape.exchange.lazy_ccxt import install
install()
import ccxt.pro
print(json.dumps([
    vars(ccxt)["binance"] is before,
    type(ccxt) is plain,
    ccxt.pro.NetworkError is ccxt.NetworkError,
    issubclass(ccxt.pro.binance, ccxt.async_support.binance),
]))
"""
    assert run(code) == [True, True, True, True]


@pytest.fixture
def own_ccxt(tmp_path: Path) -> Path:
    """Return a folder with a small package of CCXT's layout."""
    package = tmp_path / "ccxt"
    package.mkdir()
    (package / "kraken.py").write_text("class kraken: ...\n")
    (package / "krakeneu.py").write_text(
        "from ccxt.kraken import kraken\nclass krakeneu(kraken): ...\n"
    )
    (package / "__init__.py").write_text(
        "from ccxt.kraken import kraken  # noqa\n"
        "from ccxt.krakeneu import krakeneu\n"
        "exchanges = ['kraken', 'krakeneu']\n"
    )
    return tmp_path


@pytest.mark.parametrize(
    "use",
    [
        "import ccxt; kinds = [ccxt.kraken]",
        "from ccxt import kraken; kinds = [kraken]",
        "from ccxt.kraken import kraken; import ccxt; kinds = [kraken, ccxt.kraken]",
        "import ccxt.kraken; kinds = [ccxt.kraken]",
        "import ccxt.kraken as kraken; kinds = [kraken]",
        "import ccxt; ccxt.krakeneu; kinds = [ccxt.kraken]",
    ],
)
def test_the_name_of_an_exchange_is_its_class(own_ccxt: Path, use: str) -> None:
    code = f"{INSTALL}{use}\nprint(int({{*kinds}} == {{__import__('ccxt.kraken').kraken}}))"
    assert run(code + "\nassert all(isinstance(kind, type) for kind in kinds)", own_ccxt) == 1


def test_a_package_with_unknown_statements_is_imported_plainly(own_ccxt: Path) -> None:
    (own_ccxt / "ccxt" / "__init__.py").write_text(
        "from importlib import import_module\n"
        "exchanges = ['kraken']\n"
        "for name in exchanges:\n"
        "    globals()[name] = getattr(import_module(f'ccxt.{name}'), name)\n"
    )
    assert run(INSTALL + "import ccxt\nassert ccxt.kraken()" + LOADED, own_ccxt) == ["ccxt.kraken"]


def test_an_import_under_another_name_is_executed_at_once(own_ccxt: Path) -> None:
    with (own_ccxt / "ccxt" / "__init__.py").open("a") as file:
        file.write("from ccxt.krakeneu import krakeneu as newest\n")
    code = INSTALL + "import ccxt, json\nprint(json.dumps([ccxt.newest is ccxt.krakeneu]))"
    assert run(code, own_ccxt) == [True]


def test_an_unknown_name_raises_an_attribute_error(own_ccxt: Path) -> None:
    code = INSTALL + "import ccxt, json\nprint(json.dumps([hasattr(ccxt, 'krakenn')]))"
    assert run(code, own_ccxt) == [False]
