"""The commands of ``python -m rnncore``: each module has ``add_arguments(parser)`` and ``run(options)``."""


def plain(text: object) -> str:
    """Return a text that a file may have brought without what steers a terminal: such characters by their escapes."""
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in str(text))
