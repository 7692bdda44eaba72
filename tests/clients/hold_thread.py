"""Stops one thread of a process, as no signal can: PID and the thread's name are the arguments.

Prints "held" once it stands still. It stands until this program ends, or reads a line.
"""

import ctypes
import os
import pathlib
import sys

PTRACE_DETACH = 17
PTRACE_SEIZE = 0x4206
PTRACE_INTERRUPT = 0x4207
WALL = 0x40000000


def thread_of(pid, name):
    """The id of the thread with that name."""
    for task in pathlib.Path(f"/proc/{pid}/task").iterdir():
        if (task / "comm").read_text().strip() == name:
            return int(task.name)
    sys.exit(f"process {pid} has no thread {name}")


def main():
    pid, name = sys.argv[1:]
    thread = thread_of(pid, name)
    libc = ctypes.CDLL(None, use_errno=True)

    def ptrace(request):
        if libc.ptrace(request, thread, None, None) != 0:
            sys.exit(f"cannot stop thread {thread}: {os.strerror(ctypes.get_errno())}")

    ptrace(PTRACE_SEIZE)
    ptrace(PTRACE_INTERRUPT)
    os.waitpid(thread, WALL)
    print("held", flush=True)
    sys.stdin.readline()
    # The process may be gone by now.
    libc.ptrace(PTRACE_DETACH, thread, None, None)


main()
