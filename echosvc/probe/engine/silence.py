"""Why nothing came, as far as the own kernel knows. No I/O, no Twisted."""

from __future__ import annotations

from typing import TypeVar

from echosvc.probe.engine.fault import FaultKind
from echosvc.probe.engine.findings import Failed
from echosvc.probe.engine.tcp_info import Stall, TCPInfo, describe_stall

_Failed = TypeVar("_Failed", bound=Failed)


def explain_by_kernel(failed: _Failed, info: TCPInfo | None, soft_error: str = "") -> _Failed:
    """Return a failure with what the kernel knows of its connection.

    That a message was acknowledged says nothing of what the server made of it, so there the cause
    stays if one is known. Bytes that came wrong have a cause of their own, too.

    :param info: of the moment at which it failed; ``None``: the kernel knows nothing.
    :param soft_error: in words, that the kernel noted while it went on trying, such as an ICMP
        message.
    """
    if info is not None:
        failed.facts = {**failed.facts, "tcp": info.facts}
    fault = failed.fault
    if failed.end != "silence" or (fault is not None and fault.kind is not FaultKind.CUT):
        return failed
    if soft_error:
        failed.facts["soft_error"] = soft_error.partition(" ")[0]
        failed.cause = f"packets of ours are refused on the way, by ICMP: {soft_error}"
    elif info is not None and (info.stall is not Stall.TAKEN or fault is not None):
        failed.cause = describe_stall(info) or failed.cause
    return failed
