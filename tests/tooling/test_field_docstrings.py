"""Docstrings of fields name their subject, so that an editor's hover is enough to read one."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

#: Beginnings that need the name of the field, or the field before it, to mean something.
WITHOUT_SUBJECT = re.compile(
    r"(The same|Of|In|By|As|Such as|What it|When it|How it|Where it|It|Its|Their|Or|For|From|"
    r"Between|Until|With|At|Without|Also|Those|These|Else|Whose|Epoch) |None:|0:|"
    r"(Quote|Base) currency\."
)


def iterate_field_docstrings(tree: ast.Module) -> Iterator[tuple[str, str]]:
    """Yield class, name and docstring of each documented field."""
    for found in ast.walk(tree):
        if not isinstance(found, ast.ClassDef):
            continue
        for field, text in zip(found.body, found.body[1:], strict=False):
            if (
                isinstance(field, ast.AnnAssign)
                and isinstance(field.target, ast.Name)
                and isinstance(text, ast.Expr)
                and isinstance(text.value, ast.Constant)
                and isinstance(text.value.value, str)
            ):
                yield f"{found.name}.{field.target.id}", text.value.value


def test_every_field_docstring_names_its_subject(repository: Path):
    files = [*repository.glob("packages/*/src/**/*.py"), *repository.glob("apps/**/*.py")]
    found = [
        (f"{file.relative_to(repository)}: {name}", text)
        for file in files
        for name, text in iterate_field_docstrings(ast.parse(file.read_text(encoding="utf-8")))
    ]
    assert len(found) > 1_000
    assert [name for name, text in found if WITHOUT_SUBJECT.match(text)] == []
