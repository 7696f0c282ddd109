"""Probe of the address that the server sees."""

from __future__ import annotations

from echosvc._text import quote
from echosvc.net.hosts import is_address, split_host_port
from echosvc.probe.checks.registry import probe
from echosvc.probe.engine.findings import Failed, Finding, Skipped
from echosvc.probe.engine.path import Path
from echosvc.wire.prefix_matching import prefix_pattern
from echosvc.wire.template import Template


@probe("proxy", order=130, summary="the server sees our address (needs {peer} in its prefix)")
async def proxy(path: Path) -> Finding:
    """Check that the server sees our own address."""
    connection = await path.open()
    template, ours = path.settings.prefix, connection.client.local
    if not connection.client.is_tcp:
        raise Skipped("this transport has no addresses that a header could name")
    if template is None or not any(getattr(part, "name", "") == "peer" for part in template.parts):
        if ours.encode() in connection.prefix:
            return Finding(f"the server sees us as we are: {ours}")
        raise Skipped("needs a server whose prefix has {peer}, and the same --prefix here")
    seen = _address_seen(template, connection.prefix)
    if seen != ours:
        raise Failed(
            f"the server sees {seen}, and we are {ours}",
            "a middlebox connects from its own address: it sends no PROXY header, or the"
            " server does not read it; or addresses are translated (NAT)",
            facts={"seen": seen, "local": ours},
        )
    return Finding(f"the server sees us as we are: {ours}", facts={"seen": seen})


def _address_seen(template: Template, prefix: bytes) -> str:
    """Return the address that the server has put into its prefix.

    :raises Failed: what stands there is none.
    """
    found = prefix_pattern(template).match_whole(prefix)
    seen = found.values()["peer"] if found else ""
    parts = split_host_port(seen)
    if parts is not None and is_address(parts[0]):
        return seen
    raise Failed(
        f"the server's prefix {quote(prefix)} has no address where --prefix has {{peer}}",
        "--prefix does not fit the server's: give both the same, with {peer} in it",
        facts={"prefix": quote(prefix)[1:-1]},
    )
