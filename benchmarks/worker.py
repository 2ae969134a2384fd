"""The process of one peer: reads a request a line, answers a line, both JSON.

    python -m benchmarks.worker benchmarks.adapters.keras_like:KerasLike rnncore

``{"do": "time", "case": "lecture", "steps": 3}`` calls ``time("lecture", 3)`` of the `Session`. What libraries print
goes to stderr. The process ends with its input. Nothing but the standard library is imported before the peer's library,
whose import is timed.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
import time
import traceback
from functools import partial
from importlib import metadata


class Session:
    """What a peer can be asked: each method returns what is answered. Cases stay loaded, by their names."""

    def __init__(self, adapter: str, arguments: list[str]):
        module, name = adapter.split(":")
        self.make = partial(getattr(importlib.import_module(module), name), *arguments)
        begin = time.perf_counter()
        self.libraries = self.make().libraries
        self.seconds = time.perf_counter() - begin
        self.loaded = {}

    def hello(self) -> dict:
        """Tell what the import took, and the versions of what it brought."""
        libraries = {name: _version(name) for name in self.libraries}
        return {"import_seconds": self.seconds, "import_bytes": peak_bytes(), "versions": libraries}

    def load(self, case: dict, arrays: str) -> dict:
        """Build the model of a case, with the weights and data in a file; an earlier one of that name goes."""
        import numpy as np

        from .cases import Case

        with np.load(arrays) as file:
            x, y = file["x"], file["y"]
            weights = [file[f"weight_{n}"] for n in range(len(file.files) - 2)]
        peer = self.loaded[case["name"]] = self.make()
        peer.load(Case(**case), x, y, weights)
        return {}

    def check(self, case: str, into: str) -> dict:
        """Write outputs, loss, and what a step of gradient descent changes in the weights into a file in a folder."""
        import numpy as np

        path = os.path.join(into, f"{os.getpid()}.npz")
        np.savez(path, **self._peer(case).check())
        return {"file": path}

    def time(self, case: str, steps: int) -> dict:
        """Tell the seconds a step, or a prediction, took on average over so many."""
        return {"seconds": self._peer(case).time(steps)}

    def memory(self) -> dict:
        """Tell the most memory that the process ever had."""
        return {"bytes": peak_bytes()}

    def _peer(self, case):
        if case not in self.loaded:
            raise LookupError(f"{case} was loaded by a process that has ended")
        return self.loaded[case]


def peak_bytes() -> int:
    """Return the largest resident size so far. (``ru_maxrss`` alone may be that of the process we came from.)"""
    try:
        with open("/proc/self/status") as status:
            return next(int(line.split()[1]) << 10 for line in status if line.startswith("VmHWM"))
    except (OSError, StopIteration):
        import resource

        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << (0 if sys.platform == "darwin" else 10)


def _version(name):
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return getattr(sys.modules.get(name), "__version__", "?")


def main() -> None:
    """Answer until the input ends."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    session = None
    for line in sys.stdin:
        request = json.loads(line)
        try:
            session = session or Session(sys.argv[1], sys.argv[2:])
            answer = getattr(session, request.pop("do"))(**request)
        except Exception as error:
            answer = {"error": f"{type(error).__name__}: {error}", "traceback": traceback.format_exc()}
        print(json.dumps(answer), file=answers, flush=True)


if __name__ == "__main__":
    main()
