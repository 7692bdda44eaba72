"""The figures that reports of tidings-load hold, under the names that tables give them."""

from collections.abc import Callable

from .model import Figure, Report

# What the harness adds to each report: memory of the server after the run.
MEMORY = "server_kib"


def at(*path: str, scale: float = 1.0) -> Callable[[Report], float | None]:
    """A number in a report, or none where a part of its path is missing or null."""

    def find(report: Report) -> float | None:
        found = report
        for name in path:
            if found is None:
                return None
            found = found.get(name)
        return None if found is None else found * scale

    return find


def quantile(group: str, name: str, title: str | None = None, drawn: bool = False) -> Figure:
    """A quantile in milliseconds."""
    spelt = {"p50": "p50", "p99": "p99", "p999": "p99.9"}[name]
    return Figure(title or f"{spelt} ms", at(group, name, scale=1e-3), drawn=drawn)


CPU_PER_DELIVERY = Figure("CPU µs per delivery", at("cpu_us_per_delivery"), drawn=True)
USER_PER_DELIVERY = Figure("of it user", at("user_us_per_delivery"))
P50 = quantile("latency_us", "p50", drawn=True)
P99 = quantile("latency_us", "p99", drawn=True)
P999 = quantile("latency_us", "p999")
EMITS = Figure("emits/s", lambda report: report["emits"] / report["seconds"], 1)
DELIVERIES = Figure("deliveries/s", at("deliveries_per_second"), 0)
SERVER_CORES = Figure("server cores", at("server_cores"))
LOAD_CORES = Figure("load cores", at("load_cores"))
PEAK_MIB = Figure("peak MiB", at(MEMORY, "peak", scale=1 / 1024), 1)

FANOUT = (
    CPU_PER_DELIVERY, USER_PER_DELIVERY, P50, P99, P999, EMITS, DELIVERIES, SERVER_CORES,
    LOAD_CORES, PEAK_MIB,
)  # fmt: skip
