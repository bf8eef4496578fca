"""Network drives are refused, and shared folders print a warning."""

from collections.abc import Callable
from pathlib import Path

import pytest

from onetape.core.errors import ConfigurationError
from onetape.store import filesystem
from onetape.store.database import open_store
from onetape.store.filesystem import read_file_system

MOUNTS = """\
22 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw
30 22 0:40 / /mnt/nas rw,relatime shared:2 - {kind} nas:/export rw
31 30 254:1 / /mnt/nas/disk rw - ext4 /dev/vdb rw
32 22 0:41 / /mnt/with\\040blank rw - {kind} nas:/export rw
"""


@pytest.fixture
def mounted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Return a function that lets the system claim to have a drive of a kind."""

    def mount(kind: str) -> None:
        listing = tmp_path / "mountinfo"
        listing.write_text(MOUNTS.format(kind=kind))
        monkeypatch.setattr(filesystem, "MOUNTS", listing)

    return mount


@pytest.mark.parametrize("kind", ["nfs", "nfs4", "cifs", "smb3", "fuse.sshfs"])
def test_a_network_drive_is_refused_before_any_file_is_created(
    mounted: Callable[[str], None], kind: str
) -> None:
    """Failure mode 55."""
    mounted(kind)
    path = Path("/mnt/nas/data/onetape.db")
    with pytest.raises(ConfigurationError, match=f"{path} is on a network drive .{kind}"):
        open_store(path, create=True)


@pytest.mark.parametrize("kind", ["9p", "virtiofs", "fuse.grpcfuse"])
def test_a_shared_folder_prints_a_warning(
    mounted: Callable[[str], None], kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Failure mode 55."""
    mounted(kind)
    filesystem.check_file_system(Path("/mnt/with blank/onetape.db"))
    (record,) = caplog.records
    assert f"is in a shared folder ({kind})" in record.getMessage()


def test_a_disk_mounted_inside_a_network_drive_is_a_disk(mounted: Callable[[str], None]) -> None:
    mounted("nfs")
    assert read_file_system(Path("/mnt/nas/disk/onetape.db")) == "ext4"
    assert read_file_system(Path("/mnt/nasty/onetape.db")) == "ext4"
