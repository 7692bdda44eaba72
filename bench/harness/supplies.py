"""What servers are given beyond their defaults: certificates and sessions, made once for all runs.

A scenario says by a Setup what it needs; the same files then serve every server, so that all
authenticate the same users and all show the same certificate.
"""

import json
import secrets
import subprocess
from dataclasses import dataclass
from functools import cache
from pathlib import Path


@dataclass(frozen=True)
class Setup:
    """What a scenario asks of its servers."""

    # Clients come over TLS.
    tls: bool = False
    # Clients must have a session; there are so many.
    sessions: int = 0


@dataclass(frozen=True)
class Certificates:
    """PEM files: the authority, which clients trust, and what a server shows."""

    authority: Path
    chain: Path
    key: Path


class Supplies:
    """Makes each thing when it is first asked for."""

    def __init__(self, folder: Path):
        self.folder = folder

    @cache  # noqa: B019  (there is one for the whole run)
    def certificates(self) -> Certificates:
        """An authority and a certificate for 127.0.0.1 and localhost that it has signed."""
        made = Certificates(*(self.folder / name for name in ("ca.pem", "chain.pem", "key.pem")))
        new_key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "30"]
        authority_key = self.folder / "ca-key.pem"
        _openssl(
            *new_key, "-subj", "/CN=tidings bench", "-keyout", authority_key,
            "-out", made.authority,
        )  # fmt: skip
        _openssl(
            *new_key, "-subj", "/CN=localhost", "-keyout", made.key, "-out", made.chain,
            "-CA", made.authority, "-CAkey", authority_key,
            "-addext", "basicConstraints=critical,CA:FALSE",
            "-addext", "subjectAltName=IP:127.0.0.1,DNS:localhost",
        )  # fmt: skip
        return made

    @cache  # noqa: B019
    def sessions(self, count: int) -> Path:
        """A file with a line of `{"sessionID", "userId"}` for each client."""
        path = self.folder / f"sessions-{count}.ndjson"
        lines = (
            json.dumps({"sessionID": secrets.token_urlsafe(18), "userId": f"user-{number}"})
            for number in range(count)
        )
        path.write_text("".join(f"{line}\n" for line in lines))
        return path


def _openssl(*options: object) -> None:
    command = ["openssl", "req", "-x509", *map(str, options)]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode != 0:
        raise OSError(f"openssl failed: {done.stderr.strip()}")
