"""What the study says equals torch's automatic differentiation of the same model, written out in study_reference.py."""

import numpy as np
import pytest
from cases import RUN_SEED, few_at_first
from study_reference import Written, arrays_of, draw

from rnncore import config, study
from rnncore.study.interventions import places

pytestmark = [
    pytest.mark.torch,
    # OpenBLAS sets the flag now and then though all is finite (numpy issue 24067); a NaN would fail the comparison
    pytest.mark.filterwarnings("ignore:invalid value encountered in matmul:RuntimeWarning"),
]
torch = pytest.importorskip("torch")
CLOSE = {"rtol": 1e-9, "atol": 1e-9}

numbers = pytest.mark.parametrize("number", few_at_first(range(100), 4))


@pytest.fixture
def drawn(number):
    """A random configuration; of the slow ones every other is compiled."""
    torch.set_num_threads(1)  # the arrays are small: threads would wait for one another
    rng = np.random.default_rng([RUN_SEED, number])
    compiled = number >= 4 and number % 2
    config.set_backend("numba" if compiled else "numpy")
    return (rng, *draw(rng, ("tanh",) if compiled else ("tanh", "softsign")))


def loss_of(written, x, y, mask):
    """Return x as a tensor with a gradient, the output and the mean squared error, after its backward pass."""
    x = torch.tensor(x, requires_grad=True)
    output = written.run(x, None if mask is None else torch.tensor(mask))
    y = torch.tensor(y)
    if output.ndim == 3 and mask is not None:  # masked positions are left out of the mean
        kept = torch.tensor(mask)
        loss = ((output - y)[kept] ** 2).mean() if mask.any() else 0 * output.sum()
    else:
        loss = ((output - y) ** 2).mean()
    loss.backward()
    return x, output, loss


def same(ours, theirs, what):
    np.testing.assert_allclose(ours, theirs, **CLOSE, err_msg=str(what))


@numbers
def test_traces_and_all_gradients(drawn):
    _, model, x, y, mask = drawn
    found, written = study.trace(model, x, y, mask=mask), Written(model)
    _, output, loss = loss_of(written, x, y, mask)
    same(found.output, output.detach(), "output")
    same(found.loss, loss.item(), "loss")
    for layer, series in found.items():
        tensors = written.kept[layer]
        assert {"x", "h", "h_prev", "dx", "dh"} <= set(series)
        for name in series:
            if name[0] == "d":
                theirs = arrays_of(tensors[name[1:]], gradient=True)
            else:
                theirs = arrays_of(tensors[name])
            theirs[~series.mask] = np.nan
            same(series[name], theirs, (layer, name))


@numbers
def test_jacobians(drawn):
    rng, model, x, _, mask = drawn
    layers = {layer.name: layer for layer in study.recurrent_layers(model)}
    name = rng.choice(list(layers))
    layer, T, written = layers[name], x.shape[1], Written(model)
    written.run(torch.tensor(x, requires_grad=True), None if mask is None else torch.tensor(mask))
    states, kept = written.states[name], written.kept[name]
    of, wrt = rng.choice(states), rng.choice([*states, "x"])
    step = int(rng.integers(T))
    order = list(range(T))[:: -1 if layer.go_backwards else 1]

    def after(state, t):
        n = order.index(t)
        return written.last[name][state] if n == T - 1 else kept[f"{state}_prev"][order[n + 1]]

    ours, end = study.jacobian(model, x, of, wrt, step, layer=name, mask=mask), after(of, step)
    valid = study.trace(model, x, mask=mask)[name].mask
    for t in order:
        theirs = np.zeros(ours[:, t].shape)
        if order.index(t) <= order.index(step):
            leaf = kept["x"][t] if wrt == "x" else after(wrt, t)
            for b, i in np.ndindex(*end.shape):
                if end.requires_grad and leaf.requires_grad:
                    (own,) = torch.autograd.grad(end[b, i], leaf, retain_graph=True, allow_unused=True)
                    theirs[b, i] = 0 if own is None else own[b]
        same(ours[:, t][valid[:, t]], theirs[valid[:, t]], (of, wrt, step, t))


