"""A certificate for the TLS scripts beside this file, made for each run."""

from datetime import datetime, timedelta, timezone

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from twisted.internet import ssl


def server_options():
    """Give a server's ``CertificateOptions``, self-signed and otherwise by default."""
    key, now = ec.generate_private_key(ec.SECP256R1()), datetime.now(timezone.utc)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(name)
    builder = builder.public_key(key.public_key()).serial_number(1)
    builder = builder.not_valid_before(now - timedelta(1)).not_valid_after(now + timedelta(1))
    return ssl.CertificateOptions(privateKey=key, certificate=builder.sign(key, hashes.SHA256()))


def trusting(options):
    """Give what a client is set up with that trusts the certificate of such options."""
    pem = options.certificate.public_bytes(serialization.Encoding.PEM)
    return ssl.trustRootFromCertificates([ssl.Certificate.loadPEM(pem)])
