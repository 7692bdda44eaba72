"""Clients whose sessions an Express application keeps in MongoDB: connecting for the first time, and
again. MongoDB's own work counts as the server's."""

from ..figures import PEAK_MIB, at, quantile
from ..load import Options
from ..model import Figure, Report, Scenario, entries
from ..runners import connect
from ..servers import Server, SharedSocketIo, SharedTidings
from ..session import Session
from ..supplies import Setup

CLIENTS = 5_000
CONCURRENCY = 64

FIGURES = (
    Figure("CPU µs per connect, MongoDB's included", at("cpu_us_per_client"), 0, drawn=True),
    Figure("connects/s", lambda report: report["clients"] / report["seconds"], 0, drawn=True),
    Figure("reads of MongoDB per connect", at("reads_per_client"), 3),
    quantile("ready_us", "p50", "p50 ms"),
    quantile("ready_us", "p99", "p99 ms"),
    Figure("server cores", at("server_cores")),
    Figure("load cores", at("load_cores")),
    PEAK_MIB,
)


def suite(session: Session) -> None:
    """Sessions that nobody has asked for, then the same again."""
    session.measure(_scenario("for the first time", _cold))
    session.measure(_scenario("again", _warm))


def _scenario(when: str, runner) -> Scenario:
    return Scenario(
        f"{CLIENTS:,} clients with sessions in MongoDB connect {when}, {CONCURRENCY} at a time",
        runner,
        entries(SharedTidings, SharedSocketIo),
        FIGURES,
        options={"clients": CLIENTS, "concurrency": CONCURRENCY},
        setup=Setup(sessions=CLIENTS),
    )


def _cold(server: Server, options: Options) -> Report:
    before = server.mongo.queries()
    report = connect(server, options)
    reads = server.mongo.queries() - before
    return {**report, "reads_per_client": reads / report["clients"]}


def _warm(server: Server, options: Options) -> Report:
    connect(server, options)
    return _cold(server, options)
