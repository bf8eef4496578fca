"""An edit changes one value of a settings file and no other byte, or is refused."""

import os
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from onetape.cli.settings_edit import edit_setting, write_setting
from onetape.cli.settings_file import parse_settings
from onetape.core.errors import ConfigurationError
from repeatable import count_examples
from unprivileged import make_unprivileged_command

KEY = "account.spread_bps"
FILE = Path("app.yaml")


def edit_text(text: str) -> str:
    return edit_setting(FILE, text, KEY, "0.25")


def edit_or_refuse(text: str) -> str | None:
    """Return the changed text; None where the form of the text does not allow a change."""
    try:
        return edit_text(text)
    except ConfigurationError as error:
        if "by hand" not in str(error):
            raise
        return None


@pytest.mark.parametrize(
    ("text", "changed"),
    [
        # A value is replaced, and its comment stays in its column.
        ("account:\n  spread_bps: 0\n", "account:\n  spread_bps: 0.25\n"),
        ("account:\n  spread_bps: 0      # bps\n", "account:\n  spread_bps: 0.25   # bps\n"),
        ("account:\n  spread_bps: 12.125 # bps\n", "account:\n  spread_bps: 0.25   # bps\n"),
        ("account:\n  spread_bps: 0 # bps\n", "account:\n  spread_bps: 0.25 # bps\n"),
        ("account:\n  spread_bps: '7' # bps\n", "account:\n  spread_bps: 0.25 # bps\n"),
        ("account:\n  spread_bps:\n  cash: 5\n", "account:\n  spread_bps: 0.25\n  cash: 5\n"),
        ("account:\n  spread_bps:     # bps\n", "account:\n  spread_bps: 0.25 # bps\n"),
        ("account: {cash: 5, spread_bps: 0}\n", "account: {cash: 5, spread_bps: 0.25}\n"),
        ('{"account":{"spread_bps":0}}', '{"account":{"spread_bps": 0.25}}'),
        # A missing value is added below its section.
        ("account:\n  cash: 5\n", "account:\n  spread_bps: 0.25\n  cash: 5\n"),
        (
            "account: # money\n\n    # start\n    cash: 5\n",
            "account: # money\n    spread_bps: 0.25\n\n    # start\n    cash: 5\n",
        ),
        ("account: {cash: 5}", "account: {spread_bps: 0.25, cash: 5}"),
        ("account: {}\n", "account: {spread_bps: 0.25}\n"),
        ("account:\nexits:\n", "account:\n  spread_bps: 0.25\nexits:\n"),
        ("account:", "account:\n  spread_bps: 0.25\n"),
        # So is a missing section, at the end of the file.
        ("", "account:\n  spread_bps: 0.25\n"),
        ("# nothing yet", "# nothing yet\naccount:\n  spread_bps: 0.25\n"),
        ("symbol: A/B\n", "symbol: A/B\naccount:\n  spread_bps: 0.25\n"),
        ("  symbol: A/B", "  symbol: A/B\n  account:\n    spread_bps: 0.25\n"),
        ("{symbol: A/B}", "{account: {spread_bps: 0.25}, symbol: A/B}"),
        ("{}", "{account: {spread_bps: 0.25}}"),
        # Line ends, a byte order mark and letters of any language stay.
        (
            "account:\r\n  cash: 5\r\nsymbol: A/B\r\n",
            "account:\r\n  spread_bps: 0.25\r\n  cash: 5\r\nsymbol: A/B\r\n",
        ),
        ("\ufeffaccount:\n  spread_bps: 0\n", "\ufeffaccount:\n  spread_bps: 0.25\n"),
        (
            "# Geld 💶 für\naccount: {spread_bps: 0} # 価格\n",
            "# Geld 💶 für\naccount: {spread_bps: 0.25} # 価格\n",
        ),
        # The same key elsewhere is another setting.
        (
            "exits:\n  spread_bps: 1\naccount:\n  spread_bps: 2\n",
            "exits:\n  spread_bps: 1\naccount:\n  spread_bps: 0.25\n",
        ),
    ],
)
def test_an_edit_changes_only_the_value(text: str, changed: str) -> None:
    assert edit_text(text) == changed
    assert edit_text(changed) == changed


