"""The programs that are made anew for each run: the load generator, the C server, a key."""

from __future__ import annotations

import os
import resource
import shutil
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from pathlib import Path

from benchmarks.process import BenchmarkError, processors, run

SOURCES = Path(__file__).resolve().parent


@dataclass(frozen=True)
class Programs:
    """Where they are."""

    load: Path
    floor: Path


def _compile(name: str, directory: Path) -> Path:
    """One C program; raises :class:`BenchmarkError` with the compiler's last words."""
    target = directory / name
    command = ["cc", "-O2", "-o", str(target), str(SOURCES / f"{name}.c"), "-ldl", "-lpthread"]
    done = run(command, 60)
    if done.returncode:
        raise BenchmarkError(
            f"cc cannot compile {name}.c: {done.stderr.strip().rpartition(chr(10))[2]}"
        )
    return target


def build(directory: Path) -> Programs:
    """Compile both into a directory.

    :raises BenchmarkError: there is no C compiler, or it fails.
    """
    if shutil.which("cc") is None:
        raise BenchmarkError("there is no C compiler: install one that is called cc")
    return Programs(_compile("load", directory), _compile("floor", directory))


def make_certificate(directory: Path) -> tuple[str, str]:
    """A certificate for localhost, valid for a day, and its key (ECDSA P-256): two files."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    now = datetime.now(timezone.utc)
    builder = x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
    valid = builder.not_valid_before(now - timedelta(hours=1)).not_valid_after(
        now + timedelta(days=1)
    )
    pem = serialization.Encoding.PEM
    kind, plain = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    (directory / "cert.pem").write_bytes(valid.sign(key, hashes.SHA256()).public_bytes(pem))
    (directory / "key.pem").write_bytes(key.private_bytes(pem, kind, plain))
    return str(directory / "cert.pem"), str(directory / "key.pem")


def prepare(directory: Path) -> None:
    """Set up this process, and with it all that it starts.

    :param directory: where Python keeps what it compiles, so that the second start of a
        server is as fast as that of an installed one.
    """
    os.sched_setaffinity(0, processors()[0])
    os.environ["PYTHONPYCACHEPREFIX"] = str(directory / "compiled")


def allow_descriptors() -> int:
    """Raise the limit of open files, for the servers too, as far as allowed; give it."""
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    return most
