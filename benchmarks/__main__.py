"""rnncore, Keras and PyTorch on the same arrays, in one run.

    python -m benchmarks                  the table of cases
    python -m benchmarks --sweep          how time grows with units, batch and steps
    python -m benchmarks --case "GRU units=48 steps=30 batch=16 masked dropout=.2"     a case of your own
    python -m benchmarks --quick          tiny sizes, two rounds: does it run?

Prints tables, and writes them with all numbers as JSON and a figure into a folder. See benchmarks/README.md.
"""

from __future__ import annotations

import argparse
import os
from dataclasses import replace
from pathlib import Path

from tqdm.auto import tqdm

from . import floor, report, texts
from .cases import CASES, Case, case_of, sweep
from .measure import Bench
from .peers import ISA, PEERS


def main(arguments: list[str] | None = None) -> int:
    """Run the benchmarks; return the exit code: 1 if a peer failed, or computed something else."""
    options = parsed(arguments)
    os.environ.update(ISA.get(options.isa, {}))  # the peers' processes inherit it
    missing = {name: PEERS[name].missing() for name in options.peers}
    skipped = {name: f"not installed: {', '.join(packages)}" for name, packages in missing.items() if packages}
    for name, reason in skipped.items():
        print(f"{PEERS[name].title} is skipped; {reason}")
    words = texts.drawn(500) if options.quick else texts.at_hand()
    print(f"Words: {words.source}")

    cases, started = chosen(options), {}
    present = [PEERS[name] for name in options.peers if name not in skipped]
    with (
        tqdm(total=1 + len(cases) * (1 + options.rounds), unit="turn", dynamic_ncols=True) as bar,
        Bench(present, words, options.threads, options.rounds, bar.set_postfix_str, bar.update) as bench,
    ):
        bar.set_postfix_str("the best rate of a product")
        limit = floor.best(options.threads)
        if not (options.quick or options.sweep or options.case):
            started = bench.start_up(cases[0][1])
        bar.update()
        measured = bench.cases(case for _, case in cases)
        entries = [{"axis": axis, **entry} for (axis, _), entry in zip(cases, measured, strict=False)]
        about = {
            "machine": report.machine(),
            "threads": options.threads,
            "isa": options.isa,
            "rounds": options.rounds,
            "words": words.source,
            "versions": bench.versions(),
        }
    result = {"about": about, "floor": limit, "skipped": skipped, "start_up": started, "cases": entries}
    if bench.interrupted:
        print(f"\nInterrupted: of {len(cases)} cases {len(entries)} were compared; what was measured of them follows.")
        if not entries:
            return 130
    print(f"\n{report.page(result)}")
    for path in report.write(result, Path(options.output), "sweep" if options.sweep else "cases"):
        print(f"Written: {path}")
    if not options.quick:
        print(f"\n{report.remembered(result, Path(options.output, 'history.jsonl'))}")
    wrong = any({"failed", "differs"} & own.keys() for entry in entries for own in entry["results"].values())
    return 130 if bench.interrupted else int(wrong)


def chosen(options: argparse.Namespace) -> list[tuple[str | None, Case]]:
    """Return the cases to run, in the sizes asked for, each with its axis of the sweep."""
    if options.case:
        return [(None, case) for case in dict.fromkeys(options.case)]
    cases = list(sweep()) if options.sweep else [(None, CASES[name]) for name in options.cases]
    cases = [(axis, replace(case, rows=options.reviews) if case.name == "many" else case) for axis, case in cases]
    return [(axis, case.tiny(axis)) for axis, case in cases] if options.quick else cases


def parsed(arguments: list[str] | None) -> argparse.Namespace:
    """Return the command line's options."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__.splitlines()[0])
    parser.add_argument("--cases", nargs="+", choices=CASES, default=list(CASES), metavar="CASE", help=listed(CASES))
    parser.add_argument("--case", type=own_case, action="append", help="one of your own (see above); several times")
    parser.add_argument("--peers", nargs="+", choices=PEERS, metavar="PEER", help=listed(PEERS))
    parser.add_argument("--rounds", type=positive, help="of each peer and case (default: 5, with --quick 2)")
    parser.add_argument("--threads", type=positive, default=min(2, os.cpu_count() or 1), help="default: %(default)s")
    parser.add_argument("--isa", choices=ISA, help="leave out what instructions the processor has beyond these")
    parser.add_argument("--reviews", type=positive, default=5000, help='of the case "many" (default: %(default)s)')
    parser.add_argument("--sweep", action="store_true", help="sizes instead of cases")
    parser.add_argument("--quick", action="store_true", help="tiny sizes, drawn words, no start-up")
    parser.add_argument("--output", default="results/benchmarks", help="folder (default: %(default)s)")
    options = parser.parse_args(arguments)
    options.rounds = options.rounds or (2 if options.quick else 5)
    options.peers = options.peers or [name for name, peer in PEERS.items() if peer.swept or not options.sweep]
    return options


def own_case(text: str) -> Case:
    """Return the case of a line, for argparse."""
    try:
        return case_of(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def listed(table: dict) -> str:
    """Return what may be given, for the help."""
    return f"some of: {', '.join(table)}"


def positive(text: str) -> int:
    """Return a whole number above 0."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number above 0")
    return int(text)


if __name__ == "__main__":
    raise SystemExit(main())
