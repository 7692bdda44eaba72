"""What is run on each server, and which figures come of it."""

from collections.abc import Callable
from dataclasses import dataclass, field

from . import load
from .servers import Floor, Server, SocketIo, Tidings


@dataclass(frozen=True)
class Figure:
    """A number to compare, taken from a report of tidings-load."""

    title: str
    of: Callable[[dict], float | None]
    digits: int = 2


@dataclass(frozen=True)
class Bar:
    """A promise about Tidings: a figure, as such or as a ratio to a peer's, stays below a limit."""

    title: str
    figure: Figure
    at_most: float
    against: str | None = None


@dataclass(frozen=True)
class Scenario:
    """One load, on several servers."""

    title: str
    command: str
    servers: tuple[type[Server], ...]
    figures: tuple[Figure, ...]
    bars: tuple[Bar, ...] = ()
    options: dict[str, object] = field(default_factory=dict)

    def run(self, server: Server) -> dict:
        """One round on a server that serves."""
        flags = [part for name, value in self.options.items() for part in (f"--{name}", value)]
        return load.run(server, self.command, *flags)


def quantile(group: str, name: str) -> Callable[[dict], float | None]:
    """A quantile in milliseconds, where there is one."""
    return lambda report: report[group] and report[group][name] / 1000


CPU_PER_DELIVERY = Figure("CPU µs per delivery", lambda report: report["cpu_us_per_delivery"])
IDLE = Figure("KiB per idle connection", lambda report: report["kib_per_connection"])

FANOUT_FIGURES = (
    CPU_PER_DELIVERY,
    Figure("of it user", lambda report: report["user_us_per_delivery"]),
    Figure("p50 ms", quantile("latency_us", "p50")),
    Figure("p99 ms", quantile("latency_us", "p99")),
    Figure("p99.9 ms", quantile("latency_us", "p999")),
    Figure("emits/s", lambda report: report["emits"] / report["seconds"], 1),
    Figure("server cores", lambda report: report["server_cores"]),
    Figure("load cores", lambda report: report["load_cores"]),
)
IDLE_FIGURES = (
    IDLE,
    Figure("after a flood", lambda report: report["after_flood"]["kib_per_connection"]),
    Figure("peak", lambda report: report["after_flood"]["peak_kib_per_connection"]),
    Figure("empty MiB", lambda report: report["empty_kib"] / 1024, 1),
    Figure("CPU µs per connect", lambda report: report["connect"]["cpu_us_per_client"], 0),
)


def fanout(clients: int, rate: float, seconds: float, bars: tuple[Bar, ...] = ()) -> Scenario:
    """One room with all clients in it."""
    pace = f"{rate:g} emits/s" if rate else "emits as fast as it goes"
    return Scenario(
        f"{clients:,} clients in one live room, {pace}",
        "fanout",
        (SocketIo, Tidings, Floor),
        FANOUT_FIGURES,
        bars,
        {"clients": clients, "rate": rate, "seconds": seconds},
    )


def idle(clients: int, bars: tuple[Bar, ...] = ()) -> Scenario:
    """Clients that say nothing."""
    return Scenario(
        f"{clients:,} idle WebSocket clients",
        "idle",
        (SocketIo, Tidings),
        IDLE_FIGURES,
        bars,
        {"clients": clients},
    )


def suites(seconds: float) -> dict[str, list[Scenario]]:
    """What `bench/run NAME` runs."""
    half = Bar("CPU per delivery, of Socket.IO's", CPU_PER_DELIVERY, 0.5, SocketIo.name)
    memory = Bar("KiB per idle connection", IDLE, 12.0)
    return {
        "bars": [fanout(1000, 50, seconds, (half,)), idle(10_000, (memory,))],
        "fanout": [fanout(1000, 50, seconds), fanout(1000, 0, seconds)],
        "idle": [idle(10_000)],
    }
