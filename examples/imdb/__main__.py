"""The lectures' sentiment classifiers: they read film reviews and say whether they praise, and by which words.

python -m examples.imdb                        train the first lecture's model: 15 epochs
python -m examples.imdb --quick                a tenth of the reviews, 2 epochs: does it run?
python -m examples.imdb train --model pooled   another model; --help lists them
python -m examples.imdb predict "a review"     the answer, the words that made it so, and the gates
python -m examples.imdb evaluate               the saved model on the test reviews
python -m examples.imdb compare                all models on the same reviews: a table and a figure
python -m examples.imdb padding                how far zeros around a review move the answer
python -m examples.imdb keras                  the same weights and batches in Keras, beside it
"""

from __future__ import annotations

import argparse
import importlib
import sys

from .. import program

COMMANDS = {
    "train": "train a model, and save it with its vocabulary and settings in one file",
    "predict": "what a saved model says of a review, and by which of its words",
    "evaluate": "a saved model on the test reviews",
    "compare": "train all models on the same reviews: a table and a figure",
    "padding": "how far zeros around a review move the answer, with a mask and without",
    "keras": "the same weights and batches in Keras, beside it",
}


def main(arguments: list[str] | None = None) -> int:
    """Run a command, `train` where none is given; return the exit code: 2, with a sentence, for an error."""
    arguments = sys.argv[1:] if arguments is None else list(arguments)
    if not arguments or (arguments[0].startswith("-") and arguments[0] not in ("-h", "--help")):
        arguments = ["train", *arguments]
    parser = argparse.ArgumentParser(
        prog="python -m examples.imdb", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parsers = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, about in COMMANDS.items():
        own = parsers.add_parser(name, help=about, description=f"{about[0].upper()}{about[1:]}.")
        if arguments[0] == name:  # the others are not imported
            module(name).add_arguments(own)
    options = parser.parse_args(arguments)
    return program.run(f"imdb {options.command}", lambda: module(options.command).run(options))


def module(command: str):
    """Return a command's module."""
    return importlib.import_module(f"examples.imdb.{command}")


if __name__ == "__main__":
    sys.exit(main())
