"""Bad input: an error that names the argument, what came and what is allowed; and nothing has changed.

One table: what is wrong, the call that does it, the error, what its message says.
"""

import numpy as np
import pytest

import rnncore
from rnncore import Sequential, config, initializers, losses, optimizers
from rnncore.callbacks import Callback, EarlyStopping
from rnncore.layers import LSTM, Activation, Dense, Dropout, Embedding, Layer, Masking, SimpleRNN

NAN, INF = float("nan"), float("inf")
IDS = np.array([[1, 2, 3, 0], [4, 5, 0, 0], [6, 1, 2, 3]])
LABELS = np.array([0, 1, 1])
X = np.linspace(-1, 1, 24).reshape(2, 3, 4)


class Objects:
    """A trained model on ids, one layer of each kind that has been called, and fresh ones."""

    def __init__(self):
        config.set_backend("numpy")
        layers = [Embedding(7, 3, mask_zero=True, name="words"), LSTM(2, dropout=0.5, name="reader")]
        self.model = Sequential([*layers, Dense(1, activation="sigmoid", name="verdict")], name="critic")
        self.model.compile("adam", "binary_crossentropy", metrics=["accuracy"])
        self.model.fit(IDS, LABELS, verbose=0)
        self.words, self.reader, self.verdict = self.model.layers

        self.lstm = LSTM(2, return_sequences=True, return_state=True, name="lstm_of_4")
        self.rnn, self.dense = SimpleRNN(2, name="rnn_of_4"), Dense(2, name="dense_of_4")
        self.embedding, self.dropout = Embedding(5, 2, name="five"), Dropout(0.5, (None, 1, 3), name="drop")
        for layer in (self.lstm, self.rnn, self.dense):
            layer(X)
        self.dx = self.dense.backward(np.ones((2, 3, 2)))
        self.embedding([[0, 4]])
        self.fresh_model = Sequential([LSTM(2), Dense(1)], name="fresh")
        self.fresh_model.compile("sgd", "mse")
        self.sequences = Sequential([LSTM(2, return_sequences=True), Dense(3, activation="softmax")], name="tagger")
        self.sequences.compile("sgd", "sparse_categorical_crossentropy")
        self.sequences.build((None, None, 4))

        self.pairs = Sequential([Dense(2)], name="pairs")
        self.pairs.compile("sgd", "mse", metrics=["sparse_categorical_accuracy"])
        self.pairs.build((None, 4))

    def state(self):
        """Return everything that a failed call must leave alone."""
        layers = [value for value in vars(self).values() if isinstance(value, Layer)]
        leaves = {leaf.name: leaf for layer in layers for leaf in layer.leaves()}
        models = [layer for layer in layers if isinstance(layer, Sequential)]
        return {
            "built": {name: leaf.built for name, leaf in leaves.items()},
            "weights": {name: leaf.get_weights() for name, leaf in leaves.items()},
            "gradients": {name: [np.array(g) for g in leaf.gradients.values()] for name, leaf in leaves.items()},
            "draws": [generator.bit_generator.state for layer in layers for generator in layer.generators()],
            "layers": [[layer.name for layer in model.layers] for model in models],
            "optimizers": [model.optimizer.get_state() for model in models],
            "losses": [model.loss.get_config() for model in models],
            "settings": (config.floatx(), config.backend(), config.threads()),
        }


@pytest.fixture
def objects():
    return Objects()


def fit(**options):
    """Return a call of fit on good data with bad options."""
    return lambda o: o.model.fit(**{"x": IDS, "y": LABELS, "verbose": 0, **options})


def spoiled(array, value, index=-1):
    """Return a copy with one entry that is `value`."""
    array = np.array(array, float)
    array.flat[index] = value
    return array


def weights_spoiled(o):
    weights = o.model.get_weights()
    weights[3][0] = NAN
    return weights


def spoil(layer, name, action):
    """Run `action` while a weight of `layer` holds a NaN."""
    weight = getattr(layer, name)
    before = weight.flat[0]
    weight.flat[0] = NAN
    try:
        action()
    finally:
        weight.flat[0] = before


