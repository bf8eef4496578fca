"""No module imports another in a circle, and packages have few import layers."""

import ast
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
#: Floors that a package may have, where it has a limit: the longest chain of its own imports.
MOST_FLOORS = {"backtest": 6}


def iterate_modules(folder: Path, package: str) -> Iterator[tuple[str, Path]]:
    """Yield the name and the file of each module below a package's folder."""
    for path in sorted(folder.rglob("*.py")):
        parts = path.relative_to(folder).with_suffix("").parts
        inner = parts[:-1] if parts[-1] == "__init__" else parts
        yield ".".join((package, *inner)), path


def find_imports(modules: Mapping[str, Path]) -> dict[str, set[str]]:
    """Return which of the modules each of them imports, at the top or inside a function."""
    graph: dict[str, set[str]] = {}
    for name, path in modules.items():
        found: set[str] = set()
        tree = ast.parse(path.read_text(encoding="utf-8"))
        # The face of a package names its modules for type checkers alone, and loads them by name.
        nodes = tree.body if path.name == "__init__.py" else ast.walk(tree)
        for node in nodes:
            if isinstance(node, ast.ImportFrom) and node.module:
                for alias in node.names:
                    full = f"{node.module}.{alias.name}"
                    found.add(full if full in modules else node.module)
            elif isinstance(node, ast.Import):
                found |= {alias.name for alias in node.names}
        graph[name] = {one for one in found if one in modules} - {name}
    return graph


def compute_layers(graph: Mapping[str, set[str]]) -> dict[str, int]:
    """Return the floor of each module: one more than the highest one that it imports.

    Raises:
        AssertionError: modules import each other in a circle; the text names it.
    """
    floors: dict[str, int] = {}

    def visit(name: str, above: tuple[str, ...]) -> int:
        assert name not in above, f"circle: {' -> '.join((*above[above.index(name) :], name))}"
        if name not in floors:
            floors[name] = 1 + max((visit(one, (*above, name)) for one in graph[name]), default=0)
        return floors[name]

    for name in graph:
        visit(name, ())
    return floors


def group_modules() -> dict[str, dict[str, Path]]:
    """Return the modules of each package and app, by its name."""
    libraries = {
        path.name: dict(iterate_modules(path, f"onetape.{path.name}"))
        for path in sorted(REPOSITORY.glob("packages/*/src/onetape/*"))
        if path.is_dir()
    }
    apps = {
        path.name: dict(iterate_modules(path, path.name))
        for path in sorted(REPOSITORY.glob("apps/*"))
        if (path / "main.py").exists()
    }
    return {**libraries, **apps}


@pytest.mark.parametrize("name", group_modules())
def test_no_module_imports_another_in_a_circle(name: str) -> None:
    assert compute_layers(find_imports(group_modules()[name]))


@pytest.mark.parametrize("name", MOST_FLOORS)
def test_a_package_has_few_import_layers(name: str) -> None:
    floors = compute_layers(find_imports(group_modules()[name]))
    assert max(floors.values()) <= MOST_FLOORS[name], sorted(floors.items(), key=lambda one: one[1])


def test_a_circle_through_an_import_inside_a_function_is_found(tmp_path: Path) -> None:
    (tmp_path / "one.py").write_text("def f():\n    from some.two import g\n    return g\n")
    (tmp_path / "two.py").write_text("from some import one\n")
    with pytest.raises(AssertionError, match=r"circle: some\.one -> some\.two -> some\.one"):
        compute_layers(find_imports(dict(iterate_modules(tmp_path, "some"))))
