"""The rack's own certificate authority: who may talk to a closed broker, and who may no longer.

Theory of operation: a directory on the master holds all of it. `ca.key` is the authority and stays there;
`ca.pem` is what everybody checks with; `issued/NAME.pem` is the certificate that a name has now; `crl.pem`
lists what was revoked. The private key of a name is given out and not kept. The broker takes the name in
a certificate for the user's, and the access list says what that user may do, so a name is all that there
is to a right. Each file is written under another name first and renamed, so that a power cut leaves the
old one or the new one.

A Pi has no clock of its own, and at its first boot may believe that it is years ago. A certificate that is
not valid yet would keep it from the broker, and NTP may be on the far side of the same network; so all
begin at a time in the past, and last for as long as the rack will. Keys are on the curve P-256: a handshake
of a node signs once, and `openssl speed ecdsap256 rsa2048` shows what that costs a small processor.
"""

import datetime
import ipaddress
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from rackberry.topics import check_id

BEGINS = datetime.datetime(2020, 1, 1, tzinfo=datetime.UTC)
YEARS = 20
_HOST = re.compile(r"[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?(\.[A-Za-z0-9-]{1,63})*")
BROKER = "broker"
"""The one name that others connect to; all others are who connects."""


class AuthorityError(RuntimeError):
    """Something cannot be issued or revoked; the message says why and what to do."""


@dataclass(frozen=True, slots=True)
class Issued:
    """A certificate that was just made, in PEM, with the key that is nowhere else."""

    name: str
    until: datetime.date
    certificate: str
    key: str