SIZE = "expected a whole number of at least 1"
NATURAL = "expected a whole number of at least 0"
SHARE = r"expected a number in \[0, 1\)"
FLAG = "expected True or False"
V, T = ValueError, TypeError

CONSTRUCTORS = [
    ("units 0", lambda o: LSTM(0), V, rf"units is 0; {SIZE}"),
    ("units negative", lambda o: Dense(-1), V, rf"units is -1; {SIZE}"),
    ("units float", lambda o: SimpleRNN(2.0), V, rf"units is 2\.0; {SIZE}"),
    ("units string", lambda o: Dense("3"), V, rf"units is '3'; {SIZE}"),
    ("units bool", lambda o: Dense(True), V, rf"units is True; {SIZE}"),
    ("units None", lambda o: LSTM(None), V, rf"units is None; {SIZE}"),
    ("units missing", lambda o: LSTM(), T, "LSTM: .*'units'"),
    ("input_dim", lambda o: Embedding(0, 3), V, rf"input_dim is 0; {SIZE}"),
    ("output_dim", lambda o: Embedding(3, 2.5), V, rf"output_dim is 2\.5; {SIZE}"),
    ("mask_zero", lambda o: Embedding(3, 2, mask_zero="yes"), T, f"mask_zero is 'yes'; {FLAG}"),
    ("dropout 1", lambda o: LSTM(2, dropout=1), V, rf"dropout is 1; {SHARE}"),
    ("dropout negative", lambda o: LSTM(2, recurrent_dropout=-0.1), V, rf"recurrent_dropout is -0\.1; {SHARE}"),
    ("dropout NaN", lambda o: SimpleRNN(2, dropout=NAN), V, rf"dropout is nan; {SHARE}"),
    ("rate", lambda o: Dropout(1.5), V, rf"rate is 1\.5; {SHARE}"),
    ("rate string", lambda o: Dropout("0.5"), V, rf"rate is '0\.5'; {SHARE}"),
    ("noise_shape", lambda o: Dropout(0.5, noise_shape=3), V, r"noise_shape is 3; expected a tuple"),
    ("seed", lambda o: Dropout(0.5, seed=-1), V, rf"seed is -1; {NATURAL}"),
    ("seed string", lambda o: Dropout(0.5, seed="a"), V, rf"seed is 'a'; {NATURAL}"),
    ("mask_value", lambda o: Masking("0"), V, "mask_value is '0'; expected a finite number"),
    ("mask_value NaN", lambda o: Masking(NAN), V, "mask_value is nan; expected a finite number"),
    ("use_bias", lambda o: Dense(2, use_bias="no"), T, f"use_bias is 'no'; {FLAG}"),
    ("trainable", lambda o: LSTM(2, trainable="False"), T, f"trainable is 'False'; {FLAG}"),
    ("name", lambda o: Dense(2, name=3), V, "name is 3; expected a string"),
    ("name with a slash", lambda o: LSTM(2, name="a/b"), V, "name is 'a/b'; expected a string"),
    ("dtype", lambda o: LSTM(2, dtype="float16"), V, "dtype is 'float16'; allowed: 'float32', 'float64'"),
    ("dtype unknown", lambda o: Dense(2, dtype="float"[:3]), V, "dtype is 'flo'; allowed: 'float32', 'float64'"),
    ("activation", lambda o: Dense(2, activation="sigmoyd"), V, "unknown activation 'sigmoyd'.*did you mean 'sigmoid'"),
    ("activation number", lambda o: LSTM(2, activation=3), T, "activation: got 3"),
    ("activation function", lambda o: Activation(lambda z: z), V, "comes without its derivative"),
    ("initializer", lambda o: Dense(2, kernel_initializer="glorot"), V, "unknown initializer 'glorot'.*known: "),
    ("initializer number", lambda o: LSTM(2, recurrent_initializer=0), T, "initializer: got 0"),
    ("argument", lambda o: LSTM(2, unit=3), T, "LSTM has no argument 'unit': did you mean units"),
    (
        "argument of another layer",
        lambda o: SimpleRNN(2, unit_forget_bias=True),
        T,
        "SimpleRNN has no .*: it has units, activation, ",
    ),
    ("argument of Dense", lambda o: Dense(2, unit=3), T, "'unit'"),
    ("loss", lambda o: losses.get("binary"), V, "loss: unknown loss 'binary'.*known: "),
    ("optimizer", lambda o: optimizers.get("adan"), V, "optimizer: unknown optimizer 'adan'.*did you mean 'adam'"),
    ("learning rate", lambda o: optimizers.SGD(-1), V, "learning_rate is -1; expected a number"),
    ("gain", lambda o: initializers.Orthogonal("1"), V, "gain is '1'; expected a number"),
    ("monitor", lambda o: EarlyStopping(3), T, "monitor is 3; expected a name"),
    ("patience", lambda o: EarlyStopping(patience=-1), V, f"patience is -1; {NATURAL}"),
    ("mode", lambda o: EarlyStopping(mode="up"), V, "mode: unknown mode 'up'.*auto, max, min"),
    ("min_delta", lambda o: EarlyStopping(min_delta="a"), V, "min_delta is 'a'; expected a finite number"),
    ("restore", lambda o: EarlyStopping(restore_best_weights=1), T, f"restore_best_weights is 1; {FLAG}"),
    ("layers", lambda o: Sequential(o.dense), T, "layers is .*expected a list of layers"),
    ("layers of names", lambda o: Sequential(["lstm"]), T, "add got 'lstm'; expected a layer"),
]
FLAGS = [
    ("use_bias of LSTM", lambda o: LSTM(2, use_bias="no"), T, f"use_bias is 'no'; {FLAG}"),
    (
        "unit_forget_bias",
        lambda o: LSTM(2, unit_forget_bias="1"),
        V,
        "unit_forget_bias is '1'; expected a finite number",
    ),
    ("return_sequences", lambda o: LSTM(2, return_sequences="no"), T, f"return_sequences is 'no'; {FLAG}"),
    ("return_state", lambda o: SimpleRNN(2, return_state=0), T, f"return_state is 0; {FLAG}"),
    ("go_backwards", lambda o: LSTM(2, go_backwards=None), T, f"go_backwards is None; {FLAG}"),
    ("zero_output", lambda o: LSTM(2, zero_output_for_mask="a"), T, f"zero_output_for_mask is 'a'; {FLAG}"),
    ("seed of LSTM", lambda o: LSTM(2, seed=-1), V, rf"seed is -1; {NATURAL}"),
    ("seed of LSTM string", lambda o: LSTM(2, seed="a"), V, rf"seed is 'a'; {NATURAL}"),
]
SETTINGS = [
    ("floatx", lambda o: config.set_floatx("half"), V, "dtype is 'half'; allowed: 'float32', 'float64'"),
    ("backend", lambda o: config.set_backend("cuda"), V, "backend .*is 'cuda'; allowed: numba, numpy"),
    ("threads 0", lambda o: config.set_threads(0), V, "threads .*is 0; expected a whole number from 1 to 1024"),
    ("threads many", lambda o: config.set_threads(10**9), V, "threads .*is 1000000000; .* from 1 to 1024"),
    (
        "threads float",
        lambda o: config.set_threads(1.5),
        V,
        r"threads .*is 1\.5; expected a whole number from 1 to",
    ),
    (
        "threads bool",
        lambda o: config.set_threads(True),
        V,
        "threads .*is True; expected a whole number from 1 to",
    ),
    ("seed", lambda o: config.set_seed(-3), V, f"seed is -3; {NATURAL}"),
    ("seed string", lambda o: config.set_seed("three"), V, f"seed is 'three'; {NATURAL}"),
]
INPUTS = [
    ("id too large", lambda o: o.embedding([[0, 5]]), V, r"five: x holds the id 5; allowed: 0 to 4 \(input_dim - 1\)"),
    ("id negative", lambda o: o.embedding([[0, -1]]), V, "five: x holds the id -1; allowed: 0 to 4"),
    ("ids with a fraction", lambda o: o.embedding([[0.5]]), T, "five: x has dtype float64; expected integers"),
    ("ids NaN", lambda o: o.embedding([[NAN]]), T, "five: x has dtype float64; expected integers"),
    ("ids inf", lambda o: o.embedding([[INF]]), T, "five: x has dtype float64; expected integers"),
    ("ids strings", lambda o: o.embedding([["a"]]), T, "five: x has dtype <U1; expected integers"),
    ("ids ragged", lambda o: o.embedding([[1], [1, 2]]), V, r"five: x is ragged.*pad_sequences"),
    ("ids in lists", lambda o: o.embedding(np.array([[1], [1, 2]], object)), T, "x has dtype object.*pad_sequences"),
    ("ids None", lambda o: o.embedding(None), T, "five: x has dtype object; expected integers"),
    ("one id", lambda o: o.embedding(1), V, r"five: x has shape \(\), 0 axes; expected 1 or more"),
    ("NaN", lambda o: o.lstm(spoiled(X, NAN)), V, r"lstm_of_4: x is not finite in float32: nan at \(1, 2, 3\)"),
    ("inf", lambda o: o.dense(spoiled(X, -INF, 0)), V, r"dense_of_4: x is not finite in float32: -inf at \(0, 0, 0\)"),
    ("too large for float32", lambda o: o.rnn(spoiled(X, 1e300)), V, r"not finite in float32: 1e\+300 at"),
    ("complex", lambda o: o.dense(X * 1j), T, "x has dtype complex128; expected numbers"),
    ("strings", lambda o: o.lstm([[["a"] * 4]]), T, "x has dtype <U1; expected numbers"),
    ("objects", lambda o: o.lstm(X.astype(object)), T, "x has dtype object; expected numbers"),
    ("ragged", lambda o: o.dense([[1.0], [1.0, 2.0]]), V, "dense_of_4: x is ragged"),
    ("empty batch", lambda o: o.lstm(X[:0]), V, r"x has shape \(0, 3, 4\): axis 0 is empty"),
    ("no steps", lambda o: o.lstm(X[:, :0]), V, r"x has shape \(2, 0, 4\): axis 1 is empty"),
    ("no ids", lambda o: o.embedding(IDS[:, :0]), V, r"x has shape \(3, 0\): axis 1 is empty"),
    ("rank 2", lambda o: o.lstm(X[0]), V, r"lstm_of_4: x has shape \(3, 4\), 2 axes; expected 3"),
    ("rank 4", lambda o: o.rnn(X[None]), V, r"rnn_of_4: x has shape \(1, 2, 3, 4\), 4 axes; expected 3"),
    ("rank 1", lambda o: o.dense(X[0, 0]), V, r"dense_of_4: x has shape \(4,\), 1 axes; expected 2 or more"),
    ("features", lambda o: o.lstm(X[..., :3]), V, r"lstm_of_4: x has 3 features in shape \(2, 3, 3\).*built for 4"),
    ("training", lambda o: o.lstm(X, training="no"), T, f"lstm_of_4: training is 'no'; {FLAG}"),
    ("noise_shape", lambda o: o.dropout(X, training=True), V, r"drop: noise_shape is \(None, 1, 3\).*\(2, 3, 4\)"),
    ("mask's shape", lambda o: o.lstm(X, mask=[[1, 1]]), V, r"mask has shape \(1, 2\); expected \(2, 3\)"),
    ("mask of features", lambda o: o.lstm(X, mask=X > 0), V, r"mask has shape \(2, 3, 4\); expected \(2, 3\)"),
    ("mask of rows", lambda o: o.lstm(X, mask=[1, 1]), V, r"mask has shape \(2,\); expected \(2, 3\)"),
    ("mask's values", lambda o: o.lstm(X, mask=[[0, 1, 2]] * 2), T, "mask has dtype int64; expected bool or zeros and"),
    ("mask of strings", lambda o: o.lstm(X, mask=[["a"] * 3] * 2), T, "mask has dtype <U1"),
    ("one state", lambda o: o.lstm(X, initial_state=np.ones((2, 2))), V, "initial_state has 1 array; expected 2"),
    (
        "state's shape",
        lambda o: o.lstm(X, initial_state=[np.ones((2, 2)), np.ones((2, 3))]),
        V,
        r"lstm_of_4: initial_state\[1\] has shape \(2, 3\); expected \(2, 2\)",
    ),
    ("state NaN", lambda o: o.rnn(X, initial_state=[[[NAN, 0], [0, 0]]]), V, r"initial_state\[0\] is not finite"),
    ("weight NaN", lambda o: spoil(o.dense, "kernel", lambda: o.dense(X)), V, "weight kernel of layer 'dense_of_4'"),
]
BACKWARD = [
    ("before a call", lambda o: Dense(2, name="new").backward([[1]]), V, "new: backward came before a call"),
    ("model before a call", lambda o: o.fresh_model.backward([[1]]), V, "fresh: backward came before a call"),
    ("dy's shape", lambda o: o.dense.backward(X), V, r"dense_of_4: dy has shape \(2, 3, 4\); expected \(2, 3, 2\)"),
    ("dy NaN", lambda o: o.rnn.backward([[0, NAN], [0, 0]]), V, r"dy is not finite in float32: nan at \(0, 1\)"),
    ("dy alone", lambda o: o.lstm.backward(np.ones((2, 3, 2))), V, "dy is a ndarray; expected a list of 3"),
    ("dy short", lambda o: o.lstm.backward([None, None]), V, "dy is 2 of them; expected a list of 3"),
    (
        "dy of a state",
        lambda o: o.lstm.backward([None, np.ones(2), None]),
        V,
        r"dy\[1\] has shape \(2,\); expected \(2, 2\)",
    ),
    ("dy strings", lambda o: o.rnn.backward([["a", "b"]] * 2), T, "dy has dtype <U1; expected numbers"),
    ("gradients too early", lambda o: o.rnn.get_gradients(), V, "rnn_of_4: get_gradients came before backward"),
]
WEIGHTS = [
    ("count", lambda o: o.dense.set_weights([np.ones((4, 2))]), V, "dense_of_4: weights has 1 arrays; expected 2"),
    ("shape", lambda o: o.dense.set_weights([X[0], X[0]]), V, r"weights\[0\] has shape \(3, 4\); expected \(4, 2\)"),
    (
        "shape of the last",
        lambda o: o.dense.set_weights([np.ones((4, 2)), [1, 2, 3]]),
        V,
        r"weights\[1\] has shape \(3,\); expected \(2,\)",
    ),
    (
        "NaN",
        lambda o: o.model.set_weights(weights_spoiled(o)),
        V,
        r"critic: weights\[3\] is not finite in float32: nan",
    ),
    ("no list", lambda o: o.dense.set_weights(3), T, "weights is a int; expected a list of 2 arrays"),
    ("strings", lambda o: o.dense.set_weights([[["a"] * 2] * 4, [0, 0]]), T, r"weights\[0\] has dtype <U1"),
    ("not built", lambda o: Dense(2).set_weights([X[0]]), V, "weights has 1 arrays; expected 0 .*not built yet"),
    ("build's shape", lambda o: Dense(2).build(4), V, "input_shape is 4; expected a tuple of whole numbers"),
]
MODEL = [
    ("no layers", lambda o: Sequential(name="bare").predict(X), V, "bare: the model has no layers; add some first"),
    ("no layers, build", lambda o: Sequential(name="bare").build((1, 2)), V, "bare: the model has no layers"),
    ("no layers, pop", lambda o: Sequential(name="bare").pop(), V, "bare: pop: there is no layer"),
    (
        "no compile",
        lambda o: Sequential([Dense(1)], "raw").fit(X[0], [1, 2, 3]),
        V,
        "raw: there is no loss; call compil",
    ),
    ("no loss", lambda o: Sequential([Dense(1)], "raw").evaluate(X[0], [1, 2, 3]), V, "raw: there is no loss"),
    ("layer twice", lambda o: o.model.add(o.verdict), V, "critic: layer 'verdict' is in the model already"),
    ("name twice", lambda o: o.model.add(Dense(2, name="verdict")), V, "there is a layer named 'verdict' already"),
    ("class added", lambda o: o.model.add(Dense), T, "critic: add got .*Dense.*; expected a layer"),
    ("itself added", lambda o: o.model.add(o.model), T, "critic: add got .*; expected a layer"),
    ("layer's name", lambda o: o.model.get_layer("wrds"), V, "unknown layer 'wrds'.*did you mean 'words'"),
    ("layer's index", lambda o: o.model.get_layer(index=3), V, "index is 3; expected a whole number below 3"),
    ("states", lambda o: Sequential([o.lstm], "s").predict(X), V, "s: lstm_of_4 returns its states too"),
    ("ids inside", lambda o: Sequential([Dense(2), Embedding(3, 2, name="e")]).predict(X), V, "e takes integers"),
    ("rank inside", lambda o: Sequential([Dense(2), LSTM(2, name="l")]).predict(X[0]), V, r"l: x has shape \(3, 2\)"),
    ("rank", lambda o: o.model.predict(IDS[None]), V, r"reader: x has shape \(1, 3, 4, 3\), 4 axes; expected 3"),
    ("features", lambda o: o.sequences.predict(X[..., :2]), V, "x has 2 features .*built for 4"),
    ("id", lambda o: o.model.predict([[7]]), V, "words: x holds the id 7; allowed: 0 to 6"),
    ("batch_size", lambda o: o.model.predict(IDS, batch_size=0), V, f"batch_size is 0; {SIZE}"),
    ("verbose", lambda o: o.model.predict(IDS, verbose=3), V, "verbose is 3; expected 'auto', 0, 1 or 2"),
    ("return_dict", lambda o: o.model.evaluate(IDS, LABELS, return_dict="no"), T, f"return_dict is 'no'; {FLAG}"),
    (
        "weight NaN",
        lambda o: spoil(o.reader, "bias", lambda: o.model.predict(IDS)),
        V,
        r"the weight bias of layer 'reader' is not finite: nan at \(0,\)",
    ),
    ("compile: loss", lambda o: o.model.compile("sgd", "bce_"), V, "loss: unknown loss 'bce_'"),
    ("compile: optimizer", lambda o: o.model.compile("sdg", "bce"), V, "unknown optimizer 'sdg'"),
    ("compile: optimizer's type", lambda o: o.model.compile(0.01, "bce"), T, r"optimizer: got 0\.01"),
    ("compile: metric", lambda o: o.model.compile("sgd", "bce", metrics=["acuracy"]), V, "unknown metric 'acuracy'"),
    (
        "compile: metrics",
        lambda o: o.model.compile("sgd", "bce", metrics="accuracy"),
        T,
        "metrics is 'accuracy'; expected a list",
    ),
    (
        "compile: reduction",
        lambda o: o.model.compile("sgd", losses.BinaryCrossentropy(reduction=None)),
        V,
        "loss has reduction None; training needs one that gives a number",
    ),
]
TRAINING = [
    ("lengths", fit(y=LABELS[:2]), V, r"y has shape \(2,\); expected 3 samples, as x has"),
    ("one label", fit(y=1), V, r"y has shape \(\); expected 3 samples"),
    ("y's shape", fit(y=np.ones((3, 2))), V, r"y_true has shape \(3, 2\), y_pred \(3, 1\); expected the same shape"),
    ("y NaN", fit(y=[0, 1, NAN]), V, r"y is not finite in float32: nan at \(2,\)"),
    ("y strings", fit(y=["good", "bad", "good"]), T, "y has dtype <U4; expected numbers"),
    ("y ragged", fit(y=[[1], [1, 0], [1]]), V, "y is ragged"),
    ("y None", fit(y=None), V, "y is None; the loss needs targets"),
    ("x ragged inside", fit(x=[[[1], [2, 3]]] * 3), V, "words: x is ragged.*pad_sequences"),
    ("x empty", fit(x=IDS[:0], y=LABELS[:0]), V, r"x has shape \(0, 4\): axis 0 is empty"),
    ("x id", fit(x=IDS + 1), V, "words: x holds the id 7; allowed: 0 to 6"),
    ("weights' length", fit(sample_weight=[1, 2]), V, r"sample_weight has shape \(2,\); expected 3 samples"),
    ("weights' shape", fit(sample_weight=np.ones((3, 2))), V, r"sample_weight has shape \(3, 2\)"),
    ("weights inf", fit(sample_weight=[1, 2, INF]), V, "sample_weight is not finite"),
    ("batch_size", fit(batch_size=-2), V, f"batch_size is -2; {SIZE}"),
    ("batch_size float", fit(batch_size=2.0), V, rf"batch_size is 2\.0; {SIZE}"),
    ("epochs 0", fit(epochs=0), V, f"epochs is 0; {SIZE}"),
    ("epochs string", fit(epochs="3"), V, f"epochs is '3'; {SIZE}"),
    ("initial_epoch", fit(initial_epoch=-1), V, f"initial_epoch is -1; {NATURAL}"),
    ("verbose", fit(verbose=7), V, "verbose is 7; expected 'auto', 0, 1 or 2"),
    ("verbose string", fit(verbose="silent"), V, "verbose is 'silent'; expected 'auto', 0, 1 or 2"),
    ("verbose list", fit(verbose=[1]), V, r"verbose is \[1\]; expected 'auto', 0, 1 or 2"),
    ("shuffle", fit(shuffle="batch"), T, f"shuffle is 'batch'; {FLAG}"),
    ("validation_split 1", fit(validation_split=1.0), V, rf"validation_split is 1\.0; {SHARE}"),
    ("validation_split negative", fit(validation_split=-0.1), V, rf"validation_split is -0\.1; {SHARE}"),
    ("validation_split string", fit(validation_split="0.1"), V, rf"validation_split is '0\.1'; {SHARE}"),
    (
        "validation_split too small",
        fit(validation_split=0.9),
        V,
        r"validation_split is 0\.9; of 3 samples it leaves one part empty",
    ),
    ("validation_data", fit(validation_data=IDS), V, "validation_data is a ndarray; expected .x, y., "),
    ("validation x alone", fit(validation_data=(IDS,)), V, "validation_data is a tuple; expected .x, y., "),
    (
        "validation lengths",
        fit(validation_data=(IDS, LABELS[:1])),
        V,
        r"validation_data: y has shape \(1,\); expected 3",
    ),
    ("validation id", fit(validation_data=(IDS + 1, LABELS)), V, "x holds the id 7"),
    (
        "validation y's shape",
        fit(validation_data=(IDS, np.ones((3, 4)))),
        V,
        r"validation_data: y_true has shape \(3, 4\)",
    ),
    (
        "callback",
        fit(callbacks=[lambda epoch: None]),
        T,
        "callbacks has .*expected objects of rnncore.callbacks.Callback",
    ),
    ("callback class", fit(callbacks=[Callback]), T, "callbacks has .*; expected objects of"),
    ("callbacks", fit(callbacks=3), T, "callbacks has 3; expected objects of"),
    (
        "class too large, in the last batch",
        lambda o: o.sequences.fit(X, [[0, 1, 2], [0, 1, 3]], batch_size=1, verbose=0),
        V,
        "y_true holds the class 3; allowed: 0 to 2",
    ),
    ("metric", lambda o: o.pairs.fit(X[:, 0], np.ones((2, 2)), verbose=0), V, "y_true has shape .*classes by number"),
    ("batch: lengths", lambda o: o.model.train_on_batch(IDS, LABELS[:1]), V, r"y has shape \(1,\); expected 3 samples"),
    ("batch: y's shape", lambda o: o.pairs.train_on_batch(X[:, 0], X), V, r"y_true has shape \(2, 3, 4\)"),
    ("fresh: rank", lambda o: o.fresh_model.fit(X[0], [1, 2, 3]), V, r"x has shape \(3, 4\), 2 axes; expected 3"),
    ("fresh: NaN", lambda o: o.fresh_model.fit(spoiled(X, NAN), [1, 2]), V, "x is not finite"),
]
TABLES = {
    "constructor": CONSTRUCTORS,
    "flag": FLAGS,
    "setting": SETTINGS,
    "input": INPUTS,
    "backward": BACKWARD,
    "weights": WEIGHTS,
    "model": MODEL,
    "training": TRAINING,
}


