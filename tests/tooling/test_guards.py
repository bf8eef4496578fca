"""tools/guards.toml fits the code, and its table in docs/failure-modes.md is written from it."""

from pathlib import Path

import guards
from guards import PAGE, Guard, does_fail_without, find_fault, read_guards, replace_table


def test_each_guard_occurs_once_in_the_code_and_its_test_exists(repository: Path) -> None:
    assert [fault for one in read_guards() if (fault := find_fault(one, repository))] == []


def test_the_rows_of_the_guards_are_in_order_and_name_failure_modes(repository: Path) -> None:
    rows = [one.row for one in read_guards()]
    assert rows == sorted(rows)
    text = (repository / PAGE).read_text(encoding="utf-8")
    assert [row for row in rows if f"\n| {row} |" not in text] == []


def test_the_table_of_the_page_equals_that_of_the_guards(repository: Path) -> None:
    text = (repository / PAGE).read_text(encoding="utf-8")
    assert replace_table(text, read_guards()) == text


def test_a_guard_is_switched_off_only_while_its_test_runs(tmp_path: Path) -> None:
    code, test = tmp_path / "code.py", tmp_path / "test_code.py"
    code.write_text("def is_safe():\n    return True\n")
    test.write_text(
        "from pathlib import Path\n\n\ndef test_it():\n"
        "    assert 'True' in (Path(__file__).parent / 'code.py').read_text()\n\n\n"
        "def test_nothing():\n    pass\n"
    )
    text = code.read_text()
    needed = Guard(1, "is needed", "code.py", "True", "False", "test_code.py", "test_it")
    assert does_fail_without(needed, tmp_path)
    assert not does_fail_without(needed._replace(name="test_nothing"), tmp_path)
    assert code.read_text() == text
    assert find_fault(needed, tmp_path) is None
    assert "0 times" in str(find_fault(needed._replace(on="none"), tmp_path))
    assert "indent" in str(
        find_fault(needed._replace(on="    return True", off="return 1"), tmp_path)
    )
    assert "no test_other" in str(find_fault(needed._replace(name="test_other"), tmp_path))
    assert guards.LIST.suffix == ".toml"
