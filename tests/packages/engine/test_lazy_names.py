"""Public names of the engine are imported at first use."""

import subprocess
import sys
from importlib.util import find_spec

from onetape import engine
from onetape.engine import exports


def test_the_settings_of_an_account_are_imported_without_numpy() -> None:
    code = "import onetape.engine.account_config, sys; sys.exit('numpy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_every_public_name_is_importable_and_none_is_hidden_by_a_module() -> None:
    for name in exports.__all__:
        assert getattr(engine, name) is getattr(exports, name)
        assert find_spec(f"onetape.engine.{name}") is None
