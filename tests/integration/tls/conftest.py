"""Certificates and versions for the tests of TLS."""

from __future__ import annotations

import ssl
from pathlib import Path

import pytest

from tests.support.certificates import Issued, issue
from tests.support.tls_files import V12, V13, Files
from tests.support.tls_peer import context


@pytest.fixture(scope="module")
def own() -> Issued:
    return issue("localhost", "127.0.0.1")


@pytest.fixture(scope="module")
def pem(own: Issued, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("tls") / "server.pem"
    path.write_bytes(own.pem)
    return path


@pytest.fixture(params=["TLSv1.2", "TLSv1.3"])
def version(request: pytest.FixtureRequest) -> ssl.SSLContext:
    only = ssl.TLSVersion[request.param.replace(".", "_")]
    return context(minimum_version=only, maximum_version=only)


@pytest.fixture
def own_files(tmp_path: Path) -> Files:
    """Files that a test may change."""
    return Files(tmp_path)


@pytest.fixture(params=[V12, V13], ids=["1.2", "1.3"])
def only_version(request: pytest.FixtureRequest) -> ssl.TLSVersion:
    return request.param
