"""Write the files that a page of docs/ shows."""

import re
import shutil
from pathlib import Path


def write_files(page: Path, folder: Path) -> list[Path]:
    """Write the files of a page that begin with their own path; return them."""
    blocks = re.findall(r"```python\n# (user/\S+)\n(.*?)```", page.read_text(), re.DOTALL)
    for name, text in blocks:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return [folder / name for name, _ in blocks]


def copy_config(repository: Path, folder: Path) -> None:
    """Copy the settings files of the checkout, which the commands of a page read, to a folder."""
    shutil.copytree(repository / "config", folder / "config")
