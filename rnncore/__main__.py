"""``python -m rnncore COMMAND``: what can be done without writing a program.

A command is a module with ``arguments(parser)``, which says what it takes, and ``run(options)``, which does it and
returns the exit code. Its docstring's first line is its help.
"""

from __future__ import annotations

import argparse
import sys
from importlib import import_module

COMMANDS = {  # name: where it is
    "check": "rnncore.gradcheck.command",
}


def main(arguments: list[str] | None = None) -> int:
    """Run a command; return its exit code: 2 where it was asked for something that cannot be."""
    parser = argparse.ArgumentParser(prog="python -m rnncore", description="Recurrent networks from scratch.")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    modules = {name: import_module(place) for name, place in COMMANDS.items()}
    for name, module in modules.items():
        about = (module.__doc__ or "").splitlines()[0]
        own = commands.add_parser(
            name, help=about, description=module.__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
        )
        module.arguments(own)
    options = parser.parse_args(arguments)
    try:
        return modules[options.command].run(options)
    except (ValueError, TypeError, OSError, ImportError) as error:
        if isinstance(error, (ValueError, TypeError)) and not _of_ours(error):
            raise  # from within a user's function: where it stands matters
        print(f"{options.command}: {error}", file=sys.stderr)
        return 2


def _of_ours(error: BaseException) -> bool:
    """Return whether the package itself raised an error, to say something."""
    place = error.__traceback__
    while place is not None and place.tb_next is not None:
        place = place.tb_next
    return place is not None and place.tb_frame.f_globals.get("__name__", "").startswith(__package__ or "rnncore")


if __name__ == "__main__":
    raise SystemExit(main())
