"""``python -m rnncore COMMAND …``: what can be done from a terminal, one module of `rnncore.commands` each."""

from __future__ import annotations

import argparse
import importlib
import os
import sys
import warnings

from .commands import plain

COMMANDS = {
    "check": "hold a backward to its forward, entry by entry: where it goes wrong, and how",
    "info": "what a model file holds, who wrote it, and what it would need to run here",
    "convert": "read a model file and write it in another form",
    "look": "run a model file on a text or an array, and show its gates step by step",
}


def main(arguments: list[str] | None = None) -> int:
    """Run a command and return its exit status: 0; 1 where the answer is no; 2, with one sentence, for an error."""
    parser = argparse.ArgumentParser(
        prog="python -m rnncore", description="Recurrent networks: gradients checked, model files looked into."
    )
    parsers = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    chosen = (sys.argv[1:] if arguments is None else arguments)[:1]
    for name, about in COMMANDS.items():
        own = parsers.add_parser(name, help=about, description=f"{about[0].upper()}{about[1:]}.")
        if chosen == [name]:  # the others are not imported
            importlib.import_module(f"rnncore.commands.{name}").add_arguments(own)
    options = parser.parse_args(arguments)
    command = importlib.import_module(f"rnncore.commands.{options.command}")
    try:
        with warnings.catch_warnings():
            warnings.showwarning = lambda message, *_: print(f"note: {plain(message)}", file=sys.stderr)
            return command.run(options) or 0
    except BrokenPipeError:  # `| head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except (ValueError, OSError, ImportError, TypeError, MemoryError) as error:
        said = "\n".join(plain(line) for line in str(error).split("\n"))
        print(f"python -m rnncore {options.command}: {said}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
