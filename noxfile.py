"""``nox`` runs the tests; ``nox -s benchmarks`` measures, and takes the options after ``--``."""

import nox

nox.options.sessions = ["tests"]


@nox.session
def tests(session: nox.Session) -> None:
    """The test suite, its branch coverage measured."""
    session.install("-e", ".[test]")
    session.run("coverage", "run", "-m", "pytest", *session.posargs)
    session.run("coverage", "report")


@nox.session
def benchmarks(session: nox.Session) -> None:
    """What the service costs, beside other servers; needs a C compiler called cc."""
    session.install(".", "uvloop")
    session.run("python", "-m", "benchmarks", *session.posargs)
