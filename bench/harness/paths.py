"""Where things are."""

import os
from pathlib import Path

BENCH = Path(__file__).resolve().parent.parent
ROOT = BENCH.parent
BUILD = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
TARGET = BUILD / "release"
# What the peers are built into, as they are no part of the workspace.
PEER_BUILD = BUILD / "peers"
