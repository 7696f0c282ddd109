"""One authority, and one certificate for every server of the catalogue."""

from __future__ import annotations

import atexit
import shutil
import tempfile
from functools import cache
from pathlib import Path

from tests.support.certificates import Hierarchy

#: The addresses of the servers.
NAMES = ("localhost", "127.0.0.1", "10.91.2.2")


@cache
def _files() -> Path:
    directory = Path(tempfile.mkdtemp(prefix="paths"))
    atexit.register(shutil.rmtree, directory, ignore_errors=True)
    made = Hierarchy(*NAMES)
    chain = made.leaf.certificate_pem + made.middle.certificate_pem
    (directory / "both.pem").write_bytes(made.leaf.key_pem + chain)
    (directory / "ca.pem").write_bytes(made.root.certificate_pem)
    (directory / "key.pem").write_bytes(made.leaf.key_pem)
    (directory / "chain.pem").write_bytes(chain)
    return directory


def authority() -> Path:
    """The file with the certificate of the authority."""
    return _files() / "ca.pem"


def key_and_certificate() -> Path:
    """The file with the key, its certificate and the one between, in this order."""
    return _files() / "both.pem"


def key() -> Path:
    """The file with the key alone."""
    return _files() / "key.pem"


def chain() -> Path:
    """The file with the certificates alone."""
    return _files() / "chain.pem"
