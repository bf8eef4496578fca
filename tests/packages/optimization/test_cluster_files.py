"""Addresses and certificates of a cluster, and the file that its workers map into memory."""

import ssl
import stat
from pathlib import Path

import numpy as np
import pytest

from cluster_work_example import make_cluster_work
from onetape.core.errors import ConfigurationError, UsageError
from onetape.optimization.cluster.address import AUTHORITY, CERTIFICATE, KEY, parse_address
from onetape.optimization.cluster.certificates import make_certificates
from onetape.optimization.cluster.work_file import (
    MAX_FILES,
    encode_work,
    get_path,
    load_work,
    store_content,
)


@pytest.fixture(scope="module")
def tls(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("certificates") / "tls"
    make_certificates(folder)
    return folder


@pytest.mark.parametrize(
    ("text", "has_tls", "expected"),
    [
        ("127.0.0.1:8786", False, "tcp://127.0.0.1:8786"),
        ("tcp://localhost:1", False, "tcp://localhost:1"),
        ("[::1]:8786", False, "tcp://[::1]:8786"),
        ("10.0.0.1:8786", True, "tls://10.0.0.1:8786"),
        ("tls://host.example:8786", True, "tls://host.example:8786"),
        ("127.0.0.1:0", True, "tls://127.0.0.1:0"),
    ],
)
def test_an_address_is_parsed(tls: Path, text: str, has_tls: bool, expected: str) -> None:
    assert parse_address(text, tls if has_tls else None, "--listen").text == expected


@pytest.mark.parametrize(
    ("text", "has_tls"),
    [
        ("10.0.0.1:8786", False),
        ("0.0.0.0:8786", False),
        ("host.example:8786", False),
        ("tls://127.0.0.1:8786", False),
        ("tcp://10.0.0.1:8786", True),
        ("http://127.0.0.1:8786", False),
        ("127.0.0.1", False),
        ("127.0.0.1:", False),
        ("127.0.0.1:65536", False),
        (":8786", False),
        ("", False),
    ],
)
def test_an_address_that_others_could_use_without_certificates_is_refused(
    tls: Path, text: str, has_tls: bool
) -> None:
    with pytest.raises(UsageError):
        parse_address(text, tls if has_tls else None, "--listen")


def test_certificates_exist_for_both_sides_and_are_private_to_their_owner(tls: Path) -> None:
    for name in (AUTHORITY, CERTIFICATE, KEY):
        assert stat.S_IMODE((tls / name).stat().st_mode) == 0o600
    for purpose in (ssl.Purpose.SERVER_AUTH, ssl.Purpose.CLIENT_AUTH):
        context = ssl.create_default_context(purpose, cafile=tls / AUTHORITY)
        context.load_cert_chain(tls / CERTIFICATE, tls / KEY)
    with pytest.raises(UsageError, match="has certificates already"):
        make_certificates(tls)


def test_a_folder_that_lacks_a_certificate_is_named(tls: Path, tmp_path: Path) -> None:
    for name in (AUTHORITY, CERTIFICATE):
        (tmp_path / name).write_bytes((tls / name).read_bytes())
    with pytest.raises(ConfigurationError, match=r"key\.pem is not there"):
        parse_address("10.0.0.1:8786", tmp_path, "--cluster")


def test_a_loaded_work_file_equals_the_stored_work_and_maps_its_columns(
    tmp_path: Path,
) -> None:
    work = make_cluster_work()
    digest, content = encode_work(work)
    store_content(tmp_path, digest, content)
    found = load_work(tmp_path, digest)
    assert (found.strategy, found.code) == (work.strategy, work.code)
    assert found.context.rules == work.context.rules
    before, after = work.context.window.candles, found.context.window.candles
    for name in ("timestamp", "open", "high", "low", "close", "volume"):
        column = getattr(after, name)
        assert np.array_equal(column, getattr(before, name))
        assert not column.flags.owndata
        assert not column.flags.writeable


def test_equal_work_has_an_equal_digest_and_other_candles_another(tmp_path: Path) -> None:
    assert encode_work(make_cluster_work())[0] == encode_work(make_cluster_work())[0]
    assert encode_work(make_cluster_work())[0] != encode_work(make_cluster_work(factor=1.01))[0]


def test_a_damaged_file_is_neither_stored_nor_loaded(tmp_path: Path) -> None:
    digest, content = encode_work(make_cluster_work())
    damaged = content[:-1] + bytes([content[-1] ^ 1])
    with pytest.raises(ValueError, match="damaged"):
        store_content(tmp_path, digest, damaged)
    assert list(tmp_path.iterdir()) == []
    get_path(tmp_path, digest).write_bytes(damaged)
    with pytest.raises(ValueError, match="damaged"):
        load_work(tmp_path, digest)
    with pytest.raises(FileNotFoundError):
        load_work(tmp_path, "0" * 64)


def test_old_files_are_deleted(tmp_path: Path) -> None:
    digest, content = encode_work(make_cluster_work())
    for number in range(MAX_FILES + 3):
        (tmp_path / f"{number}.work").write_bytes(b"")
    store_content(tmp_path, digest, content)
    assert len(list(tmp_path.glob("*.work"))) == MAX_FILES
    assert get_path(tmp_path, digest).exists()
