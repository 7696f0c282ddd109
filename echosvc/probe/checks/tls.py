"""Probe of the TLS session: version, cipher, certificates."""

from __future__ import annotations

from datetime import datetime, timezone
from typing import Any

from OpenSSL import SSL

from echosvc._text import quote
from echosvc.probe.checks.registry import probe
from echosvc.probe.engine.findings import Failed, Finding, Skipped
from echosvc.probe.engine.path import Path


@probe("tls", order=120, summary="version, cipher, certificates, days left (tls: endpoints)")
async def tls_session(path: Path) -> Finding:
    """Report the version, cipher and certificates of TLS."""
    if not path.context.encrypted:
        raise Skipped("no TLS: the endpoint is not of the kind tls:")
    client = (await path.connect()).client
    tls: SSL.Connection = client.transport.getHandle()  # type: ignore[attr-defined]
    version, cipher = tls.get_protocol_version_name(), tls.get_cipher_name()
    try:
        subjects, ends = _chain(tls)
    except (ValueError, TypeError):  # an authority may have signed what is no text
        raise Failed(f"{version}, {cipher}: a certificate cannot be read") from None
    if not subjects:
        return Finding(f"{version}, {cipher}, no certificate", info=True)
    days = int((min(ends) - datetime.now(timezone.utc)).total_seconds() // 86400)
    names = " < ".join(subjects)
    facts: dict[str, Any] = {"version": version, "cipher": cipher, "days_left": days}
    facts["chain"] = [subject[1:-1] for subject in subjects]
    if days < 0:
        raise Failed(
            f"{version}, {cipher}: a certificate of {names} ended {-days} days ago", facts=facts
        )
    return Finding(f"{version}, {cipher}, {names}, {days} days left", facts=facts)


def _chain(connection: SSL.Connection) -> tuple[list[str], list[datetime]]:
    """Return subjects and ends of validity of the peer's certificates.

    :raises ValueError: one cannot be read.
    """
    chain = connection.get_peer_cert_chain(as_cryptography=True) or []
    subjects = [quote(each.subject.rfc4514_string().encode()) for each in chain]
    return subjects, [each.not_valid_after_utc for each in chain]
