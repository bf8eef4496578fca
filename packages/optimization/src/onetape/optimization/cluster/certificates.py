"""Make the certificates of a cluster: one authority, and one certificate for all its computers.

The key of the authority is not stored, so that no further certificate can be made. A peer is
accepted if the authority has signed its certificate, whatever the name of its host: the folder is
copied to each computer.
"""

import os
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from onetape.core.errors import ConfigurationError, UsageError
from onetape.core.message_text import format_os_error
from onetape.optimization.cluster.address import AUTHORITY, CERTIFICATE, KEY

#: Days for which the certificates hold.
VALID_DAYS: Final = 1_825


def make_certificates(folder: Path, now: datetime | None = None) -> None:
    """Write authority, certificate and private key into a new or empty folder.

    Args:
        folder: The folder; it is readable by its owner alone.
        now: Begin of the validity, UTC; None: now.

    Raises:
        UsageError: the folder has certificates already.
        ConfigurationError: a file cannot be written, or a package is missing.
    """
    present = [name for name in (AUTHORITY, CERTIFICATE, KEY) if (folder / name).exists()]
    if present:
        raise UsageError(
            f"{folder} has certificates already ({', '.join(present)}); use them, or name another "
            "folder"
        )
    authority, certificate, key = _make_pem_texts(now or datetime.now(UTC))
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        for name, text in ((KEY, key), (CERTIFICATE, certificate), (AUTHORITY, authority)):
            descriptor = os.open(folder / name, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(descriptor, "wb") as file:
                file.write(text)
    except OSError as error:
        raise ConfigurationError(
            f"{folder} cannot be written: {format_os_error(error)}; choose another folder"
        ) from error


def _make_pem_texts(now: datetime) -> tuple[bytes, bytes, bytes]:
    """Return authority, certificate and private key in PEM."""
    try:
        from cryptography import x509
        from cryptography.hazmat.primitives import hashes, serialization
        from cryptography.hazmat.primitives.asymmetric import ec
        from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
    except ImportError as error:
        raise ConfigurationError(
            f"certificates need a package ({error}); install it: uv sync --extra cluster"
        ) from error

    def begin(name: str) -> x509.CertificateBuilder:
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(days=1))
            .not_valid_after(now + timedelta(days=VALID_DAYS))
        )

    authority_key, key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    issuer = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "onetape cluster authority")])
    authority = (
        begin("onetape cluster authority")
        .issuer_name(issuer)
        .public_key(authority_key.public_key())
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(authority_key, hashes.SHA256())
    )
    usages = [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
    certificate = (
        begin("onetape cluster")
        .issuer_name(issuer)
        .public_key(key.public_key())
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.ExtendedKeyUsage(usages), critical=False)
        .sign(authority_key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    private = key.private_bytes(
        pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return authority.public_bytes(pem), certificate.public_bytes(pem), private
