"""The commands of ``python -m rnncore``: each module has ``add_arguments(parser)`` and ``run(options)``."""
