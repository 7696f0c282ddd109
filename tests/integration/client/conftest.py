"""What the tests of the client start with."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.process import Server, running
from tests.support.tls_files import Files


@pytest.fixture(params=["tcp", "unix"])
def where(request: pytest.FixtureRequest, sockets: Path) -> str:
    return "tcp" if request.param == "tcp" else f"{sockets}/s"


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Files:
    made = Files(tmp_path_factory.mktemp("reaching"))
    made.write("root.pem", made.root, key=False)
    made.write("names/a.pem", made.of_server("localhost"))
    made.write("names/b.pem", made.of_server("other.example"))
    return made


@pytest.fixture(scope="module")
def server(files: Files) -> Iterator[Server]:
    """It has one certificate for localhost and one for other.example; any client may come."""
    with running("--listen", f"tls:{files.place}/names:0:interface=127.0.0.1") as it:
        yield it
