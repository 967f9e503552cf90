"""The cluster's own certificate authority, and everybody's certificates and kubeconfigs."""

from __future__ import annotations

import datetime
import ipaddress
from pathlib import Path

import yaml
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

__all__ = ["Authority"]

# Controllers that insist on rotating their certificates keep a pair whose authority has these names.
_ROTATORS = ("training-operator-ca", "kueue-ca")
_Key = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey
_YEARS = datetime.timedelta(days=3650)


class Authority:
    """Signs for one cluster.

    Parameters
    ----------
    folder
        Where ``NAME.crt``, ``NAME.key`` and kubeconfigs are written.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True)
        self._key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "ca")])
        names = [x509.DNSName(rotator) for rotator in _ROTATORS]
        builder = _builder(name, self._key.public_key(), name).add_extension(
            x509.BasicConstraints(ca=True, path_length=None), critical=True
        )
        self._certificate = builder.add_extension(x509.SubjectAlternativeName(names), critical=False).sign(
            self._key, hashes.SHA256()
        )
        self._write("ca", self._certificate, self._key)
        account = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        (folder / "sa.key").write_bytes(_pem(account))

    def path(self, name: str) -> str:
        """The path of a file."""
        return str(self.folder / name)

    def sign(
        self, name: str, common: str, group: str = "", *, names: tuple[str, ...] = ()
    ) -> tuple[str, str]:
        """Certificate and key, for a client and a server; ``names`` are DNS names and addresses."""
        if not (self.folder / f"{name}.crt").exists():
            key = ec.generate_private_key(ec.SECP256R1())
            words = [x509.NameAttribute(NameOID.COMMON_NAME, common)]
            if group:
                words.insert(0, x509.NameAttribute(NameOID.ORGANIZATION_NAME, group))
            uses = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.SERVER_AUTH])
            builder = _builder(x509.Name(words), key.public_key(), self._certificate.subject)
            builder = builder.add_extension(uses, critical=False)
            if names:
                given = x509.SubjectAlternativeName([_name(text) for text in names])
                builder = builder.add_extension(given, critical=False)
            self._write(name, builder.sign(self._key, hashes.SHA256()), key)
        return self.path(f"{name}.crt"), self.path(f"{name}.key")

    def kubeconfig(self, name: str, common: str, group: str, server: str) -> str:
        """The path of a kubeconfig."""
        certificate, key = self.sign(name, common, group)
        config = {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "c",
            "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
            "clusters": [
                {"name": "c", "cluster": {"server": server, "certificate-authority": self.path("ca.crt")}}
            ],
            "users": [{"name": "u", "user": {"client-certificate": certificate, "client-key": key}}],
        }
        file = self.folder / f"{name}.kubeconfig"
        file.write_text(yaml.safe_dump(config), encoding="utf-8")
        return str(file)

    def _write(
        self, name: str, certificate: x509.Certificate, key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey
    ) -> None:
        (self.folder / f"{name}.crt").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        (self.folder / f"{name}.key").write_bytes(_pem(key))


def _builder(
    subject: x509.Name, key: rsa.RSAPublicKey | ec.EllipticCurvePublicKey, issuer: x509.Name
) -> x509.CertificateBuilder:
    now = datetime.datetime.now(datetime.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + _YEARS)
    )


def _name(text: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(text))
    except ValueError:
        return x509.DNSName(text)


def _pem(key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(  # rotators read nothing but this form
        serialization.Encoding.PEM,
        serialization.PrivateFormat.TraditionalOpenSSL,
        serialization.NoEncryption(),
    )