@numbers
def test_interventions(drawn):
    rng, model, x, y, mask = drawn
    known = places(model)
    name = str(rng.choice(list(known)))
    B, T, _ = x.shape
    H = known[name].cell.units
    rows, steps, units = (rng.random(size) < 0.7 for size in (B, T, H))
    patch = rng.standard_normal((B, T, H))
    ours, change = [
        (0.3, lambda t, v: torch.full_like(v, 0.3)),
        (lambda v: v**3 - v / 2, lambda t, v: v**3 - v / 2),
        ((np.sin, lambda dy, y, v: dy * np.cos(v)), lambda t, v: v.sin()),
        (patch, lambda t, v: torch.tensor(patch[:, t])),
    ][rng.integers(4)]
    here = torch.tensor(rows[:, None] & units)
    changed = Written(model, {name: lambda t, v: torch.where(here & bool(steps[t]), change(t, v), v)})
    theirs_x, output, loss = loss_of(changed, x, y, mask)
    with study.intervene(model, {name: ours}, rows=rows, steps=steps, units=units):
        found = study.trace(model, x, y, mask=mask)
        weights = model.get_gradients()
        dx = model.backward_from_loss(model.loss_and_gradient(y, model(x, mask=mask))[1])
    same(found.output, output.detach(), name)
    same(found.loss, loss.item(), name)
    same(dx, theirs_x.grad, name)
    for own, other in zip(weights, written_gradients(changed, model), strict=True):
        same(own, other, name)
    assert study.effect(model, {name: ours}, x, y, mask=mask, rows=rows, steps=steps, units=units).loss == found.loss
    same(model(x, mask=mask), loss_of(Written(model), x, y, mask)[1].detach(), "after the block")


def written_gradients(written, model):
    """Return the gradients of the weights, in the model's order."""
    weights = [weight for part in model.walk() for weight in written.weights.get(part, ())]
    return [np.zeros(weight.shape) if weight.grad is None else weight.grad.numpy() for weight in weights]


@numbers
def test_saliencies(drawn):
    rng, model, x, _, mask = drawn
    target = rng.integers(2, size=len(x))
    step = -1

    smooth = all(layer.activation.name == "tanh" for layer in study.recurrent_layers(model))

    def value(x, mask):
        output = Written(model).run(x, None if mask is None else torch.tensor(mask))
        output = output[:, step] if output.ndim == 3 else output
        return output[torch.arange(len(x)), torch.tensor(np.tile(target, len(x) // len(target)))]

    def gradient(x, mask):
        x = torch.tensor(x, requires_grad=True)
        found = value(x, mask)
        if found.requires_grad:
            found.sum().backward()
        return np.zeros(x.shape) if x.grad is None else x.grad.numpy()

    nodes, shares = np.polynomial.legendre.leggauss(64)
    way = (x * ((nodes + 1) / 2)[:, None, None, None]).reshape(-1, *x.shape[1:])
    integral = gradient(way, None if mask is None else np.tile(mask, (64, 1))).reshape(64, *x.shape)
    full, left_out = value(torch.tensor(x), mask).detach().numpy(), np.empty(x.shape[:2])
    for t in range(x.shape[1]):
        without, kept = x.copy(), None if mask is None else mask.copy()
        if mask is None:
            without[:, t] = 0
        else:
            kept[:, t] = False
        left_out[:, t] = full - value(torch.tensor(without), kept).detach().numpy()
    theirs = {"gradient_input": (gradient(x, mask) * x).sum(-1), "leave_one_out": left_out}
    if smooth:  # the slope of softsign has a kink, so that more points are taken
        theirs["integrated_gradients"] = (np.tensordot(shares / 2, integral, 1) * x).sum(-1)
    for method, scores in theirs.items():
        found = study.saliency(model, x, method, target=target, mask=mask, step=step)
        same(found.value, full, method)
        same(found.scores, scores if mask is None else np.where(mask, scores, np.nan), method)
    assert study.saliency(model, x, mask=mask).error < 1e-3
