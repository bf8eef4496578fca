"""Addresses and certificates of a cluster.

A Dask port runs the code of every peer that connects. So a port is open to this computer alone, or
it accepts only peers with a certificate of the same authority (mutual TLS).
"""

import ipaddress
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from msgspec import Struct

from onetape.core.errors import ConfigurationError, UsageError
from onetape.core.message_text import format_os_error

if TYPE_CHECKING:
    from distributed.security import Security

#: Files of a certificate folder: authority, certificate and private key, in PEM.
AUTHORITY: Final = "ca.pem"
CERTIFICATE: Final = "cert.pem"
KEY: Final = "key.pem"
#: Time in which a scheduler must respond, seconds.
CONNECT_SECONDS: Final = 10
_MAX_PORT: Final = 65_535


class ClusterAddress(Struct, frozen=True):
    """Address of a scheduler, and the certificates to connect with."""

    host: str
    port: int
    tls: Path | None
    """Folder with the certificates; None: plain TCP on this computer alone."""

    @property
    def text(self) -> str:
        """Return the address as Dask and the flags write it: `tls://10.0.0.1:8786`."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.protocol}://{host}:{self.port}"

    @property
    def protocol(self) -> str:
        """Return `tls`, or `tcp` without certificates."""
        return "tcp" if self.tls is None else "tls"

    @property
    def is_loopback(self) -> bool:
        """Return whether the address is of this computer alone."""
        return is_loopback(self.host)


def parse_address(text: str, tls: Path | None, flag: str) -> ClusterAddress:
    """Return the address of a text such as `tls://10.0.0.1:8786` or `127.0.0.1:8786`.

    Args:
        text: Host and port; without `tls://` or `tcp://` the certificates decide.
        tls: Folder with the certificates; None: none is used.
        flag: Flag or argument, for errors.

    Raises:
        UsageError: the text is no address, or it needs certificates.
        ConfigurationError: the folder lacks a certificate.
    """
    protocol, separator, rest = text.strip().rpartition("://")
    host, colon, port = rest.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    is_port = port.isascii() and port.isdigit() and int(port) <= _MAX_PORT
    if (separator and protocol not in ("tcp", "tls")) or not colon or not host or not is_port:
        raise UsageError(f"{flag} must be HOST:PORT, such as 10.0.0.1:8786, found {text!r}")
    address = ClusterAddress(host, int(port), tls)
    if tls is None and (protocol == "tls" or not address.is_loopback):
        raise UsageError(
            f"{flag} {text}: other computers connect by TLS alone; add --tls FOLDER with the "
            "certificates (make them once: backtester cluster certs FOLDER)"
        )
    if tls is not None and protocol == "tcp":
        raise UsageError(f"{flag} {text}: with --tls the address begins with tls://")
    if tls is not None:
        check_certificates(tls)
    return address


def is_loopback(host: str) -> bool:
    """Return whether a host is this computer's loopback address."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def check_certificates(folder: Path) -> None:
    """Refuse a folder that lacks a file of the certificates, or where one cannot be read.

    Raises:
        ConfigurationError: the text names the file.
    """
    for name in (AUTHORITY, CERTIFICATE, KEY):
        path = folder / name
        try:
            path.read_bytes()
        except FileNotFoundError as error:
            raise ConfigurationError(
                f"--tls {folder}: {name} is not there; make the certificates once "
                f"(backtester cluster certs {folder}), and copy the folder to each computer"
            ) from error
        except OSError as error:
            raise ConfigurationError(
                f"{path} cannot be read: {format_os_error(error)}; fix its permissions"
            ) from error


def make_security(address: ClusterAddress) -> "Security":
    """Return Dask's security settings: mutual TLS with the certificates, or plain TCP."""
    from distributed.security import Security

    if address.tls is None:
        return Security(require_encryption=False)
    folder = address.tls
    options: dict[str, Any] = {"tls_ca_file": str(folder / AUTHORITY)}
    for role in ("client", "scheduler", "worker"):
        options[f"tls_{role}_cert"] = str(folder / CERTIFICATE)
        options[f"tls_{role}_key"] = str(folder / KEY)
    return Security(require_encryption=True, **options)


def configure_dask() -> None:
    """Set what all processes of a cluster share; call it before `distributed` is used.

    Raises:
        ConfigurationError: Dask is not installed.
    """
    # Dask reads this when it is imported, here and in the workers. Onetape prints errors itself.
    os.environ["DASK_LOGGING__DISTRIBUTED"] = "critical"
    try:
        import dask.config
        import distributed
    except ImportError as error:
        raise ConfigurationError(
            f"a cluster needs Dask ({error}); install it: uv sync --extra cluster"
        ) from error
    del distributed
    dask.config.set(
        {
            # `ClusterPool` finds the combination that kills its worker; Dask must not repeat it.
            "distributed.scheduler.allowed-failures": 0,
            # Pages about the cluster would be open to everybody.
            "distributed.scheduler.http.routes": [],
            "distributed.worker.http.routes": [],
            "distributed.comm.timeouts.connect": f"{CONNECT_SECONDS}s",
            "distributed.admin.tick.limit": "1h",
        }
    )
