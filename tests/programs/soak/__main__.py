"""Write the output in ``docs/soak.md``: ``python -m tests.programs.soak --write-docs``."""

from __future__ import annotations

import json
import re
import signal
import sys
import tempfile
import textwrap
import time
from pathlib import Path

from tests.programs.soak.haproxy import HAProxy, SoakProcess, haproxy_before
from tests.support.process import ROOT, Serving, serving_alone

_DOCUMENT = ROOT / "docs" / "soak.md"
_COMMAND = "echosvc soak lb.example:9000 --connections 4 --marks marks"
_WIDTH = 100


def _run() -> tuple[list[str], dict[str, object]]:
    """The lines that a soak printed, and the event of a gap."""
    with (
        serving_alone("--log", "quiet", "--prefix", "v1 ") as old,
        serving_alone("--log", "quiet", "--prefix", "v2 ") as new,
        haproxy_before(old.port) as proxy,
        tempfile.TemporaryDirectory() as directory,
    ):
        marks = Path(directory) / "marks"
        words = ("--connections", "4", "--marks", str(marks))
        soak = SoakProcess(proxy.port, Path(directory), words)
        try:
            _upgrade(soak, proxy, new, marks)
        finally:
            soak.close()
        gap = soak.events("gap")[0]
        return [_named(line, proxy.port) for line in soak.lines], _renamed(gap, proxy.port)


def _upgrade(soak: SoakProcess, proxy: HAProxy, new: Serving, marks: Path) -> None:
    soak.wait_for("open", 4)
    _mark(soak, marks, "reload of HAProxy")
    proxy.reload()
    time.sleep(1)  # a second without a gap
    _mark(soak, marks, "kill -9, and v2 behind it")
    proxy.use(new.port)
    proxy.kill()
    proxy.start_and_wait()
    soak.wait_for("outage", 1)
    _mark(soak, marks, "v2 stands still")
    new.signal(signal.SIGSTOP)
    soak.wait_for("gap-began", 8)
    new.signal(signal.SIGCONT)
    soak.wait_for("outage", 2)
    soak.finish()


def _mark(soak: SoakProcess, marks: Path, name: str) -> None:
    before = len(soak.events("mark"))
    with marks.open("a") as file:
        file.write(f"{name}\n")
    soak.wait_for("mark", before + 1)


def _named(text: str, port: int) -> str:
    """The same with the name of a server, and no port that was free by chance."""
    text = re.sub(r"tcp:127\.0\.0\.1:\d+", "lb.example:9000", text)
    text = text.replace(f"127.0.0.1:{port}", "192.0.2.7:9000")
    return text.replace("127.0.0.1:", "198.51.100.4:")


def _renamed(gap: dict[str, object], port: int) -> dict[str, object]:
    named = {name: _named(each, port) for name, each in gap.items() if isinstance(each, str)}
    return {**gap, **named}


def _wrapped(line: str) -> str:
    """A line, cut where a terminal cuts it."""
    return "\n".join(textwrap.wrap(line, _WIDTH, subsequent_indent=" " * 6)) if line else line


def _replace(document: str, name: str, language: str, text: str) -> str:
    part = f"<!-- begin {name} -->\n```{language}\n{text}\n```\n<!-- end {name} -->"
    pattern = f"<!-- begin {name} -->.*?<!-- end {name} -->"
    return re.sub(pattern, lambda _: part, document, flags=re.DOTALL)


def main() -> None:
    """Run the soak, and write what it printed into the document."""
    if sys.argv[1:] != ["--write-docs"]:
        raise SystemExit(__doc__)
    lines, gap = _run()
    shown = "\n".join([f"$ {_COMMAND}", *map(_wrapped, lines)])
    document = _replace(_DOCUMENT.read_text("utf-8"), "upgrade", "text", shown)
    document = _replace(document, "gap", "json", json.dumps(gap, indent=2))
    _DOCUMENT.write_text(document, "utf-8")


if __name__ == "__main__":
    main()
