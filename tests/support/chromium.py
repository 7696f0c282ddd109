"""A page in headless Chromium: what a browser makes of it, and what it complains about."""

from __future__ import annotations

import re
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

from tests.support.process import need
from tests.support.waiting import LIMIT

#: Nothing is loaded from the net, kept, or reported.
_QUIET = (
    "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-extensions",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
    "--disable-quic", "--hide-scrollbars", "--enable-logging=stderr", "--log-level=0",
)  # fmt: skip
#: What Chromium's setting ``preferredColorScheme`` means.
SCHEMES = {"dark": 0, "light": 1}
_COMPLAINT = re.compile(r"CONSOLE(?:\(\d+\)|:\d+)?\][^\n]*")
#: Does what a reader could not: it writes into the page what the browser made of it.
_MEASURE = """<script>
const style = getComputedStyle(document.body), found = {};
found.ground = style.backgroundColor;
found.wide = document.documentElement.scrollWidth > innerWidth;
found.pictures = [...document.querySelectorAll('svg[role=img]')].map(
  each => Math.round(each.getBoundingClientRect().height));
found.lines = [...document.querySelectorAll('path.series')].filter(
  each => each.getTotalLength() > 0 && getComputedStyle(each).stroke != 'none').length;
found.open = document.querySelectorAll('details[open]').length;
document.documentElement.setAttribute('data-found', JSON.stringify(found));
</script>"""


@dataclass(frozen=True)
class Shown:
    """What Chromium made of a page.

    :ivar document: the page after it was loaded.
    :ivar complaints: what it wrote to its console.
    """

    document: str
    complaints: list[str]


def show(page: str, *options: str, scheme: str = "light", width: int = 1000) -> Shown:
    """Load a page, and return what became of it."""
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory, "page.html")
        path.write_text(page, "utf-8")
        done = _run(directory, path, "--dump-dom", *options, scheme=scheme, size=(width, 800))
    document = done.stdout.strip()
    return Shown(document, _COMPLAINT.findall(done.stderr))


def measure(page: str, scheme: str = "light", width: int = 1000) -> str:
    """Return the measures of a page as JSON, taken by a script that the page forbids."""
    policy = re.compile(r'<meta http-equiv="Content-Security-Policy"[^>]*>')
    shown = show(
        policy.sub("", page).replace("</body>", f"{_MEASURE}</body>"), scheme=scheme, width=width
    )
    found = re.search(r'data-found="([^"]*)"', shown.document)
    assert found is not None, shown
    return found[1].replace("&quot;", '"')


def take_picture(page: Path, picture: Path, size: tuple[int, int], scheme: str = "light") -> None:
    """Write a picture of a page, PNG."""
    with tempfile.TemporaryDirectory() as directory:
        _run(directory, page, f"--screenshot={picture}", scheme=scheme, size=size)
    assert picture.stat().st_size > 0


def _run(
    profile: str, page: Path, *options: str, scheme: str, size: tuple[int, int]
) -> subprocess.CompletedProcess[str]:
    command = [
        need("chromium"), *_QUIET, f"--user-data-dir={profile}/profile",
        f"--blink-settings=preferredColorScheme={SCHEMES[scheme]}",
        f"--window-size={size[0]},{size[1]}", *options, page.as_uri(),
    ]  # fmt: skip
    return subprocess.run(command, capture_output=True, text=True, timeout=6 * LIMIT, check=True)
