"""Optimizers: how a gradient changes a weight, in Keras's arithmetic and with its defaults.

An optimizer works in place on plain numpy arrays::

    optimizer.apply_gradients(zip(gradients, arrays))

One call is one step: clip the gradients, decay the arrays, update them. A class states its slots (the arrays it
keeps beside each weight), the numbers of a step, and one elementwise `update` of `rules`; all else is the base's.
NumPy runs the update on blocks of the arrays that stay in the processor's cache; compiled, it is one loop over all of
them, to the same bits (see `kernels.updates`).

What a step does to the rows of an embedding that it has no gradient for:

=========================  =============================================================================
SGD, Adagrad               nothing: they are left alone
Adam, Nadam, Adamax,       momentum goes on, and fades: made up for when a row is next used or read, and
SGD and RMSprop with       cut short where it no longer changes a weight (Adam and Nadam if beta_1² is
momentum                   below beta_2 or with amsgrad, Adamax if beta_1 is below beta_2)
RMSprop, Adadelta          only slots fade: made up for likewise
Lion, and all with         every row changes at each step: made up for likewise, in full
`weight_decay`
`use_ema`, accumulation,   at once
an update of your own
=========================  =============================================================================

g  gradient    w  weight    t  number of the step, from 1    lr  learning rate

References
----------
.. [1] I. Sutskever et al., "On the importance of initialization and momentum in deep learning", 2013
.. [2] T. Tieleman, G. Hinton, "Lecture 6.5: RMSprop", 2012
.. [3] D. Kingma, J. Ba, "Adam: a method for stochastic optimization", 2015
.. [4] S. Reddi et al., "On the convergence of Adam and beyond", 2018
.. [5] I. Loshchilov, F. Hutter, "Decoupled weight decay regularization", 2019
.. [6] J. Duchi et al., "Adaptive subgradient methods", 2011
.. [7] M. Zeiler, "ADADELTA: an adaptive learning rate method", 2012
.. [8] T. Dozat, "Incorporating Nesterov momentum into Adam", 2016
.. [9] X. Chen et al., "Symbolic discovery of optimization algorithms", 2023
.. [10] B. Polyak, A. Juditsky, "Acceleration of stochastic approximation by averaging", 1992
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..configured import resolve
from . import schedules
from .base import Optimizer
from .classes import SGD, Adadelta, Adagrad, Adam, Adamax, AdamW, Lion, Nadam, RMSprop

_CLASSES = (SGD, RMSprop, Adam, AdamW, Adagrad, Adadelta, Adamax, Nadam, Lion)
__all__ = [*(cls.__name__ for cls in _CLASSES), "Optimizer", "get", "schedules"]
_NAMES = {name: cls for cls in _CLASSES for name in (cls.__name__, cls.__name__.lower())}


def get(identifier: str | Mapping[str, Any] | type | Optimizer) -> Optimizer:
    """Return an optimizer from itself, its class, a Keras name or a ``{"class_name", "config"}``.

    Raises
    ------
    ValueError, TypeError
        There is none of that name; `identifier` is none of these.
    """
    return resolve(identifier, _NAMES, Optimizer, "optimizer")