@pytest.mark.parametrize(
    "text",
    [
        # Changing the value changes another one.
        "account:\n  slippage_bps: &bps 1\n  spread_bps: *bps\n",
        "account:\n  spread_bps: &bps 1\n  slippage_bps: *bps\n",
        "exits: &both {cash: 1}\naccount: *both\n",
        "exits: &both\n  spread_bps: 1\naccount: *both\n",
        # Forms that are not written as one line.
        "account:\n  spread_bps: |\n    1\n  cash: 5\n",
        "account: ~\n",
        "account: &money {cash: 5}\n",
        "account: 5\n",
        "---\nsymbol: A/B\n...\n",
    ],
)
def test_a_yaml_form_that_would_change_more_is_refused_with_line_and_remedy(text: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        edit_text(text)
    message = str(caught.value)
    assert message.startswith("app.yaml:")
    assert message.endswith("; set account.spread_bps to 0.25 by hand")
    assert "\n" not in message


@pytest.mark.parametrize("text", ["account: [\n", "- 1\n", "account:\n  cash: 1\n  cash: 2\n"])
def test_an_invalid_file_is_refused_with_the_error_of_reading_it(text: str) -> None:
    with pytest.raises(ConfigurationError, match=r"^app\.yaml:\d+: "):
        edit_text(text)


_WORDS = st.sampled_from(["cash", "spread_bps", "fee_rate", "account", "exits", "# no", "a: b", ""])
_VALUES = st.one_of(st.integers(), st.none(), st.text(max_size=8), st.lists(st.integers()))
_TREES = st.dictionaries(
    st.sampled_from(["account", "exits", "symbol"]),
    st.one_of(st.none(), st.dictionaries(_WORDS, _VALUES, max_size=4)),
    max_size=3,
)


@settings(max_examples=count_examples(300))
@given(tree=_TREES, flow=st.booleans(), indent=st.integers(2, 6), comment=st.booleans())
def test_an_edit_of_any_file_keeps_all_other_values_or_is_refused(
    tree: dict[str, Any], flow: bool, indent: int, comment: bool
) -> None:
    text = yaml.safe_dump(tree, default_flow_style=flow, indent=indent, sort_keys=False)
    if comment:
        text = f"# first\n{text}# last"
    before, _ = parse_settings(FILE, text)
    changed = edit_or_refuse(text)
    if changed is not None:
        after, _ = parse_settings(FILE, changed)
        assert after["account"].pop("spread_bps") == "0.25"
        before.setdefault("account", {}).pop("spread_bps", None)
        assert after == before


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "own" / "app.yaml"
    path.parent.mkdir()
    path.write_text("account:\n  spread_bps: 0\n")
    return path


def test_an_edited_file_keeps_its_mode_and_no_other_file_is_left(file: Path) -> None:
    file.chmod(0o640)
    write_setting(file, KEY, "2")
    assert file.read_text() == "account:\n  spread_bps: 2\n"
    assert stat.S_IMODE(file.stat().st_mode) == 0o640
    assert [*file.parent.iterdir()] == [file]


def test_an_edit_through_a_link_changes_the_target(file: Path, tmp_path: Path) -> None:
    link = tmp_path / "link.yaml"
    link.symlink_to(file)
    write_setting(link, KEY, "2")
    assert link.is_symlink()
    assert file.read_text() == "account:\n  spread_bps: 2\n"


def test_a_missing_file_is_created_as_a_copy_of_its_base(file: Path, tmp_path: Path) -> None:
    new = tmp_path / "a" / "b" / "app.yaml"
    write_setting(new, KEY, "2", base=file)
    assert new.read_text() == "account:\n  spread_bps: 2\n"
    assert file.read_text() == "account:\n  spread_bps: 0\n"


def test_a_missing_file_without_base_is_created_with_the_value_alone(tmp_path: Path) -> None:
    write_setting(tmp_path / "app.yaml", KEY, "2")
    assert (tmp_path / "app.yaml").read_text() == "account:\n  spread_bps: 2\n"


def test_a_read_only_file_is_refused_and_unchanged(file: Path) -> None:
    file.chmod(0o444)
    with pytest.raises(ConfigurationError, match="the file is read-only; make it writable"):
        write_setting(file, KEY, "2")
    assert file.read_text() == "account:\n  spread_bps: 0\n"
    assert [*file.parent.iterdir()] == [file]


#: Sets a value as a user would whose files may not grow beyond so many bytes; prints the error.
TRY = """
import resource, sys
from pathlib import Path
from onetape.cli.settings_edit import write_setting
from onetape.core.errors import ConfigurationError
path, most_bytes = Path(sys.argv[1]), int(sys.argv[2])
resource.setrlimit(resource.RLIMIT_FSIZE, (most_bytes, most_bytes))
try:
    write_setting(path, "account.spread_bps", "2")
except ConfigurationError as error:
    print(error)
"""


def try_edit(file: Path, most_bytes: int = 1_000_000) -> str:
    """Return the error of a change in a process that may do no more than files allow."""
    done = subprocess.run(
        make_unprivileged_command([sys.executable, "-c", TRY, str(file), str(most_bytes)]),
        env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        check=True,
        timeout=180,
    )
    return done.stdout


def test_a_write_that_fails_half_way_leaves_the_file_unchanged(file: Path) -> None:
    assert "cannot be written: File too large; make the file and its" in try_edit(file, 10)
    assert file.read_text() == "account:\n  spread_bps: 0\n"
    assert [*file.parent.iterdir()] == [file]


def test_a_folder_that_is_not_writable_is_named_and_the_file_unchanged(file: Path) -> None:
    file.parent.chmod(0o555)
    try:
        assert "cannot be written: Permission denied; make the file and its" in try_edit(file)
    finally:
        file.parent.chmod(0o755)
    assert file.read_text() == "account:\n  spread_bps: 0\n"


def test_a_file_that_cannot_be_read_is_named_and_unchanged(file: Path) -> None:
    file.chmod(0o200)
    assert try_edit(file).startswith(f"{file} cannot be read: Permission denied; make it readable")
    file.chmod(0o600)
    assert file.read_text() == "account:\n  spread_bps: 0\n"


def test_a_folder_in_place_of_the_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="cannot be read: Is a directory"):
        write_setting(tmp_path, KEY, "2")
