"""Several servers that serve as one: clients come to the last, emits to the first."""

import http.client
import json
import subprocess
from contextlib import ExitStack
from pathlib import Path

from .. import machine
from ..paths import TARGET
from .base import Server
from .peers import SocketIo
from .redis import Redis
from .tidings import KEY, Tidings

# Classes of rooms, each with an owner and a copy.
SLOTS = 256
# A room of each user's, whose events are kept for clients that come back.
KEPT = """
[channels.mine]
rooms = ["mine:{user}"]
class = "recoverable"
"""


class _Node(Tidings):
    """One of several; told by its maker where the others are."""

    def join(self, folder: Path, key: Path, name: str, seeds: list[str], more: str) -> None:
        self.config = f"""
[node]
name = "{name}"
[cluster]
key = "{key}"
listen = "127.0.0.1:0"
seeds = {json.dumps(seeds)}
{more}{Tidings.config}"""
        self.data = folder / "data"
        self.launch(folder, self.data)
        self.cluster = json.loads((self.data / "listening.json").read_text())["cluster"]

    def start(self, folder: Path) -> None:
        """Its maker starts it."""

    def sees(self, what: str = "cluster") -> dict:
        """The cluster as it sees it."""
        connection = http.client.HTTPConnection(self.private, timeout=30)
        connection.request("GET", f"/api/v1/{what}", headers={"Authorization": f"Bearer {KEY}"})
        said = json.loads(connection.getresponse().read())
        connection.close()
        return said

    def is_in_step(self, others: int) -> bool:
        """Whether it knows so many others and their rooms, and they its own."""
        said = self.sees()
        good = [
            peer
            for peer in said["peers"]
            if peer["alive"] and peer["linked"] and peer["inStep"] and peer["behind"] == 0
        ]
        return len(good) == others

    def copied_slots(self) -> int:
        """How many it owns and has copied to another."""
        owned = (slot["owned"] for slot in self.sees("cluster/slots")["slots"])
        return sum(1 for one in owned if one and len(one["copies"]) > 1)


class Several(Server):
    """What several servers have in common: they start together, and all their work counts."""

    def start(self, folder: Path) -> None:
        self._stack = ExitStack()
        self.folder = folder
        self.gather()
        first, last = self.members[0], self.members[-1]
        self.process = None
        self.version = last.version
        self.target = last.target
        self.emit_url, self.batch_url = first.emit_url, first.batch_url

    def gather(self) -> None:
        """Starts the members."""
        raise NotImplementedError

    @property
    def members(self) -> list[Server]:
        """Those that clients and emits can come to."""
        raise NotImplementedError

    @property
    def pid(self) -> int:
        return self.members[-1].pid

    @property
    def pids(self) -> list[int]:
        """All processes."""
        return [self.pid, *self.beside]

    @property
    def beside(self) -> list[int]:
        return [member.pid for member in self.members[:-1]]

    def cpu_seconds(self) -> list[float]:
        """Of each process."""
        return [machine.cpu_seconds(pid) for pid in self.pids]

    def into_last(self) -> int:
        """Bytes that the last has received from the others so far."""
        raise NotImplementedError

    def __exit__(self, *_):
        self._stack.close()
        super().__exit__()


class TidingsPair(Several):
    """Tidings on two nodes, or more."""

    name = "tidings, 2 nodes"
    family = "tidings"
    emit_headers = Tidings.emit_headers
    count = 2
    # Further configuration.
    more = ""

    @classmethod
    def build(cls) -> None:
        Tidings.build()

    def gather(self) -> None:
        self.nodes: list[_Node] = []
        self.key = self.folder / "cluster.key"
        made = [str(TARGET / "tidings"), "cluster", "key", str(self.key)]
        subprocess.run(made, check=True, stdout=subprocess.DEVNULL)
        for _ in range(self.count):
            self.add()
        self.settle()

    def add(self) -> _Node:
        """Starts a further node."""
        number = len(self.nodes) + 1
        folder = self.folder / f"node-{number}"
        folder.mkdir()
        node = self._stack.enter_context(_Node(self.setup, self.supplies))
        seeds = [known.cluster for known in self.nodes[:1]]
        node.join(folder, self.key, f"node-{number}", seeds, self.more)
        self.nodes.append(node)
        return node

    def settle(self) -> None:
        """Waits until all know all."""
        others = len(self.nodes) - 1
        for node in self.nodes:
            node._wait(lambda node=node: node.is_in_step(others) or None)

    @property
    def members(self) -> list[Server]:
        return list(self.nodes)

    def into_last(self) -> int:
        name = f"node-{len(self.nodes)}"
        seen = (node.sees()["peers"] for node in self.nodes[:-1])
        return sum(peer["sentBytes"] for peers in seen for peer in peers if peer["name"] == name)


class TidingsTrio(TidingsPair):
    """Three nodes."""

    name = "tidings, 3 nodes"
    count = 3


class TidingsFive(TidingsPair):
    """Five nodes."""

    name = "tidings, 5 nodes"
    count = 5


class TidingsTen(TidingsPair):
    """Ten nodes."""

    name = "tidings, 10 nodes"
    count = 10


class TidingsKeeping(Tidings):
    """Tidings that keeps what is sent to single users, on one node."""

    name = "tidings, 1 node, kept"
    config = KEPT + Tidings.config


class TidingsKeepingTrio(TidingsPair):
    """The same on three: each event is on the disks of two when it is answered."""

    name = "tidings, 3 nodes, kept"
    count = 3
    more = KEPT

    def settle(self) -> None:
        super().settle()
        all_copied = lambda: sum(node.copied_slots() for node in self.nodes) == SLOTS  # noqa: E731
        self.nodes[0]._wait(lambda: all_copied() or None)


class _Adapted(SocketIo):
    """Socket.IO with a Redis."""

    redis: Redis
    how: dict[str, str] = {}

    def _environment(self) -> dict[str, str]:
        url = f"redis://127.0.0.1:{self.redis.port}"
        return {**super()._environment(), "REDIS_URL": url, **self.how}


class SocketIoPair(Several):
    """Socket.IO on two nodes, with Redis and its adapter between them."""

    name = "socket.io, 2 nodes and redis"
    family = "socket.io"
    count = 2
    how: dict[str, str] = {}

    @classmethod
    def build(cls) -> None:
        Redis.build()
        SocketIo.build()

    def gather(self) -> None:
        self.redis = self._stack.enter_context(Redis(self.setup, self.supplies))
        self.nodes = []
        for _ in range(self.count):
            node = _Adapted(self.setup, self.supplies)
            node.redis, node.how = self.redis, self.how
            self.nodes.append(self._stack.enter_context(node))

    @property
    def members(self) -> list[Server]:
        return list(self.nodes)

    @property
    def beside(self) -> list[int]:
        return [*super().beside, self.redis.pid]

    def into_last(self) -> int:
        """By the kernel's count of its connections to Redis."""
        command = ["ss", "-tniHOp", "state", "established", f"dport = :{self.redis.port}"]
        said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        ours = (line for line in said.splitlines() if f"pid={self.pid}," in line)
        found = (part for line in ours for part in line.split() if part.startswith("bytes_received:"))
        return sum(int(part.partition(":")[2]) for part in found)


class SocketIoStreams(SocketIoPair):
    """Three nodes with the adapter that keeps what is sent in a stream of Redis'."""

    name = "socket.io, 3 nodes and redis streams"
    count = 3
    how = {"REDIS_STREAMS": "1"}
