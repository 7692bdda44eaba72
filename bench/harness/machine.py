"""What the figures were measured on, and what its kernel says of a process."""

import os
import platform
import resource
from pathlib import Path

# Above this, something else is using the machine and the figures will say more of that.
BUSY = 0.5


def describe() -> str:
    """Processor, cores, memory and kernel in one line."""
    model = next(
        (
            line.split(":", 1)[1].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if line.startswith("model name")
        ),
        platform.machine(),
    )
    gib = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return f"{model}, {os.cpu_count()} cores, {gib:.0f} GiB, Linux {platform.release()}"


def load() -> float:
    """Runnable tasks over the last minute."""
    return os.getloadavg()[0]


def raise_file_limit() -> int:
    """Allows this process and its children as many open files as the system lets them have."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    return most


def cpu_seconds(pid: int) -> float:
    """CPU time of a process in its own code and in the kernel; steps of 10 ms."""
    # The name in field 2 may hold spaces and brackets: fields are counted behind its last bracket.
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def memory_kib(pid: int, field: str) -> int:
    """`VmRSS`, what is resident, or `VmHWM`, the most that ever was."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        name, _, value = line.partition(":")
        if name == field:
            return int(value.split()[0])
    raise ValueError(f"process {pid} has no {field}")
