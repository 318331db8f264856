"""Certificates for a server and a client on the loopback, made by openssl for one test run."""

import shutil
import ssl
import subprocess
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Certificates:
    """An authority, a server certificate for 127.0.0.1 and a client certificate, as PEM files."""

    folder: Path

    @property
    def authority(self) -> Path:
        return self.folder / "ca.crt"

    def certificate(self, name: str) -> Path:
        return self.folder / f"{name}.crt"

    def key(self, name: str) -> Path:
        return self.folder / f"{name}.key"

    def server_context(self) -> ssl.SSLContext:
        """Return what a server uses that speaks only with clients of the same authority."""
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=self.authority)
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_cert_chain(self.certificate("server"), self.key("server"))
        return context


def make_certificates(folder: Path) -> Certificates:
    """Make an authority and two certificates that it signed, good for a day."""
    made = Certificates(folder)
    key = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "1")
    _openssl(
        "req", "-x509", *key, "-subj", "/CN=test authority",
        "-keyout", str(made.key("ca")), "-out", str(made.authority),
    )  # fmt: skip
    for name, extension in (
        ("server", "subjectAltName=IP:127.0.0.1"),
        ("client", "extendedKeyUsage=clientAuth"),
    ):
        _openssl(
            "req", "-x509", *key, "-subj", f"/CN={name}", "-addext", extension,
            "-addext", "basicConstraints=critical,CA:FALSE",
            "-CA", str(made.authority), "-CAkey", str(made.key("ca")),
            "-keyout", str(made.key(name)), "-out", str(made.certificate(name)),
        )  # fmt: skip
    return made


def _openssl(*arguments: str) -> None:
    path = shutil.which("openssl")
    assert path is not None, "openssl is missing: apt-get install it (make test does it for root)"
    done = subprocess.run(
        [path, *arguments], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
