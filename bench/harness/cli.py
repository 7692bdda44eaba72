"""Arguments, build, and the order of things."""

import argparse
import shlex
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

from . import machine, report
from .load import Invalid
from .paths import BENCH, ROOT
from .scenarios import Scenario, suites
from .servers import SERVERS, StartError

BAR_MISSED = 1
FAILED = 2


def main() -> int:
    """Runs what the arguments ask for; 1 when a bar was missed, 2 when nothing could be said."""
    options = _arguments()
    scenarios = suites(options.seconds)[options.suite]
    servers = [SERVERS[name] for name in options.only or SERVERS]
    machine.raise_file_limit()
    if machine.load() > machine.BUSY:
        _say(f"the machine is busy (load {machine.load():.1f}): figures will vary")
    try:
        if not options.no_build:
            _build(servers)
        load = machine.load()
        versions: dict[str, str] = {}
        results = [
            _measure(scenario, servers, options.rounds, versions) for scenario in scenarios
        ]
    except (Invalid, StartError, OSError, subprocess.SubprocessError) as error:
        _say(str(error))
        return FAILED
    facts = {
        "measured": f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC, {options.rounds} rounds in turn,"
        " median (least–most)",
        "command": f"`{shlex.join(['bench/run', *sys.argv[1:]])}`",
        "machine": f"{machine.describe()}; load {load:.1f} before",
        **versions,
    }
    text, met = report.markdown(results, facts)
    print(text)
    name = f"{options.suite}-{datetime.now(UTC):%Y%m%dT%H%M%SZ}"
    _say(f"written to {report.save(options.out, name, text, results)}")
    return 0 if met else BAR_MISSED


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="bench/run", description="Measures Tidings beside its peers, in turn, on this machine."
    )
    parser.add_argument("suite", choices=suites(0), help="what to measure")
    parser.add_argument("--rounds", type=int, default=5, help="times each is run (default 5)")
    parser.add_argument(
        "--seconds", type=float, default=10, help="length of a fan-out (default 10; at least 5)"
    )
    parser.add_argument(
        "--only", action="append", choices=SERVERS, help="this server only; may be given again"
    )
    parser.add_argument("--no-build", action="store_true", help="use what was built before")
    parser.add_argument(
        "--out", type=Path, default=BENCH / "results", help="folder for the report"
    )
    options = parser.parse_args()
    if options.rounds < 1 or options.seconds <= 0:
        parser.error("--rounds and --seconds must be positive")
    return options


def _build(servers: list) -> None:
    subprocess.run(
        ["cargo", "build", "--release", "-p", "tidings-bench"], cwd=ROOT, check=True
    )
    for server in servers:
        server.build()


def _measure(
    scenario: Scenario, servers: list, rounds: int, versions: dict[str, str]
) -> report.Result:
    """All rounds; each starts with another server, so that no one always has the warmer machine."""
    chosen = [server for server in scenario.servers if server in servers]
    reports: dict[str, list[dict]] = {server.name: [] for server in chosen}
    for number in range(rounds):
        first = number % len(chosen)
        for server_class in chosen[first:] + chosen[:first]:
            with server_class() as server:
                found = scenario.run(server)
                versions[server.name] = server.version
            reports[server.name].append(found)
            figure = scenario.figures[0]
            _say(
                f"{scenario.title}, round {number + 1}/{rounds}, {server.name}:"
                f" {figure.of(found):.{figure.digits}f} {figure.title}"
            )
    return report.Result(scenario, reports)


def _say(text: str) -> None:
    print(f"bench: {text}", file=sys.stderr)
