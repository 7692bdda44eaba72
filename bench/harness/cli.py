"""Arguments, and the order of things."""

import argparse
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from . import install, machine, report
from .paths import BENCH
from .servers import FAMILIES, SERVERS
from .session import Session, say
from .suites import SUITES
from .supplies import Supplies

BAR_MISSED = 1
FAILED = 2


def main() -> int:
    """Runs what the arguments ask for; 1 when a bar was missed, 2 when nothing could be said."""
    options = _arguments()
    machine.raise_file_limit()
    if machine.load() > machine.BUSY:
        say(f"the machine is busy (load {machine.load():.1f}): figures will vary")
    try:
        if not options.no_build:
            _build(options.only or FAMILIES)
        return _measure(options)
    except (OSError, ValueError, install.InstallError, subprocess.SubprocessError) as error:
        say(str(error))
        return FAILED


def _build(families: Sequence[str]) -> None:
    """Everything first: a build between two runs would disturb the second, and one that fails
    would cost those before it."""
    install.cargo("tidings-bench")
    for build in dict.fromkeys(server.build for server in SERVERS if server.family in families):
        build()


def _measure(options: argparse.Namespace) -> int:
    load = machine.load()
    with tempfile.TemporaryDirectory(prefix="tidings-bench-") as folder:
        families = frozenset(options.only or FAMILIES)
        session = Session(options.rounds, options.seconds, families, Supplies(Path(folder)))
        SUITES[options.suite].measure(session)
    return _finish(session, options, load)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="bench/run",
        description="Measures Tidings beside its peers, in turn, on this machine.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="\n".join(f"  {name:16} {suite.about}" for name, suite in SUITES.items()),
    )
    parser.add_argument("suite", choices=SUITES, metavar="SUITE", help="what to measure; see below")
    parser.add_argument("--rounds", type=int, default=5, help="times each is run (default 5)")
    parser.add_argument(
        "--seconds", type=float, default=10, help="length of a measurement (default 10; at least 5)"
    )
    parser.add_argument(
        "--only", action="append", choices=FAMILIES, help="this server only; may be given again"
    )
    parser.add_argument("--no-build", action="store_true", help="use what was built before")
    parser.add_argument("--out", type=Path, default=BENCH / "results", help="folder for the report")
    options = parser.parse_args()
    if options.rounds < 1 or options.seconds <= 0:
        parser.error("--rounds and --seconds must be positive")
    return options


def _finish(session: Session, options: argparse.Namespace, load: float) -> int:
    """Prints and writes what was found."""
    facts = {
        "measured": f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC, {options.rounds} rounds in turn,"
        " median (least–most)",
        "command": f"`{shlex.join(['bench/run', *sys.argv[1:]])}`",
        "machine": f"{machine.describe()}; load {load:.1f} before",
        **({"build": "none; the programs may be older than this tree"} if options.no_build else {}),
        **session.versions,
    }
    name = f"{options.suite}-{datetime.now(UTC):%Y%m%dT%H%M%SZ}"
    text = report.markdown(session, facts, f"{name}.svg")
    print(text)
    say(f"written to {report.save(session, options.out, name, text)}")
    return 0 if report.is_met(session) else BAR_MISSED
