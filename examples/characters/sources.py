"""Sources of Python's standard library, as ids of characters; which characters are inside quotes, and how far indented.

Three lists of modules, all in Python itself: what a model learns from, what its settings are chosen on, and what it has
never met. They are those of the Python that runs the program; other versions have other lines, and perhaps not all.
"""

from __future__ import annotations

import io
import sysconfig
import tokenize
from pathlib import Path

import numpy as np

TRAINING = (
    "_collections_abc ast base64 bdb calendar cmd code codecs configparser contextlib copy csv dataclasses difflib dis "
    "doctest enum filecmp fileinput fnmatch ftplib functools getopt gettext gzip hashlib imaplib inspect ipaddress "
    "mailbox mimetypes ntpath optparse os pdb pickle pickletools pkgutil platform plistlib poplib pprint profile "
    "pstats pydoc random selectors shelve shutil smtplib socket socketserver ssl string subprocess tarfile threading "
    "timeit trace traceback typing uuid warnings wave weakref webbrowser"
)
VALIDATION = "shlex graphlib tempfile zipapp bisect numbers operator"
HELD_OUT = "queue sched textwrap tokenize heapq statistics"

OTHER = "\N{REPLACEMENT CHARACTER}"  # stands for every character that is not in the alphabet
ALPHABET = "\n" + "".join(map(chr, range(32, 127))) + OTHER
_IDS = {letter: n for n, letter in enumerate(ALPHABET)}


def read(modules: str) -> str:
    """Return the sources of modules one behind the other; say which there are not, and raise OSError without any."""
    folder = Path(sysconfig.get_path("stdlib"))
    names = modules.split()
    found = [path for path in (folder / f"{name}.py" for name in names) if path.is_file()]
    if not found:
        raise FileNotFoundError(f"no sources of Python's standard library in {folder}: {names[0]}.py, …")
    if len(found) < len(names):
        print(f"Not in this Python: {', '.join(sorted({*names} - {path.stem for path in found}))}")
    return "".join(path.read_text(encoding="utf-8", errors="replace") for path in found)


def encoded(text: str) -> np.ndarray:
    """Return the id of each character."""
    return np.array([_IDS.get(letter, len(ALPHABET) - 1) for letter in text], np.int64)


def streams(ids: np.ndarray, rows: int, steps: int) -> tuple[np.ndarray, np.ndarray]:
    """Cut a text into `rows` parts, side by side, and these into batches that continue one another.

    Row r of every batch of `rows` goes on where row r of the batch before has ended: with a stateful model the
    state does, and truncated backpropagation through time is nothing more than that.

    Returns
    -------
    x, y : ndarray of shape (batches * rows, steps), int64
        y is x one character later. What does not fill a batch is left out at the end.
    """
    batches = (len(ids) - 1) // (rows * steps)
    if not batches:
        raise ValueError(f"a text of {len(ids)} characters is too short for {rows} rows of {steps}")
    end = batches * rows * steps
    cut = (
        part.reshape(rows, batches, steps).swapaxes(0, 1).reshape(-1, steps) for part in (ids[:end], ids[1 : end + 1])
    )
    x, y = cut
    return x, y


def labels(text: str) -> dict[str, np.ndarray]:
    """Return what is to be known of each character as soon as it was read, a number each.

    ``quotes``: 1 inside a string, from its opening quote to the last character before the closing one. ``depth``: how
    far its line is indented up to there, in steps of four blanks. ``column``: its place in the line, from 0.
    """
    lines = list(io.StringIO(text))
    lengths = [len(line) for line in lines]
    starts = np.cumsum([0, *lengths])
    quotes, begun = np.zeros(len(text)), []
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        kind = tokenize.tok_name[token.type]
        if kind.endswith("STRING_START"):  # an f-string, from Python 3.12 on
            begun.append(starts[token.start[0] - 1] + token.start[1])
        elif kind == "STRING" or kind.endswith("STRING_END"):
            first = starts[token.start[0] - 1] + token.start[1] if kind == "STRING" else begun.pop()
            quotes[first : starts[token.end[0] - 1] + token.end[1] - 1] = 1
    column = np.concatenate([np.arange(length) for length in lengths])
    indented = np.repeat([len(line) - len(line.lstrip(" ")) for line in lines], lengths)
    return {"quotes": quotes, "depth": np.minimum(column + 1, indented) / 4, "column": column.astype(float)}
