"""``python -m rnncore COMMAND …``: what can be done from a terminal, one module of `rnncore.commands` each."""

from __future__ import annotations

import argparse
import importlib
import os
import sys
import warnings

COMMANDS = {
    "info": "what a model file holds, who wrote it, and what it would need to run here",
    "convert": "read a model file and write it in another form",
    "look": "run a model file on a text or an array, and show its gates step by step",
}


def main(arguments: list[str] | None = None) -> int:
    """Run a command and return its exit status: 0, or 1 with one sentence on stderr."""
    parser = argparse.ArgumentParser(prog="python -m rnncore", description="Models of rnncore and of Keras, in files.")
    parsers = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    chosen = (sys.argv[1:] if arguments is None else arguments)[:1]
    for name, what in COMMANDS.items():
        own = parsers.add_parser(name, help=what, description=f"{what[0].upper()}{what[1:]}.")
        if chosen == [name]:  # the others are not imported
            importlib.import_module(f"rnncore.commands.{name}").add_arguments(own)
    options = parser.parse_args(arguments)
    command = importlib.import_module(f"rnncore.commands.{options.command}")
    try:
        with warnings.catch_warnings():
            warnings.showwarning = lambda message, *_: print(f"note: {message}", file=sys.stderr)
            return command.run(options) or 0
    except BrokenPipeError:  # `| head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except (ValueError, OSError, ImportError, TypeError) as error:
        print(f"python -m rnncore {options.command}: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
