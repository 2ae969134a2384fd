"""A model that is trained, evaluated and asked for predictions, as Keras does it: what a user calls."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager
from itertools import islice
from typing import Any

import numpy as np

from .. import config
from ..layers.checks import all_finite, flag, fraction, not_finite, positive, whole
from ..layers.own import check_backward
from ..layers.scopes import nothing_kept, states_apart, unbuilt_if_refused
from ..lock import engine_lock, locked
from ..sparse import SparseGradient
from ..utils.progress import Progress, compiling_told
from . import batches, checks, data, divergence
from . import fit as loop
from .callback import Callback, History
from .compiled import Compiled, RunningMetrics
from .state import FitState

NO_LOSS = "{}: there is no loss; call compile(optimizer, loss) first"


class Trainer(Compiled):
    """A layer that is trained: what compiles, fits, evaluates and predicts.

    A class of your own has what a `Layer` has (``build``, ``call``, ``children``, ``compute_output_shape``), and these:

    =========================================  ======================================================================
    ``input_layer``                            the layer that takes x: it says what x must be, and what is padding
    ``output_layer``                           the layer that gives the output; a loss may read its pre-activations
    ``output_mask``                            set by ``call``: the mask that goes with its output, or None
    ``call_backward(dy, from_logits=False)``   goes back from dL/d(output), or from that of the output layer's
                                               pre-activations
    =========================================  ======================================================================

    Attributes
    ----------
    history : History
        Of the last `fit`, also when it was interrupted.
    fit_state : FitState
        Where the last `fit` stands.
    stop_training : bool
        A callback sets it to end training after the batch; the epoch is closed as always.
    """

    left_out = ("fit_state", "output_mask", "_counted", "_fitting")
    fit_state: FitState | None = None
    _counted = False  # whether a `fit` or `evaluate` under way counts in the metrics
    _fitting: int | None = None  # the thread whose `fit` is under way

    def __init__(self, name: str | None = None):
        super().__init__(name)
        self.history: History | None = None
        self.stop_training = False
        self.generator = config.new_generator()  # of the shuffling

    def fit(
        self,
        x: Any = None,
        y: Any = None,
        batch_size: int | None = None,
        epochs: int = 1,
        verbose: int | str = "auto",
        callbacks: Sequence[Callback] | None = None,
        validation_split: float = 0.0,
        validation_data: Any = None,
        shuffle: bool = True,
        class_weight: Mapping[int, float] | None = None,
        sample_weight: Any = None,
        initial_epoch: int = 0,
        steps_per_epoch: int | None = None,
        validation_steps: int | None = None,
        validation_batch_size: int | None = None,
        validation_freq: int | Iterable[int] = 1,
    ) -> History:
        """Train the model.

        Parameters
        ----------
        x : array_like of shape (N, ...), ragged list, sequence object or iterable
            A list of N rows of different lengths is padded with 0 behind their ends, a batch at a time; the first layer
            must take that for padding (``mask_zero=True``: an id 0 in the data is padding too). When they are shuffled,
            batches have rows of nearly the same length.
            An object with ``__len__`` and ``__getitem__`` (`rnncore.utils.PyDataset`), a generator or another iterable
            gives batches: (x, y) or (x, y, sample_weight).
        y : array_like of shape (N, ...)
            Where x is ragged, rows as long as its own will do.
        batch_size : int
            Default 32. Without meaning where x gives batches.
        epochs : int
            The number of the last epoch.
        verbose : {"auto", 0, 1, 2}
            0 says nothing, 1 shows a bar with loss, metrics and the time left, 2 a line an epoch.
        callbacks : sequence of Callback, optional
        validation_split : float in [0, 1)
            The last share of x and y, taken before shuffling, is evaluated after each epoch and not trained on.
        validation_data : (x, y) or (x, y, sample_weight), sequence object or iterable
            Evaluated after each epoch.
        shuffle : bool
            Whether each epoch takes the samples, or a sequence object's batches, in a new order. An iterable has its
            own.
        class_weight : dict of int to float, optional
            What samples (or steps, where each has its own class) weigh in the loss and the weighted metrics, by class;
            1 where it says nothing. Multiplies `sample_weight`.
        sample_weight : array_like of shape (N,) or (N, T), optional
        initial_epoch : int
            The number of the first epoch, from 0.
        steps_per_epoch : int, optional
            Batches in an epoch; the next one goes on where it ended. Default: once through the data.
        validation_steps : int, optional
            Batches in a validation. That of an iterable goes on where the one before ended.
        validation_batch_size : int, optional
            Default: `batch_size`.
        validation_freq : int or iterable of int
            After how many epochs there is a validation, or after which ones, from 1.

        Returns
        -------
        History
            Its ``history`` has the running means of the training and the values of the validation, by epoch.

        Raises
        ------
        ValueError, TypeError
            An argument, or a weight, is not what it should be: the message says which, what came and what is
            allowed. Nothing has changed then. A bad batch from x itself ends training before its step.
        NotImplementedError
            A layer of your own has no `call_backward`.
        RuntimeError
            Another thread's `fit` of this model is under way.
        FloatingPointError
            Loss or gradients became NaN or infinite: it names the first layer and its time step, and the step of
            training. The weights are those before that step.
        KeyboardInterrupt
            Ctrl-C, after the step under way. The model is usable and ``model.history`` has what was done.

        Warns
        -----
        UserWarning
            x ran out of batches in an epoch of `steps_per_epoch`, or before the last epoch, which ends training.
        """
        if self.loss is None:
            raise ValueError(NO_LOSS.format(self.name))
        share = fraction(validation_split, "validation_split")
        size, steps = checks.optional(batch_size, "batch_size"), checks.optional(steps_per_epoch, "steps_per_epoch")
        validation_size = checks.optional(validation_batch_size, "validation_batch_size") or size
        validation_steps = checks.optional(validation_steps, "validation_steps")
        verbose, shuffle = checks.verbosity(verbose), flag(shuffle, "shuffle")
        numbers = range(whole(initial_epoch, "initial_epoch"), positive(epochs, "epochs"))
        if isinstance(validation_freq, Iterable) and not isinstance(validation_freq, str):
            validation_freq = list(validation_freq)
        class_weight, due = data.checked_class_weight(class_weight), checks.validates_after(validation_freq)
        callbacks = checks.callbacks_given(callbacks)
        label = "validation_data: "
        if validation_data is not None:
            validation_data = checks.validation_parts(validation_data)
        elif share:
            x, rest = self._split(x, y, sample_weight, share)
            y = sample_weight = None
            label, validation_data = "", (rest,)
        source = batches.source(self, x, y, sample_weight, batch_size=size, steps=steps, targets=True)
        validation = None
        if validation_data is not None:
            given = dict(zip(("x", "y", "sample_weight"), validation_data, strict=False))
            sizes: dict[str, Any] = {"batch_size": validation_size, "steps": validation_steps}
            validation = batches.source(self, **given, **sizes, label=label, sort=True, targets=True)
        with compiling_told(verbose), ExitStack() as opened:
            opened.enter_context(self._fitting_alone())
            apart = opened.enter_context(self._counting())
            samples = []
            for each, its_label in ((source, ""), (validation, label)):
                if each is not None:
                    opened.enter_context(closing(each))
                    samples.append((each.sample(), its_label))
            self._prepare_to_score(*samples)
            check_backward(self)
            if self.optimizer.built:
                self.optimizer.places(self.trainable_weights)  # what it knows nothing of is refused now
            asked = {"shuffle": shuffle, "class_weight": class_weight, "validation_freq": validation_freq}
            state = FitState(self, numbers.start, source, steps, validation, validation_steps, asked, apart)
            return loop.fit(state, callbacks, numbers, shuffle, verbose, class_weight, due)

    @contextmanager
    def _fitting_alone(self):
        """Refuse the block while another thread's `fit` is under way."""
        own = threading.get_ident()
        with engine_lock:
            before = self._fitting
            if before not in (None, own):
                raise RuntimeError(
                    f"{self.name}: fit is under way in another thread; wait until it ends, or fit a clone of the model"
                )
            self._fitting = own
        try:
            yield
        finally:
            self._fitting = before

    @contextmanager
    def _counting(self):
        """Yield whether the block must count in copies of the metrics, as another one counts in the model's own."""
        with engine_lock:
            apart, self._counted = self._counted, True
        try:
            yield apart
        finally:
            if not apart:
                self._counted = False

    def _split(self, x, y, sample_weight, share):
        """Return the samples without their last share, and that share."""
        if batches.gives_batches(x):
            raise ValueError(f"validation_split is {share}, but x gives batches; hand in validation_data instead")
        table = data.checked(self, x, y, sample_weight)
        edge = int(len(table) * (1 - share))
        if edge in (0, len(table)):
            raise ValueError(f"validation_split is {share}; of {len(table)} samples it leaves one part empty")
        return table[:edge], table[edge:]

    # --- evaluate and predict ----------------------------------------------------------------------------------

    def evaluate(
        self,
        x: Any = None,
        y: Any = None,
        batch_size: int | None = None,
        verbose: int | str = "auto",
        sample_weight: Any = None,
        steps: int | None = None,
        callbacks: Sequence[Callback] | None = None,
        return_dict: bool = False,
    ) -> Any:
        """Compute the loss and the metrics, without dropout.

        Parameters
        ----------
        x, y, batch_size, verbose, sample_weight, callbacks
            As in `fit`. Neither the batch size nor, where x is ragged, which rows are in a batch makes a difference
            (but to Keras's mean over batches of masked steps).
        steps : int, optional
            Batches to look at; default: all.
        return_dict : bool

        Returns
        -------
        float, list of float or dict of str to float
            The loss; with metrics [loss, metrics …]; with `return_dict` all by name, sorted by it.

        Raises
        ------
        ValueError, TypeError, FloatingPointError
            As `fit`.
        """
        if self.loss is None:
            raise ValueError(NO_LOSS.format(self.name))
        size, steps = checks.optional(batch_size, "batch_size"), checks.optional(steps, "steps")
        verbose, return_dict = checks.verbosity(verbose), flag(return_dict, "return_dict")
        callbacks = checks.callbacks_given(callbacks)
        given = batches.source(self, x, y, sample_weight, batch_size=size, steps=steps, sort=True, targets=True)
        with compiling_told(verbose), self._counting() as apart, closing(given) as source:
            self._prepare_to_score((source.sample(), ""))
            length = steps or source.steps
            loop.introduce(callbacks, self, 1, length, verbose)
            source.begin_epoch()
            with Progress("Evaluate", length, verbose) as progress:
                begin, running = time.perf_counter(), RunningMetrics(self, source.ragged, apart)
                loop.evaluate(source, running, steps, "the evaluation", callbacks, progress=progress)
                progress.done(running.logs(), time.perf_counter() - begin)
            return _returned(running, return_dict)  # in the block: after it another evaluation counts in the metrics

    def predict(
        self,
        x: Any,
        batch_size: int | None = None,
        verbose: int | str = 0,
        steps: int | None = None,
        callbacks: Sequence[Callback] | None = None,
    ) -> np.ndarray | list[np.ndarray]:
        """Return the outputs for x, computed a batch at a time, without dropout.

        Parameters
        ----------
        x, batch_size, verbose, callbacks
            As in `fit`; the outputs do not depend on the batches. Of batches that have more than x, the rest is left
            aside.
        steps : int, optional
            Batches to take; default: all.

        Returns
        -------
        ndarray of shape (N, ...)
            Of the last layer's dtype, in the order of x. A list of N arrays where their shapes differ: an output a step
            of ragged x has as many steps as its row.

        Raises
        ------
        ValueError, TypeError
            x, or a weight, is not what it should be.
        """
        size, steps = checks.optional(batch_size, "batch_size"), checks.optional(steps, "steps")
        verbose = checks.verbosity(verbose)
        callbacks = checks.callbacks_given(callbacks)
        outputs: list[np.ndarray] = []
        with closing(batches.source(self, x, batch_size=size, steps=steps, sort=True)) as source:
            self._prepare(source.sample())
            length = steps or source.steps
            loop.introduce(callbacks, self, 1, length, verbose)
            source.begin_epoch()
            loop.call(callbacks, "on_predict_begin")
            with Progress("Predict", length, verbose) as progress:
                for batch, (x, _, _) in enumerate(islice(source, steps)):
                    loop.call(callbacks, "on_predict_batch_begin", batch)
                    outputs.append(self._predicted(x))
                    loop.call(callbacks, "on_predict_batch_end", batch, {"outputs": outputs[-1]})
                    progress.step({})
            loop.warn_if_short(steps and steps - len(outputs), "the prediction")
            source.end_epoch()
            loop.call(callbacks, "on_predict_end")
            return source.restored(outputs, self.output_mask is not None)

    # --- one batch ---------------------------------------------------------------------------------------------

    def train_on_batch(
        self,
        x: Any,
        y: Any = None,
        sample_weight: Any = None,
        class_weight: Mapping[int, float] | None = None,
        return_dict: bool = False,
    ) -> Any:
        """Take one step on one batch.

        Parameters
        ----------
        x, y, sample_weight, class_weight
            As in `fit`, but samples only.
        return_dict : bool

        Returns
        -------
        float, list of float or dict of str to float
            The batch's loss before the step; with metrics [loss, metrics …]; with `return_dict` all by name.

        Raises
        ------
        ValueError, TypeError, FloatingPointError
            As `fit`.
        """
        return_dict = flag(return_dict, "return_dict")
        if class_weight is not None:
            class_weight = data.checked_class_weight(class_weight)
        with engine_lock:
            x, y, sample_weight = self._batch(x, y, sample_weight)
            return _returned(self.train_step(x, y, sample_weight, class_weight), return_dict)

    def train_step(
        self,
        x: np.ndarray,
        y: np.ndarray,
        sample_weight: np.ndarray | None = None,
        class_weight: Mapping[int, float] | None = None,
        running: RunningMetrics | None = None,
        where: str = "this batch",
    ) -> RunningMetrics:
        """Take a step on a checked batch: forward, loss, backward, update.

        Returns
        -------
        RunningMetrics
            `running`, or what counts this batch alone, with the batch's loss and metrics.

        Raises
        ------
        FloatingPointError
            The loss or a gradient is not finite: it says where that began, and `where` it happened.
        """
        with engine_lock:
            # what overflows is found below, and named
            with np.errstate(all="ignore"), self._moving_back_if_refused() as moving:
                y_pred = self.forward(x, training=True)
                if class_weight is not None:
                    sample_weight = data.with_class_weight(class_weight, self.loss, y, y_pred, sample_weight)
                value, gradient = self.loss_and_gradient(y, y_pred, sample_weight)
                if not np.isfinite(value):
                    raise divergence.loss_error(self, value, divergence.step_of(self, where))
                self.call_backward(gradient, from_logits=self._fused() is not None)
                if running is None:
                    running = RunningMetrics(self, apart=self._counted)
                running.add(value, y, y_pred, sample_weight)
                pairs = self.gradients_and_weights()
                gradients = [g.rows if isinstance(g, SparseGradient) else g for g, _ in pairs]
                if not all_finite(*gradients, *moving):
                    raise divergence.gradient_error(self, divergence.step_of(self, where))
            if not self.optimizer.built:
                self.build_optimizer(self.trainable_weights)
            self.optimizer.apply_gradients(pairs)
            self.constrain()
            return running

    @contextmanager
    def _moving_back_if_refused(self):
        """Yield the weights that a call moves, the averages of `BatchNormalization`; undo that if the block fails."""
        moving = self.moving_weights
        before = [weight.copy() for weight in moving]
        try:
            yield moving
        except BaseException:
            for weight, value in zip(moving, before, strict=True):
                weight[...] = value
            raise

    @locked
    def test_on_batch(self, x: Any, y: Any = None, sample_weight: Any = None, return_dict: bool = False) -> Any:
        """Evaluate one batch; arguments, what comes back and errors as those of `train_on_batch`."""
        return_dict = flag(return_dict, "return_dict")
        batch, running = self._batch(x, y, sample_weight), RunningMetrics(self, apart=self._counted)
        self.score(*batch, running)
        return _returned(running, return_dict)

    @locked
    def score(
        self, x: np.ndarray, y: np.ndarray, sample_weight: Any, running: RunningMetrics, where: str = "this batch"
    ) -> None:
        """Let `running` take in the loss and the metrics of a checked batch."""
        with np.errstate(all="ignore"), nothing_kept():
            y_pred = self.forward(x)
            value = self.loss_of(y, y_pred, sample_weight)
        if not np.isfinite(value):
            with np.errstate(all="ignore"), states_apart(self):
                self.forward(x)  # all is kept this time, for a look at where it began
                raise divergence.loss_error(self, value, where)
        running.add(value, y, y_pred, sample_weight)

    def predict_on_batch(self, x: Any) -> np.ndarray:
        """Return the outputs for x, taken as one batch; errors as those of `predict`."""
        table = data.checked(self, x)
        self._prepare(table)
        return self._predicted(table.arrays()[0])

    @locked
    def _predicted(self, x):
        """Return the outputs for checked x; refuse weights that are not finite."""
        with nothing_kept():
            outputs = self.forward(x)
        if not_finite(outputs) is not None:
            self.check_weights()
        return outputs

    # --- checks ------------------------------------------------------------------------------------------------

    def _batch(self, x, y, sample_weight):
        """Return a checked batch, and build the model for it."""
        if self.loss is None:
            raise ValueError(NO_LOSS.format(self.name))
        table = data.checked(self, x, y, sample_weight)
        if y is None or not self.built:
            self._prepare(table, targets=True)
        return table.arrays()

    def _prepare(self, table, targets=False, label=""):
        """Build the model for checked samples, which may have to have `targets`."""
        if targets and table.columns[1] is None:
            raise ValueError(f"{label}y is None; the loss needs targets")
        with engine_lock:
            if not self.built:
                _, *sizes = table[:1].arrays()[0].shape
                self.build((len(table), *sizes) if table.lengths is None else (len(table), None, *sizes[1:]))

    @locked  # no other thread builds the model meanwhile
    def _prepare_to_score(self, *samples):
        """Build the model for checked samples, each with its label, and refuse weights and targets that do not fit."""
        with unbuilt_if_refused(self):
            for table, label in samples:
                self._prepare(table, True, label)
                self.check_weights()
                checks.check_targets(self, table, label)

    def checked_data(
        self, x: Any, y: Any, sample_weight: Any = None
    ) -> tuple[np.ndarray, np.ndarray | None, np.ndarray | None]:
        """Return x, y and sample_weight as arrays of one length, not copied, or raise ValueError or TypeError."""
        return data.checked(self, x, y, sample_weight).arrays()


def _returned(running, return_dict):
    values = running.values()
    return running.logs() if return_dict else values[0] if len(values) == 1 else values
