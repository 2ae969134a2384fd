"""The optimizers: for each its own options, the rule that they choose, and the numbers of a step."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar, TypedDict, Unpack

import numpy as np

from . import rules
from .base import ABOVE_ZERO_TO_ONE, TO_ONE, Optimizer, number

Rate = float | Callable[[int], float]


class _Options(TypedDict, total=False):
    clipnorm: float | None
    clipvalue: float | None
    global_clipnorm: float | None
    use_ema: bool
    ema_momentum: float
    ema_overwrite_frequency: int | None
    gradient_accumulation_steps: int | None
    name: str | None
    loss_scale_factor: float | None


class Options(_Options, total=False):
    """What every optimizer takes beside its own arguments: of `Optimizer`, for type checkers and editors."""

    weight_decay: float | None


class SGD(Optimizer):
    """w -= lr*g, or with momentum m = mu*m - lr*g; w += m [1]_.

    Parameters
    ----------
    learning_rate : float
    momentum : float
        mu, from 0 to 1.
    nesterov : bool
        Go by the momentum that the next step will have: w += mu*m - lr*g.
    **kwargs
        See `Optimizer`.
    """

    fades = True

    def __init__(
        self, learning_rate: Rate = 0.01, momentum: float = 0.0, nesterov: bool = False, **kwargs: Unpack[Options]
    ):
        super().__init__(learning_rate, **kwargs)
        self.keep(momentum=momentum)
        self.nesterov = bool(nesterov)

    def slots(self):
        return {"momentum": 0.0} if self.momentum else {}

    @property
    def ignores_zeros(self):
        return not self.momentum

    def numbers(self, lr, t, exact):
        return {"lr": lr, "mu": self.momentum}

    @property
    def update(self):
        return rules.sgd if not self.momentum else rules.sgd_nesterov if self.nesterov else rules.sgd_momentum


class RMSprop(Optimizer):
    """v = rho*v + (1-rho)*g²; w -= lr*g / sqrt(v + epsilon) [2]_; epsilon stands inside the root.

    Parameters
    ----------
    learning_rate : float
    rho : float
        From 0 to below 1.
    momentum : float
        mu, from 0 to 1: m = mu*m + lr*g / sqrt(...); w -= m.
    epsilon : float
        Above 0.
    centered : bool
        Take v minus the square of the gradients' running mean, an estimate of their variance.
    **kwargs
        See `Optimizer`.
    """

    fades = True

    def __init__(
        self,
        learning_rate: Rate = 0.001,
        rho: float = 0.9,
        momentum: float = 0.0,
        epsilon: float = 1e-7,
        centered: bool = False,
        **kwargs: Unpack[Options],
    ):
        super().__init__(learning_rate, **kwargs)
        self.keep(rho=rho, momentum=momentum, epsilon=epsilon)
        self.centered = bool(centered)

    def slots(self):
        used = {"velocity": True, "momentum": self.momentum, "average_gradient": self.centered}
        return {name: 0.0 for name, use in used.items() if use}

    def numbers(self, lr, t, exact):
        return {"lr": lr, "mu": self.momentum, "rho": self.rho, "rest": 1 - self.rho, "epsilon": self.epsilon}

    @property
    def update(self):
        if self.centered:
            return rules.rmsprop_centered_momentum if self.momentum else rules.rmsprop_centered
        return rules.rmsprop_momentum if self.momentum else rules.rmsprop


class _Betas(Optimizer):
    """What Adam and its kin share: two rates and epsilon; and where nothing else is said, slots for both moments."""

    beta_1: float

    def __init__(
        self,
        learning_rate: Rate = 0.001,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-7,
        **kwargs: Unpack[Options],
    ):
        super().__init__(learning_rate, **kwargs)
        self.keep(beta_1=beta_1, beta_2=beta_2, epsilon=epsilon)

    def slots(self):
        return {"momentum": 0.0, "velocity": 0.0}

    @property
    def fades(self):
        return self.beta_1**2 <= self.beta_2


class Adam(_Betas):
    """Running means of g and g², and a step of their ratio [3]_.

        m += (1-beta_1) * (g - m)
        v += (1-beta_2) * (g² - v)
        w -= lr * sqrt(1-beta_2^t) / (1-beta_1^t) * m / (sqrt(v) + epsilon)

    epsilon is added to the root of the uncorrected v ("epsilon hat" of the paper), so it is not that of PyTorch.

    Parameters
    ----------
    learning_rate : float
    beta_1, beta_2 : float
        From 0 to below 1.
    epsilon : float
        Above 0.
    amsgrad : bool
        Divide by the largest v so far [4]_.
    **kwargs
        See `Optimizer`.
    """

    def __init__(
        self,
        learning_rate: Rate = 0.001,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-7,
        amsgrad: bool = False,
        **kwargs: Unpack[Options],
    ):
        super().__init__(learning_rate, beta_1, beta_2, epsilon, **kwargs)
        self.amsgrad = bool(amsgrad)

    def slots(self):
        return {**super().slots(), **({"velocity_hat": 0.0} if self.amsgrad else {})}

    @property
    def fades(self):
        return self.amsgrad or super().fades

    def numbers(self, lr, t, exact):
        # In the weights' precision, as Keras has it: in float32 1 - 0.999^1 is off by 1e-5 of itself.
        alpha = lr * np.sqrt(1 - exact(self.beta_2) ** t) / (1 - exact(self.beta_1) ** t)
        return {"alpha": alpha, "rest_1": 1 - self.beta_1, "rest_2": 1 - self.beta_2, "epsilon": self.epsilon}

    @property
    def update(self):
        return rules.amsgrad if self.amsgrad else rules.adam


class AdamW(Adam):
    """Adam with weight decay on by default [5]_; `weight_decay` must be a number."""

    def __init__(
        self,
        learning_rate: Rate = 0.001,
        weight_decay: float = 0.004,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-7,
        amsgrad: bool = False,
        **kwargs: Unpack[_Options],
    ):
        weight_decay = number("weight_decay", weight_decay)
        super().__init__(learning_rate, beta_1, beta_2, epsilon, amsgrad, weight_decay=weight_decay, **kwargs)


class Adagrad(Optimizer):
    """a += g²; w -= lr*g / sqrt(a + epsilon) [6]_.

    Parameters
    ----------
    learning_rate : float
    initial_accumulator_value : float
        What a starts from, at least 0.
    epsilon : float
        Above 0.
    **kwargs
        See `Optimizer`.
    """

    ignores_zeros = True
    update = staticmethod(rules.adagrad)

    def __init__(
        self,
        learning_rate: Rate = 0.001,
        initial_accumulator_value: float = 0.1,
        epsilon: float = 1e-7,
        **kwargs: Unpack[Options],
    ):
        super().__init__(learning_rate, **kwargs)
        self.keep(initial_accumulator_value=initial_accumulator_value, epsilon=epsilon)

    def slots(self):
        return {"accumulator": self.initial_accumulator_value}

    def numbers(self, lr, t, exact):
        return {"lr": lr, "epsilon": self.epsilon}


class Adadelta(Optimizer):
    """A step of the ratio of two running means: of changes d² and of gradients [7]_.

        v = rho*v + (1-rho)*g²
        d = -sqrt(u + epsilon) / sqrt(v + epsilon) * g
        u = rho*u + (1-rho)*d²
        w += lr*d

    Parameters
    ----------
    learning_rate : float
        1 is the paper's.
    rho : float
        From 0 to below 1.
    epsilon : float
        Above 0.
    **kwargs
        See `Optimizer`.
    """

    fades = True
    update = staticmethod(rules.adadelta)

    def __init__(
        self, learning_rate: Rate = 0.001, rho: float = 0.95, epsilon: float = 1e-7, **kwargs: Unpack[Options]
    ):
        super().__init__(learning_rate, **kwargs)
        self.keep(rho=rho, epsilon=epsilon)

    def slots(self):
        return {"accumulated_grad": 0.0, "accumulated_delta_var": 0.0}

    def numbers(self, lr, t, exact):
        return {"lr": lr, "rho": self.rho, "rest": 1 - self.rho, "epsilon": self.epsilon}


class Adamax(_Betas):
    """Adam with the largest size of recent gradients for the root of v (section 7 of [3]_).

        m += (1-beta_1) * (g - m)
        u = max(beta_2*u, |g|)
        w -= lr / (1-beta_1^t) * m / (u + epsilon)

    Parameters: `Adam`'s but for `amsgrad`.
    """

    update = staticmethod(rules.adamax)

    def slots(self):
        return {"momentum": 0.0, "norm": 0.0}

    @property
    def fades(self):
        return self.beta_1 <= self.beta_2

    def numbers(self, lr, t, exact):
        alpha = lr / (1 - exact(self.beta_1) ** t)
        return {"alpha": alpha, "rest_1": 1 - self.beta_1, "beta_2": self.beta_2, "epsilon": self.epsilon}


class Nadam(_Betas):
    """Adam that goes by the momentum which the next step will have [8]_.

        b(t) = beta_1 * (1 - 0.96^t / 2),  the momentum of step t;  B = b(1) * ... * b(t)
        m += (1-beta_1) * (g - m)
        v += (1-beta_2) * (g² - v)
        w -= lr * (b(t+1) / (1 - B*b(t+1)) * m + (1-b(t)) / (1-B) * g) / (sqrt(v / (1-beta_2^t)) + epsilon)

    Parameters: `Adam`'s but for `amsgrad`.
    """

    update = staticmethod(rules.nadam)

    def counters(self):
        return {"u_product": 1.0}

    def advance(self, t):
        self.u_product = self.u_product * self._momentum(t, self.u_product.dtype.type)

    def _momentum(self, t: int, exact: type[np.floating]) -> np.floating:
        return exact(self.beta_1) * (1 - exact(0.5) * exact(0.96) ** t)

    def numbers(self, lr, t, exact):
        now, after, product = self._momentum(t, exact), self._momentum(t + 1, exact), exact(self.u_product)
        return {
            "ahead": lr * after / (1 - product * after),
            "now": lr * (1 - now) / (1 - product),
            "correction": 1 - exact(self.beta_2) ** t,
            "rest_1": 1 - exact(self.beta_1),
            "rest_2": 1 - exact(self.beta_2),
            "epsilon": self.epsilon,
        }


class Lion(Optimizer):
    """w -= lr * sign(beta_1*m + (1-beta_1)*g), then m = beta_2*m + (1-beta_2)*g [9]_.

    Every entry moves by lr, so lr is smaller than Adam's by three to ten times, and a weight decay larger.

    Parameters
    ----------
    learning_rate : float
    beta_1 : float
        Above 0 to 1.
    beta_2 : float
        From 0 to 1.
    **kwargs
        See `Optimizer`.
    """

    ranges: ClassVar = {"beta_1": ABOVE_ZERO_TO_ONE, "beta_2": TO_ONE}
    update = staticmethod(rules.lion)

    def __init__(
        self, learning_rate: Rate = 0.001, beta_1: float = 0.9, beta_2: float = 0.99, **kwargs: Unpack[Options]
    ):
        super().__init__(learning_rate, **kwargs)
        self.keep(beta_1=beta_1, beta_2=beta_2)

    def slots(self):
        return {"momentum": 0.0}

    def numbers(self, lr, t, exact):
        beta_1, beta_2 = exact(self.beta_1), exact(self.beta_2)
        return {"lr": lr, "beta_1": beta_1, "rest_1": 1 - beta_1, "beta_2": beta_2, "rest_2": 1 - beta_2}
