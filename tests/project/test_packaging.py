"""What is installed: the built wheel, alone, from another directory."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

import pytest

from tests.support.process import ROOT
from tests.support.waiting import LIMIT

pytestmark = pytest.mark.slow  # a wheel is built, and an environment for it

_LIST = (
    "from twisted.plugin import getPlugins; from twisted.application.service import IServiceMaker;"
    " print([m.tapname for m in getPlugins(IServiceMaker)].count('echosvc'))"
)
_IMPORT_ALL = (
    "import importlib, pkgutil, echosvc; print(echosvc.__file__);"
    " [print(importlib.import_module(m.name).__name__) for m in"
    " pkgutil.walk_packages(echosvc.__path__, 'echosvc.')];"
    " import twisted.plugins.echosvc_plugin"
)
_PLUGIN_LOADS = (
    "import sys, twisted.application.reactors, twisted.application.service;"
    " before = {*sys.modules}; import twisted.plugins.echosvc_plugin;"
    " print(*sorted({*sys.modules} - before))"
)


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A fresh environment with the wheel in it; gives its Python.

    What the wheel depends on comes from this environment, without its ``.pth`` files
    and so without this checkout.
    """
    place = tmp_path_factory.mktemp("wheel")
    source = place / "source"
    shutil.copytree(
        ROOT, source, ignore=shutil.ignore_patterns(".*", "build", "*.egg-info", "__pycache__")
    )
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    subprocess.run(
        [*pip, "wheel", "--no-deps", "--no-build-isolation", "-w", str(place), str(source)],
        check=True, timeout=4 * LIMIT,
    )  # fmt: skip
    (wheel,) = place.glob("echosvc-*.whl")
    venv.create(place / "venv")
    python = place / "venv" / "bin" / "python"
    subprocess.run(
        [*pip, f"--python={python}", "install", "--no-deps", "--no-index", str(wheel)],
        check=True, timeout=4 * LIMIT,
    )  # fmt: skip
    return python


def run(python: Path, *words: str) -> str:
    environment = {**os.environ, "PYTHONPATH": sysconfig.get_path("purelib")}
    done = subprocess.run(
        [str(python), *words],
        capture_output=True, text=True, timeout=LIMIT, env=environment, cwd=python.parent,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_every_module_can_be_imported_from_the_wheel(installed: Path) -> None:
    where, *imported = run(installed, "-c", _IMPORT_ALL).splitlines()
    assert Path(where).is_relative_to(installed.parent.parent)
    files = (path.relative_to(ROOT) for path in (ROOT / "echosvc").rglob("*.py"))
    modules = {".".join(path.with_suffix("").parts).removesuffix(".__init__") for path in files}
    assert {"echosvc", *imported} == modules


def test_the_plugin_is_found_exactly_once(installed: Path) -> None:
    assert run(installed, "-c", _LIST).strip() == "1"


def test_the_plugin_of_this_checkout_is_found_exactly_once(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", _LIST], capture_output=True, text=True, timeout=LIMIT, cwd=tmp_path
    )
    assert done.stdout.strip() == "1"


def test_the_plugin_imports_no_service() -> None:
    """Every start of ``twistd`` imports it, whatever is started."""
    loaded = run(Path(sys.executable), "-c", _PLUGIN_LOADS).split()
    ours = {
        "echosvc", "echosvc._lazy", "echosvc._version",
        "echosvc.cli", "echosvc.cli.standard_descriptors",
    }  # fmt: skip
    assert {name for name in loaded if name.startswith("echosvc")} == ours
    assert not {"twisted.internet.reactor", "OpenSSL", "ssl"} & {*loaded}


def test_the_console_script_is_there_and_says_its_version(installed: Path) -> None:
    from echosvc import __version__

    script = installed.parent / "echosvc"
    assert run(installed, str(script), "--version") == f"echosvc {__version__}\n"


def test_the_wheel_says_that_it_is_typed(installed: Path) -> None:
    assert list(installed.parent.parent.glob("lib/*/site-packages/echosvc/py.typed"))
    assert not list(installed.parent.parent.glob("lib/*/site-packages/twisted/__init__.py"))
