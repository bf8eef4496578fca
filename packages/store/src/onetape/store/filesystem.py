"""Check the file system of a database file, and find out whether a path leads to the same file.

The processes on one database share memory and locks, which requires one computer and a local disk.
Network drives do not support this; folders shared with a host system or another machine may report
support without having it.
"""

import os
from pathlib import Path

from onetape.core.errors import ConfigurationError, StoreError, StoreUnwritable
from onetape.core.printable import escape_unprintable

#: File systems on another computer: locks and shared memory do not work across computers.
NETWORK = frozenset(
    {"nfs", "nfs4", "cifs", "smb3", "smbfs", "smb2", "afs", "ceph", "glusterfs", "lustre", "ncpfs"}
    | {"fuse.sshfs", "fuse.glusterfs", "fuse.s3fs", "fuse.rclone", "davfs", "fuse.davfs", "beegfs"}
)
#: File systems for folders of a host system in a virtual machine or container. In tests, several
#: processes damaged a file there within a minute.
SHARED_FOLDERS = frozenset({"9p", "virtiofs", "vboxsf", "vmhgfs", "prl_fs", "drvfs", "fakeowner"})
MOUNTS = Path("/proc/self/mountinfo")


def check_file_system(path: Path) -> None:
    """Refuse a file on a network drive; print a warning about a file in a shared folder.

    Only Linux names the file system; elsewhere nothing is checked.

    Raises:
        ConfigurationError: the file is on a network drive.
    """
    kind = read_file_system(path)
    if kind in NETWORK:
        raise ConfigurationError(
            f"{path} is on a network drive ({kind}), where processes cannot share a database; "
            "name a file on a disk of this computer with --db"
        )
    if kind in SHARED_FOLDERS or kind.startswith("fuse."):
        print_note(
            f"{path} is in a shared folder ({kind}), where two programs at once can damage it; "
            "use a disk of this computer, or in a container a named volume"
        )


def read_file_system(path: Path) -> str:
    """Return the type of the file system of a path, such as `ext4`; empty: not known."""
    try:
        mounts = MOUNTS.read_text(encoding="utf-8", errors="surrogateescape")
    except OSError:
        return ""
    real_path = Path(os.path.realpath(path))
    kind, depth = "", -1
    for line in mounts.splitlines():
        # "36 35 98:0 /root /mount/point options [tags] - kind device options", proc(5)
        before, _, after = line.partition(" - ")
        mount = Path(_unescape_mount_point(before.split()[4]))
        # A later line hides an earlier line of the same mount point.
        if (real_path == mount or mount in real_path.parents) and len(mount.parts) >= depth:
            kind, depth = after.split()[0], len(mount.parts)
    return kind


def get_file_identity(path: Path) -> tuple[int, int] | None:
    """Return device and inode of a file; None for a missing or empty file.

    Raises:
        StoreUnwritable: a folder of the path may not be entered.
        StoreError: the disk does not respond.
    """
    try:
        status = path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return None
    except PermissionError as error:
        raise StoreUnwritable(
            f"{path} cannot be reached: {error.strerror}; let its user enter the folder (chmod u+x)"
        ) from error
    except OSError as error:
        raise StoreError(f"{path} cannot be examined: {error.strerror or error}") from error
    return (status.st_dev, status.st_ino) if status.st_size else None


def get_log_path(path: Path) -> Path:
    """Return the path of a database's write-ahead log, which is next to the target of links."""
    return Path(f"{os.path.realpath(path)}-wal")


def print_note(text: str) -> None:
    """Log a warning of one line, which a program prints on stderr unless it handles its log."""
    import logging

    logging.getLogger("onetape.store").warning("%s", escape_unprintable(text))


def _unescape_mount_point(name: str) -> str:
    """Return the name of a mount point, in which /proc writes blanks as octal escapes."""
    for code, character in (("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")):
        name = name.replace(code, character)
    return name