@pytest.mark.quick(60)
@pytest.mark.parametrize(
    ("call", "error", "message"),
    [pytest.param(*row[1:], id=f"{kind}: {row[0]}") for kind, rows in TABLES.items() for row in rows],
)
def test_bad_input(objects, call, error, message):
    before = objects.state()
    with pytest.raises(error, match=message):
        call(objects)
    np.testing.assert_equal(objects.state(), before)


def test_a_metric_that_a_batch_does_not_fit(objects):
    """It is looked at when the gradients are there, and before they change anything."""
    before = objects.state()
    with pytest.raises(ValueError, match="classes by number have shape"):
        objects.pairs.train_on_batch(X[:, 0], np.ones((2, 2)))
    after = objects.state()
    del before["gradients"], after["gradients"]
    np.testing.assert_equal(after, before)


# --- sentences in the place of accidents ------------------------------------------------------------------------------


def small():
    rnncore.set_backend("numpy")
    model = Sequential([Embedding(9, 2), LSTM(2), Dense(1)])
    model.compile("sgd", "mse")
    return model


def dropping(first):
    """Give batches, without y from a number on."""
    for n in range(6):
        yield (np.ones((2, 3), int),) if n >= first else (np.ones((2, 3), int), np.ones(2))


@pytest.mark.parametrize("first", [0, 1, 2, 4])
def test_a_generator_that_drops_y(first):
    model = small()
    with pytest.raises(ValueError, match=r"^y is None; the loss needs targets: expected .* in each batch"):
        model.fit(dropping(first), steps_per_epoch=3, epochs=2, verbose=0)
    with pytest.raises(ValueError, match=r"^validation_data: y is None; the loss needs"):
        model.fit(np.ones((2, 3), int), np.ones(2), validation_data=dropping(first), verbose=0)
    assert len(model.predict(dropping(first))) == 12


