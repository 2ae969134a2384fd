"""The fit loop: epochs, batches, validations, and what callbacks are told. state.py says where it stands."""

from __future__ import annotations

import math
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from itertools import islice
from typing import Any

from ..lock import engine_lock
from ..utils.interrupt import deferred_interrupt
from ..utils.progress import Progress
from .batches import Source
from .callback import Callback, History
from .compiled import RunningMetrics
from .state import FitState


def fit(
    state: FitState,
    callbacks: Sequence[Callback],
    epochs: range,
    shuffle: bool,
    verbose: int,
    class_weight: Mapping[int, float] | None,
    validates_after: Callable[[int], bool],
) -> History:
    """Train the state's model on checked data; `validates_after` says by an epoch's number whether it is validated."""
    model, source, history = state.model, state.source, History()
    # History sees what others put into the logs; those that write down what all have become come after it.
    state.callbacks = callbacks = sorted([*callbacks, history], key=lambda callback: callback.comes_last)
    call(callbacks, "before_train", state)
    model.fit_state, model.history = state, history
    introduce(callbacks, model, epochs.stop, state.length, verbose)
    model.stop_training, logs = False, None
    with deferred_interrupt() as interrupted:
        call(callbacks, "on_train_begin")  # one of them may put the state where a cut run stood
        try:
            while state.epoch < epochs.stop and not state.over:
                epoch, begin = state.epoch, time.perf_counter()
                running = state.running
                if running is None:
                    if not source.begin_epoch(state.steps is None, model.generator if shuffle else None):
                        warnings.warn(f"x ran out of batches after epoch {epoch}; training ends", stacklevel=3)
                        break
                    running = state.begin_epoch()
                    call(callbacks, "on_epoch_begin", epoch)
                with Progress(f"Epoch {epoch + 1}/{epochs.stop}", state.length, verbose, state.batch) as progress:
                    logs = _fit_epoch(state, running, class_weight, progress, interrupted)
                    if state.validation is not None and validates_after(epoch + 1):
                        logs = dict(sorted({**logs, **_validated(state, state.validation, interrupted)}.items()))
                    progress.done(logs, time.perf_counter() - begin)
                state.end_epoch()
                call(callbacks, "on_epoch_end", epoch, logs)
                if interrupted:
                    raise KeyboardInterrupt(f"stopped after epoch {epoch + 1}")
                if model.stop_training:
                    break
            with engine_lock:
                model.optimizer.finalize_variable_values(model.trainable_weights)
        finally:
            call(callbacks, "on_train_end", logs)
    return model.history


def _fit_epoch(
    state: FitState, running: RunningMetrics, class_weight: Any, progress: Progress, interrupted: Any
) -> dict[str, Any]:
    """Train on the batches from `state` to the end of its epoch; return the epoch's logs."""
    model, where = state.model, f"epoch {state.epoch + 1}"
    for x, y, sample_weight in islice(state.source, state.left()):
        batch, where = state.batch, f"epoch {state.epoch + 1}, batch {state.batch + 1}"
        call(state.callbacks, "on_train_batch_begin", batch)
        try:
            model.train_step(x, y, sample_weight, class_weight, running, where)
        except FloatingPointError as error:
            if not any(callback.on_not_finite(batch, error) for callback in state.callbacks):
                raise
            running.loss.update_state(math.nan)
            model.stop_training = True
            break
        state.batch += 1
        call(state.callbacks, "on_train_batch_end", batch, running.logs())
        progress.step(running.logs())
        if interrupted:
            raise KeyboardInterrupt(f"stopped after {where}")
        if model.stop_training:
            break
    else:
        warn_if_short(state.left(), f"epoch {state.epoch + 1}")
    bad = model.bad_weight()
    if bad:
        raise FloatingPointError(f"{bad}, after {where}; a smaller learning_rate may help")
    return running.logs()


def _validated(state: FitState, source: Source, interrupted: Any) -> dict[str, Any]:
    """Return the logs of a validation; none if there are no batches left for it."""
    where = f"the validation of epoch {state.epoch + 1}"
    if not source.begin_epoch():
        warnings.warn(f"validation_data ran out of batches before {where}", stacklevel=4)
        return {}
    running = RunningMetrics(state.model, source.ragged, state.apart)
    evaluate(source, running, state.validation_steps, where, state.callbacks, interrupted)
    return {f"val_{name}": value for name, value in running.logs().items()}


def evaluate(
    source: Any,
    running: RunningMetrics,
    steps: int | None,
    where: str,
    callbacks: Sequence[Callback] = (),
    interrupted: Any = (),
    progress: Progress | None = None,
) -> None:
    """Let `running` take in loss and metrics of the batches that a source is ready for."""
    seen = 0
    call(callbacks, "on_test_begin")
    for x, y, sample_weight in islice(source, steps):
        call(callbacks, "on_test_batch_begin", seen)
        running.model.score(x, y, sample_weight, running, f"{where}, batch {seen + 1}")
        call(callbacks, "on_test_batch_end", seen, running.logs())
        seen += 1
        if progress is not None:
            progress.step(running.logs())
        if interrupted:
            raise KeyboardInterrupt(f"stopped in {where}")
    warn_if_short(steps and steps - seen, where)
    source.end_epoch()
    call(callbacks, "on_test_end", running.logs())


def introduce(callbacks: Sequence[Callback], model: Any, epochs: int, steps: int | None, verbose: int) -> None:
    """Tell callbacks what they look at."""
    for callback in callbacks:
        callback.model, callback.params = model, {"epochs": epochs, "steps": steps, "verbose": verbose}


def call(callbacks: Sequence[Callback], hook: str, *arguments: Any) -> None:
    """Call a method, by its name, of all callbacks."""
    for callback in callbacks:
        getattr(callback, hook)(*arguments)


def warn_if_short(missing: int | None, where: str) -> None:
    """Warn if batches are missing."""
    if missing:
        warnings.warn(f"x ran out of batches in {where}; {missing} more were asked for", stacklevel=4)
