"""Environments: ``nox`` runs the tests on each Python that is there, with two Twisteds.

``nox -s lint`` checks style and types, ``nox -s benchmarks`` measures. Options after ``--`` go to
pytest, or to the benchmarks.
"""

import configparser

import nox

nox.options.sessions = ["tests"]
#: A Python that is not installed is left out, and named.
nox.options.error_on_missing_interpreters = False

PYTHONS = ["3.10", "3.11", "3.12", "3.13", "3.14"]


def lowest_twisted() -> str:
    """Return the requirement of exactly the oldest Twisted that ``setup.cfg`` allows."""
    settings = configparser.ConfigParser()
    settings.read("setup.cfg", "utf-8")
    lines = settings["options"]["install_requires"].splitlines()
    (requirement,) = [line.strip() for line in lines if line.startswith("Twisted")]
    return requirement.replace(">=", "==")


@nox.session(python=PYTHONS)
@nox.parametrize("twisted", ["lowest", "latest"], ids=["lowest", "latest"])
def tests(session: nox.Session, twisted: str) -> None:
    """The test suite, its branch coverage measured."""
    session.install("--upgrade", "-e", ".[test]")
    if twisted == "lowest":
        session.install(lowest_twisted())
    session.run("coverage", "run", "-m", "pytest", "-n", "4", *session.posargs)
    if not session.posargs:  # of a part of the tests the coverage says nothing
        session.run("coverage", "combine", "-q")
        session.run("coverage", "report")


@nox.session
def lint(session: nox.Session) -> None:
    """Style, types, and the written parts of the documents."""
    session.install("-e", ".[dev]")
    session.run("ruff", "check", ".")
    session.run("ruff", "format", "--check", ".")
    session.run("mypy")
    session.run("mypy", "--strict", "benchmarks")
    session.run("python", "-m", "tests.architecture")


@nox.session
def benchmarks(session: nox.Session) -> None:
    """What the service costs, beside other servers; needs a C compiler called cc."""
    session.install(".", "uvloop")
    session.run("python", "-m", "benchmarks", *session.posargs)