def test_a_generator_that_was_not_called():
    with pytest.raises(
        TypeError, match=r"x is a function, dropping; expected .* gives batches, as what it returns when"
    ):
        small().fit(dropping)


@pytest.mark.parametrize("dtype", ["bool", "float16", "float32", "uint8", "int64"])
def test_ids_of_any_dtype(dtype):
    ids, model = np.array([[1, 0, 1]]), small()
    expected = model.predict(ids)
    np.testing.assert_array_equal(model.predict(ids.astype(dtype)), expected)
    np.testing.assert_array_equal(model.predict([row.astype(dtype) for row in ids]), expected)
    for wrong in (0.5, np.inf, np.nan) if dtype.startswith("float") else ():
        with pytest.raises(TypeError, match=rf"embedding.*: x has dtype {dtype}; expected integers"):
            model.predict(np.array([[1, wrong]], dtype))


def test_initial_states_are_named_once():
    x, h = np.ones((2, 3, 4)), np.ones((2, 3))
    for call, message in (
        (lambda: LSTM(3, name="a")(x, initial_state=[h]), "^a: initial_state has 1 array; expected 2: h, c"),
        (
            lambda: LSTM(3, name="a")(x, initial_state=[h, h[:1]]),
            r"^a: initial_state\[1\] has shape \(1, 3\); expected",
        ),
        (lambda: rnncore.layers.LSTMCell(3, name="a")(h, [h, h, h]), "^a: states has 3 arrays; expected 2: h, c"),
        (
            lambda: rnncore.layers.RNN([rnncore.layers.GRUCell(3), rnncore.layers.LSTMCell(3)], name="a")(
                x, initial_state=[h, h]
            ),
            r"^a: initial_state\[1\] has 1 array; expected 2: h, c",
        ),
    ):
        with pytest.raises(ValueError, match=message):
            call()


def test_a_layer_that_gives_its_last_output_only():
    message = (
        "3 axes?; expected|x has shape .* 2 axes; expected 3; a, before it, gives its last output only: with return"
    )
    for first in (LSTM(3, name="a"), rnncore.layers.Bidirectional(LSTM(3), name="a")):
        with pytest.raises(ValueError, match=message):
            Sequential([rnncore.Input((4, 2)), first, LSTM(2)])
        with pytest.raises(
            ValueError, match="gives its last output only: with return_sequences=True that of every step"
        ):
            Sequential([first, LSTM(2)]).predict(np.ones((2, 4, 2)))