class Authority:
    """The authority in `directory`.

    Args:
        directory: where its files are, or shall be.
        today: the date from which the years count.
        begin: make one when there is none.

    Raises:
        AuthorityError: when the directory cannot be used, or holds none, or something else.
    """

    def __init__(self, directory: Path, today: datetime.date, *, begin: bool = True) -> None:
        self._directory = directory
        self._until = datetime.datetime(today.year + YEARS, today.month, 1, tzinfo=datetime.UTC)
        self._today = datetime.datetime(today.year, today.month, today.day, tzinfo=datetime.UTC)
        try:
            if not (directory / "ca.key").exists():
                if not begin:
                    raise AuthorityError(
                        f"there is no authority in {directory}: nothing was issued"
                    )
                (directory / "issued").mkdir(parents=True, exist_ok=True)
                self._begin()
            key = load_pem_private_key((directory / "ca.key").read_bytes(), password=None)
            self._certificate = x509.load_pem_x509_certificate(self.ca_file.read_bytes())
        except OSError as error:
            raise AuthorityError(f"{error.filename} cannot be used: {error.strerror}") from error
        except ValueError as error:
            raise AuthorityError(f"{directory} holds no authority of a rack: {error}") from error
        if not isinstance(key, ec.EllipticCurvePrivateKey):
            raise AuthorityError(f"{directory}/ca.key is no key on an elliptic curve")
        self._key = key
        self._until = min(self._until, _end_of(self._certificate))

    @property
    def ca_file(self) -> Path:
        """What everybody checks certificates with."""
        return self._directory / "ca.pem"

    @property
    def revoked_file(self) -> Path:
        """The list of what was revoked, which mosquitto reads at its start."""
        return self._directory / "crl.pem"

    def names(self) -> list[str]:
        """Who has a certificate, in alphabetical order."""
        return sorted(path.stem for path in (self._directory / "issued").glob("*.pem"))

    def hosts(self) -> list[str]:
        """By what the broker may be called, as its certificate says; nothing when it has none."""
        if BROKER not in self.names():
            return []
        extension = self._held(BROKER).extensions.get_extension_for_class(
            x509.SubjectAlternativeName
        )
        return [str(name.value) for name in extension.value]

    def issue(self, name: str, hosts: Sequence[str] = ()) -> Issued:
        """A certificate and its key for `name`, instead of the one that it may have.

        Args:
            name: an id; `broker` for the broker itself.
            hosts: the names and addresses by which the broker is reached; for the broker only.

        Raises:
            AuthorityError, BadIdError: as `check_request`.
        """
        called = check_request(name, hosts)
        key = ec.generate_private_key(ec.SECP256R1())
        serves = ExtendedKeyUsageOID.SERVER_AUTH if called else ExtendedKeyUsageOID.CLIENT_AUTH
        builder = self._builder(name, key).add_extension(
            x509.ExtendedKeyUsage([serves]), critical=False
        )
        if called:
            builder = builder.add_extension(x509.SubjectAlternativeName(called), critical=False)
        ours = x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key())
        certificate = builder.add_extension(ours, critical=False).sign(self._key, hashes.SHA256())
        if name in self.names():
            self.revoke(name)
        text = certificate.public_bytes(Encoding.PEM).decode()
        write(self._directory / "issued" / f"{name}.pem", text, 0o644)
        return Issued(name, self._until.date(), text, _pem(key))

    def revoke(self, name: str) -> None:
        """Put the certificate of `name` onto the list.

        Raises:
            AuthorityError: when it has none; it says who has.
        """
        if name not in self.names():
            held = ", ".join(self.names()) or "nobody"
            raise AuthorityError(f"{name} has no certificate of this authority; who has: {held}")
        certificate = self._held(name)
        entry = (
            x509.RevokedCertificateBuilder()
            .serial_number(certificate.serial_number)
            .revocation_date(self._today)
            .build()
        )
        self._write_list([*self._list(), entry])
        (self._directory / "issued" / f"{name}.pem").unlink()

    # --- files ------------------------------------------------------------------------------------

    def _begin(self) -> None:
        """A new authority: for certificates of names, and for no other authority below it."""
        self._key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "rackberry authority")])
        usage = x509.KeyUsage(
            key_cert_sign=True, crl_sign=True, digital_signature=False, content_commitment=False,
            key_encipherment=False, data_encipherment=False, key_agreement=False, encipher_only=False,
            decipher_only=False,
        )  # fmt: skip
        public = self._key.public_key()
        self._certificate = (
            x509.CertificateBuilder(subject, subject, public, x509.random_serial_number())
            .not_valid_before(BEGINS)
            .not_valid_after(self._until)
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(usage, critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
            .sign(self._key, hashes.SHA256())
        )
        write(self.ca_file, self._certificate.public_bytes(Encoding.PEM).decode(), 0o644)
        self._write_list([])
        # The key comes last: where it is, the others are.
        write(self._directory / "ca.key", _pem(self._key), 0o600)

    def _builder(self, name: str, key: ec.EllipticCurvePrivateKey) -> x509.CertificateBuilder:
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        serial = x509.random_serial_number()
        return (
            x509.CertificateBuilder(self._certificate.subject, subject, key.public_key(), serial)
            .not_valid_before(BEGINS)
            .not_valid_after(self._until)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        )

    def _held(self, name: str) -> x509.Certificate:
        return x509.load_pem_x509_certificate(
            (self._directory / "issued" / f"{name}.pem").read_bytes()
        )

    def _list(self) -> list[x509.RevokedCertificate]:
        return list(x509.load_pem_x509_crl(self.revoked_file.read_bytes()))

    def _write_list(self, revoked: Sequence[x509.RevokedCertificate]) -> None:
        # A list that is too old makes a broker refuse everybody; this one is current until the end.
        builder = (
            x509.CertificateRevocationListBuilder()
            .issuer_name(self._certificate.subject)
            .last_update(BEGINS)
            .next_update(self._until)
        )
        for entry in revoked:
            builder = builder.add_revoked_certificate(entry)
        signed = builder.sign(self._key, hashes.SHA256())
        write(self.revoked_file, signed.public_bytes(Encoding.PEM).decode(), 0o644)


def _end_of(certificate: x509.Certificate) -> datetime.datetime:
    if hasattr(certificate, "not_valid_after_utc"):
        return certificate.not_valid_after_utc
    return certificate.not_valid_after.replace(tzinfo=datetime.UTC)  # before 42, as in Debian 12


def check_request(name: str, hosts: Sequence[str] = ()) -> list[x509.GeneralName]:
    """By what the one who asks for a certificate may be called; nothing for all but the broker.

    Raises:
        AuthorityError: when the broker has no hosts, or another has, or one is no host.
        BadIdError: when the name is no id.
    """
    check_id(name)
    if name == "ca":
        raise AuthorityError("ca is the authority's own name; choose another")
    if name == BROKER and not hosts:
        raise AuthorityError(
            "the broker needs the names or addresses by which it is reached: --host NAME_OR_ADDRESS"
        )
    if name != BROKER and hosts:
        raise AuthorityError(f"{name} connects to others; only the broker is called by a host")
    return [_general_name(host) for host in hosts]


def _general_name(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        pass
    if len(host) > 253 or not _HOST.fullmatch(host):
        raise AuthorityError(
            f"{host!r} is no host: accepted are names such as pi-master or pi-master.local, and addresses"
        )
    return x509.DNSName(host)


def _pem(key: ec.EllipticCurvePrivateKey) -> str:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()


def write(path: Path, text: str, mode: int) -> None:
    """All of it or nothing; never readable by others for a moment."""
    part = path.with_name(path.name + ".part")
    part.unlink(missing_ok=True)
    with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "w") as file:
        file.write(text)
    part.rename(path)
