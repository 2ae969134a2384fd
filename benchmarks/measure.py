"""Each peer in its own process, all on the same arrays: first compared with one another, then timed in turn."""

from __future__ import annotations

import tempfile
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from .cases import BATCHES, Case
from .peers import Peer, PeerEnded, PeerError, Worker
from .texts import Texts

# How far a peer may be from the median of all: its probabilities and loss, and what a step changes in a weight as a
# share of the largest change in it. float32, sums in any order.
TOLERANCE = {"outputs": 1e-5, "loss": 1e-5, "step": 1e-3}
SECONDS = 0.4  # a peer's share of a round; in training the slowest peer's
CALLS = 200  # at most, in a round of predictions
REST = 0.2  # seconds between two peers: threads that wait busily (ONNX Runtime's do for 50 ms) are another's delay


class Bench:
    """The processes of the peers, started when first needed, ended by ``with``.

    Parameters
    ----------
    peers : iterable of Peer
    texts : Texts
    threads, rounds : int
    tell : callable
        Called with what begins, in a few words.
    advance : callable
        Called when a case has been compared, and each time it has been timed in a round.
    seed : int
        Of weights and labels.
    """

    def __init__(
        self,
        peers: Iterable[Peer],
        texts: Texts,
        threads: int,
        rounds: int,
        tell: Callable[[str], None] = lambda what: None,
        advance: Callable[[], Any] = lambda: None,
        seed: int = 0,
    ):
        self.peers = {peer.name: peer for peer in peers}
        self.texts, self.threads, self.rounds, self.seed = texts, threads, rounds, seed
        self.tell, self.advance = tell, advance
        self.interrupted = False
        self._workers: dict[str, Worker] = {}
        self._folder = tempfile.TemporaryDirectory(prefix="benchmarks-")

    def __enter__(self) -> Bench:
        return self

    def __exit__(self, *error: Any) -> None:
        for worker in self._workers.values():
            worker.close()
        self._folder.cleanup()

    def versions(self) -> dict[str, str]:
        """Return the versions of the libraries of the peers that are running, by name."""
        found = {}
        for answer in self._ask({name: {} for name in self._workers}, "hello").values():
            found |= answer["versions"]
        return found

    # --- start-up ----------------------------------------------------------------------------------------------

    def start_up(self, case: Case) -> dict[str, list[dict[str, Any]]]:
        """Measure a fresh process of each peer, and a second one where it may find what the first compiled.

        Returns
        -------
        dict of str to list of dict
            By peer, of its processes: ``import_seconds``, ``import_bytes``, ``versions``; ``first_seconds`` of the
            first two steps, the building and compiling for them included; ``whole_seconds`` from the process's start
            to their end; ``bytes``, the most memory, after some more steps. Or ``failed``, a reason.
        """
        arrays, _ = self._written(case)
        found: dict[str, list[dict[str, Any]]] = {}
        for name, peer in self.peers.items():
            for _ in range(0 if peer.cannot(case) else 1 + peer.keeps):
                self.tell(f"start-up of {name}")
                try:
                    started = self._started(peer, case, arrays)
                except PeerError as error:
                    started = {"failed": str(error)}
                found.setdefault(name, []).append(started)
        return found

    def _started(self, peer, case, arrays):
        caches = ("RNNCORE_CACHE_DIR", "TORCHINDUCTOR_CACHE_DIR")
        own = dict.fromkeys(caches, str(Path(self._folder.name, peer.name)))
        begin = time.perf_counter()
        with Worker(peer, self.threads, own) as worker:
            hello = worker.ask("hello")
            before = time.perf_counter()
            worker.ask("load", case=asdict(case), arrays=arrays)
            worker.ask("time", case=case.name, steps=1)
            end = time.perf_counter()
            worker.ask("time", case=case.name, steps=BATCHES // 4)
            return {**hello, "first_seconds": end - before, "whole_seconds": end - begin, **worker.ask("memory")}

    # --- the cases ---------------------------------------------------------------------------------------------

    def cases(self, cases: Iterable[Case]) -> list[dict[str, Any]]:
        """Compare the peers on each case; then time those that agree, in rounds of all cases.

        So a time in which the machine is slow falls on all cases alike. They stay loaded until the end: a process that
        ends loses them, and its peer has failed in those loaded so far. It goes on with what is loaded later.

        Parameters
        ----------
        cases : iterable of Case
            Of different names.

        Returns
        -------
        list of dict
            Of each case ``"case"``; ``"words"``, how many a step or prediction takes; and ``"results"`` by peer:
            ``"seconds"`` a step, one number a round, each over ``"steps"`` of them, and ``"deviations"`` from the
            median of all peers by what was compared; or a reason, ``"skipped"``, ``"failed"`` or ``"differs"``. After
            Ctrl-C what there is till then, and `interrupted` is set.
        """
        entries: list[dict[str, Any]] = []
        try:
            for case in cases:
                entries.append(self._compared(case))
                self.advance()
            for turn in range(self.rounds):
                for n, entry in enumerate(entries):
                    self._round(entry, turn, first=turn + n)
                    self.advance()
        except KeyboardInterrupt:  # the rounds that there were are kept
            self.interrupted = True
        return entries

    def _compared(self, case):
        """Load a case and compare the peers on it; return its results so far."""
        results: dict[str, dict[str, Any]] = {name: {} for name in self.peers}
        for name, peer in self.peers.items():
            if reason := peer.cannot(case):
                results[name]["skipped"] = reason
        self.tell(f"{case.name}: all peers compile and are compared")
        arrays, x = self._written(case)
        plain = case.without_dropout()
        self._load(results, plain, arrays)
        files = self._ask(results, "check", case=case.name, into=self._folder.name)
        found = {name: _read(answer["file"]) for name, answer in files.items()}
        for name, deviations in deviations_of(found).items():
            results[name]["deviations"] = deviations
            if beyond := beyond_tolerance(deviations):
                results[name]["differs"] = beyond
        if plain != case:
            self._load(results, case, arrays)
        steps = self._steps(results, case)
        for name, count in steps.items():
            results[name]["steps"] = count
        timed = x[case.batch : (max(steps.values(), default=1) + 1) * case.batch] if case.work == "train" else x
        words = case.words(timed) * (case.batch / len(timed) if case.work == "train" else 1)
        return {"case": asdict(case), "words": words, "results": results}

    def _round(self, entry, turn, first):
        """Time a case with each peer."""
        results, case = entry["results"], entry["case"]["name"]
        order = deque(name for name in results if "steps" in results[name])
        order.rotate(-first)  # so that nobody always runs after the same one
        for name in order:
            self.tell(f"round {turn + 1}, {case}: {name}")
            time.sleep(REST)
            if seconds := self._time(results, case, name, results[name]["steps"]):
                results[name].setdefault("seconds", []).append(seconds)

    def _written(self, case):
        """Write weights and data of a case into a file; return its path, and x."""
        rng = np.random.default_rng(self.seed)
        weights = case.weights(rng)
        x, y = case.arrays(self.texts, rng)
        path = str(Path(self._folder.name, "arrays.npz"))
        np.savez(path, x=x, y=y, **{f"weight_{n}": weight for n, weight in enumerate(weights)})
        return path, x

    def _load(self, results, case, arrays):
        self._ask(results, "load", case=asdict(case), arrays=arrays)

    def _steps(self, results, case):
        """Return how many steps each peer's round has; those of training the same, as batches differ."""
        for name in results:  # by itself: the others must not run meanwhile
            self._time(results, case.name, name, 1)  # compiles
        seconds = {name: taken for name in results if (taken := self._time(results, case.name, name, 1))}
        if case.work == "train":
            seconds = dict.fromkeys(seconds, max(seconds.values(), default=SECONDS))
        least, most = (2, BATCHES) if case.work == "train" else (1, CALLS)
        return {name: int(min(max(SECONDS / taken, least), most)) for name, taken in seconds.items()}

    def _time(self, results, case, name, steps):
        """Return the seconds a step of one peer, or None where it failed."""
        return self._ask({name: results[name]}, "time", case=case, steps=steps).get(name, {}).get("seconds")

    def _ask(self, results: Mapping[str, dict], do: str, **arguments: Any) -> dict[str, dict[str, Any]]:
        """Ask all peers that nothing stands against at once, and return their answers; what fails becomes a result."""
        answers, asked = {}, []
        for act in ("send", "answer"):
            for name, result in results.items():
                if result.keys() & {"skipped", "failed", "differs"}:
                    continue
                try:
                    if act == "send":
                        self._worker(name).send(do, **arguments)
                        asked.append(name)
                    else:
                        answers[name] = self._worker(name).answer()
                except PeerError as error:
                    result["failed"] = str(error)
                    if isinstance(error, PeerEnded):
                        self._workers.pop(name).close()  # who asks next starts another
        return answers

    def _worker(self, name):
        if name not in self._workers:
            self._workers[name] = Worker(self.peers[name], self.threads)
        return self._workers[name]


def deviations_of(found: Mapping[str, Mapping[str, np.ndarray]]) -> dict[str, dict[str, float]]:
    """Return how far each peer's arrays are from the median of all peers'.

    Parameters
    ----------
    found : mapping of str to mapping of str to ndarray
        By peer, by what it is: "outputs", "loss", "step of weight 0" …, the same of all.

    Returns
    -------
    dict of str to dict of str to float
        The largest difference; for steps as a share of the median's largest entry. NaN if there is one.
    """
    deviations: dict[str, dict[str, float]] = {name: {} for name in found}
    for what in next(iter(found.values()), {}):
        median = np.median([np.asarray(arrays[what]) for arrays in found.values()], axis=0)
        scale = np.abs(median).max() if what.startswith("step") else 1.0
        for name, arrays in found.items():
            with np.errstate(invalid="ignore", divide="ignore"):
                deviations[name][what] = float(np.abs(arrays[what] - median).max() / scale)
    return deviations


def beyond_tolerance(deviations: Mapping[str, float]) -> str | None:
    """Return in words what is further from the median than it may be, or None."""
    beyond = [f"{what} by {d:.1e}" for what, d in deviations.items() if not d <= TOLERANCE[what.split()[0]]]
    return f"differs from the other peers' median: {', '.join(beyond)}" if beyond else None


def _read(path):
    with np.load(path) as file:
        return dict(file)
