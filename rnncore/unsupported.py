"""What Keras has and rnncore has not: its names, with the nearest thing here, for one sentence instead of a riddle."""

from __future__ import annotations

import sys
from collections.abc import Set
from fnmatch import fnmatchcase
from functools import partial
from opcode import opmap
from typing import Any, NoReturn

from .configured import right_names

_IMAGES = "nothing for images; its layers are for sequences, (batch, steps, features)"
_CONFIG = "get_config() and from_config(config) of the class"
_NUMPY = "NumPy: what goes into a model and comes out are arrays"
_MERGES = "Bidirectional, with its merge_mode; a model is one chain of layers"
_WORDS = "TextVectorization in its mode 'int', or preprocessing.text.Tokenizer"

EVERYWHERE = {
    "serialize deserialize": _CONFIG,
    "legacy": "the names without it",
}
UNSUPPORTED = {  # module -> names, as patterns -> the nearest thing
    "rnncore": {
        "applications": "models.load_model for a model of your own; trained ones for images there are none",
        "backend": "rnncore.config for floatx, seed and threads, utils.clear_session, and NumPy for the rest",
        "ops random tree KerasTensor Variable Operation": _NUMPY,
        "*Scope device name_scope distribution remat Remat*": "config.set_threads; it computes on the processor",
        "Function": "Model, for one chain of layers",
        "InputSpec": "Layer.input_ranks and Layer.check_shape",
        "mixed_precision dtype_policies *DTypePolicy": "set_floatx, and the argument dtype of a layer",
        "*uantizer* export distillation": "models.load_model and model.save",
        "wrappers visualization": "model.summary, and rnncore.study for figures",
        "version": "rnncore.__version__",
        "src": "the public modules",
    },
    "rnncore.layers": {
        "Global*2D Global*3D *Conv*2D* *Conv*3D* *Convolution2D* *Convolution3D*": _IMAGES,
        "*Conv*": "Conv1D, and a recurrent layer over the steps: LSTM, GRU, SimpleRNN",
        "Adaptive*1D": "AveragePooling1D, MaxPooling1D, GlobalAveragePooling1D and GlobalMaxPooling1D",
        "*2D *3D": _IMAGES,
        "Add Average Concatenate Dot Maximum Minimum Multiply Subtract": _MERGES,
        "add average concatenate dot maximum minimum multiply subtract": _MERGES,
        "*Attention": "a recurrent layer with return_sequences=True, and GlobalAveragePooling1D over its steps",
        "*Normalization": "LayerNormalization, BatchNormalization",
        "PReLU": "LeakyReLU, whose slope is given",
        "AlphaDropout": "Dropout, GaussianDropout",
        "EinsumDense": "Dense, which goes over the last axis of any array",
        "ReversibleEmbedding": "Embedding",
        "Lambda Wrapper": "a subclass of Layer with call(x, mask, training) and call_backward(dy)",
        "FlaxLayer JaxLayer TFSMLayer TorchModuleWrapper": "rnncore.interop, for weights of PyTorch's layers",
        "*Lookup Hash* CategoryEncoding Discretization": _WORDS,
        "ZeroPadding1D Cropping1D UpSampling1D": "utils.pad_sequences before the model, RepeatVector in it",
        "Rescaling MelSpectrogram STFTSpectrogram": _NUMPY,
        "InputSpec": "Layer.input_ranks and Layer.check_shape",
        "Rand* Au* CenterCrop Contrast* CutMix Equalization MaxNum* MixUp Pipeline Resizing Solariz*": _IMAGES,
    },
    "rnncore.losses": {
        "*ocal* *eneralized*": "BinaryCrossentropy and CategoricalCrossentropy, with class or sample weights",
        "CTC ctc": "SparseCategoricalCrossentropy, a label a step",
        "Dice dice Tversky tversky": "BinaryCrossentropy",
        "Circle circle": "CosineSimilarity",
    },
    "rnncore.metrics": {
        "*IoU": "F1Score",
        "*_focal_*": "BinaryCrossentropy and CategoricalCrossentropy",
        "R2Score *orrelation": "MeanSquaredError, CosineSimilarity",
        "*earson* *oncordance*": "CosineSimilarity",
        "*At*": "Precision and Recall at a list of thresholds, AUC",
    },
    "rnncore.optimizers": {
        "Adafactor Ftrl Lamb Muon MultiOptimizer": "Adam, AdamW, Adagrad, Lion",
        "ScheduleFreeAdamW": "AdamW with use_ema=True",
        "LossScaleOptimizer": "the optimizer itself: there is no half precision to scale for",
        "OptimizerMap": "trainable=False for layers that are to stay",
    },
    "rnncore.callbacks": {
        "GateRecorder GradientFlow": "rnncore.study, which has it",
        "CallbackList": "a list of callbacks",
        "OrbaxCheckpoint": "ModelCheckpoint and BackupAndRestore",
        "ProgbarLogger": "verbose=1 of fit",
        "RemoteMonitor TensorBoard": "CSVLogger, and LambdaCallback",
        "SwapEMAWeights": "use_ema=True of an optimizer, which puts the averages in their place at the end of fit",
    },
    "rnncore.initializers": {
        "STFT* stft*": "Constant",
    },
    "rnncore.regularizers": {},
    "rnncore.constraints": {},
    "rnncore.activations": {
        "glu": "sigmoid",
        "sparsemax": "softmax",
        "threshold": "relu, hard_shrink",
    },
    "rnncore.models": {},
    "rnncore.utils": {
        "*img* *image* save_img bounding_boxes": _IMAGES,
        "image_dataset* audio_dataset* text_dataset*": "arrays, utils.pad_sequences and generators",
        "FeatureSpace split_dataset": "arrays, and validation_split of fit",
        "plot_model model_to_dot get_source_inputs": "model.summary()",
        "*custom_objects *register*": "custom_object_scope, and custom_objects of models.load_model",
        "*serialize_keras_object": _CONFIG,
        "Config": "a dict",
        "np_utils": "utils.to_categorical",
        "Progbar *interactive_logging*": "verbose of fit, evaluate and predict",
        "*_x_y_sample_weight": "a tuple",
        "is_keras_tensor normalize standardize_dtype": _NUMPY,
    },
    "rnncore.datasets": {
        "reuters": "imdb",
        "*": "imdb: reviews as sequences of words",
    },
    "rnncore.preprocessing": {
        "image*": _IMAGES,
        "text_dataset*": "lists of texts, and layers.TextVectorization",
    },
    "rnncore.preprocessing.sequence": {
        "TimeseriesGenerator": "utils.timeseries_dataset_from_array",
        "skipgrams make_sampling_table": "NumPy, on lists of ids",
    },
}

_FROM_INPUT = "none is needed, the first input tells it"
RIGHT_NAMES = {  # what older Keras, or PyTorch, calls an argument -> what it is here
    "lr": "it is learning_rate",
    "decay": "learning_rate takes a schedule of optimizers.schedules",
    "betas": "they are beta_1 and beta_2",
    "eps": "it is epsilon",
    "batch_input_shape": "an Input(batch_shape=…) before the layer says it",
    "batch_first": "none is needed, x is (batch, steps, features)",
    "time_major": "none is needed, x is (batch, steps, features)",
    "hidden_size": "it is units",
    "num_units": "it is units",
    "out_features": "it is units",
    "nb_units": "it is units",
    "input_size": _FROM_INPUT,
    "in_features": _FROM_INPUT,
    "num_layers": "layers stand one on the other, with return_sequences=True, or cells in RNN([…])",
    "bidirectional": "the wrapper Bidirectional makes it",
    "proj_size": "a Dense behind the layer makes it",
    "bias": "it is use_bias",
    "nonlinearity": "it is activation",
    "inner_activation": "it is recurrent_activation",
    "init": "it is kernel_initializer",
    "inner_init": "it is recurrent_initializer",
    "forget_bias_init": "it is unit_forget_bias",
    "W_regularizer": "it is kernel_regularizer",
    "U_regularizer": "it is recurrent_regularizer",
    "b_regularizer": "it is bias_regularizer",
    "dropout_W": "it is dropout",
    "dropout_U": "it is recurrent_dropout",
    "p": "it is rate",
    "consume_less": "none is needed, there is one implementation",
    "num_embeddings": "it is input_dim",
    "embedding_dim": "it is output_dim",
    "padding_idx": "mask_zero=True makes 0 padding",
    "weights": "set_weights sets them, once the layer is built",
    "epoch": "it is epochs",
    "nb_epoch": "it is epochs",
}

_SET = "set_weights sets them, once the layer is built"
_LORA = "there are no adapters beside a weight; trainable=False keeps a layer as it is"
_DENSE = "arrays are dense, and their rows have one length; fit takes lists of different lengths"
_REGULARIZED = "the layer around the cell takes it, on what it returns"

# class, and those made of it -> argument of Keras's constructor -> the values that are taken, and why no others
ARGUMENTS: dict[str, dict[str, tuple[tuple[Any, ...], str]]] = {
    "Layer": {"autocast": ((True,), "a layer casts what comes to its dtype")},
    "Dense": {
        "lora_rank": ((None,), _LORA),
        "lora_alpha": ((None,), _LORA),
        "quantization_config": ((None,), "weights are float32 or float64"),
    },
    "BatchNormalization": {
        "renorm_clipping": ((None,), "batch renormalization is not here"),
        "renorm_momentum": ((0.99,), "batch renormalization is not here"),
        "synchronized": ((False,), "there is one process, whose batches are whole"),
    },
    "Bidirectional": {"weights": ((None,), _SET)},
    "ActivityRegularization": {"activity_regularizer": ((None,), "l1 and l2 say it")},
    "RecurrentCell": {"activity_regularizer": ((None,), _REGULARIZED)},
    "StackedRNNCells": {"activity_regularizer": ((None,), _REGULARIZED)},
    "InputLayer": {
        "sparse": ((None, False), _DENSE),
        "ragged": ((None, False), _DENSE),
        "input_tensor": ((None,), "what is called with an array answers at once"),
        "optional": ((False,), "a model has one input"),
    },
    "TextVectorization": {
        "output_mode": (("int",), "preprocessing.text.Tokenizer has texts_to_matrix, which counts words"),
        "pad_to_max_tokens": ((False,), "it is for the output modes that count words"),
        "idf_weights": ((None,), "it is for the output modes that count words"),
        "sparse": ((False,), _DENSE),
        "ragged": ((False,), _DENSE),
        "dtype": ((None, "string"), "texts come in, and numbers of int64 go out"),
    },
    "Optimizer": {"loss_scale_factor": ((None,), "there is no half precision to scale for")},
}
ARGUMENTS["Embedding"] = ARGUMENTS["Dense"]
ARGUMENTS["Conv1D"] = {name: ARGUMENTS["Dense"][name] for name in ("lora_rank", "lora_alpha")}


def without_effect(cls: type, given: dict[str, Any], but: Set[str] = frozenset()) -> None:
    """Take out of a constructor's arguments those of Keras that change nothing, and refuse those that would.

    Those in `but` are the constructor's own: it looks at them itself.

    Raises
    ------
    ValueError
        The value of one is another than those in `ARGUMENTS`.
    """
    for base in cls.__mro__ if given else ():
        for name in (ARGUMENTS.get(base.__name__, {}).keys() & given.keys()) - but:
            taken, why = ARGUMENTS[base.__name__][name]
            value = given.pop(name)
            if not any(value is one or (type(value) is type(one) and value == one) for one in taken):
                allowed = " or ".join(map(repr, taken))
                raise ValueError(f"{cls.__name__}: {name} is {value!r:.100}; only {allowed} is taken: {why}")


def arguments_without_effect(cls: type) -> set[str]:
    """Return the names of a class's arguments in `ARGUMENTS`."""
    return {name for base in cls.__mro__ for name in ARGUMENTS.get(base.__name__, ())}


def announce() -> None:
    """Let `refuse` answer for what the modules have not, and `dir` show what is meant for users."""
    for module in UNSUPPORTED:
        inside = vars(sys.modules[module])
        inside.setdefault("__getattr__", partial(refuse, module))
        if "__all__" in inside:
            inside.setdefault("__dir__", partial(_shown, module))
    right_names.update(RIGHT_NAMES)
    sys.meta_path.append(_AbsentModules)  # asked last, for what no other has found


def _shown(module: str) -> list[str]:
    inside = vars(sys.modules[module])
    return sorted({*inside["__all__"], *(name for name in inside if name.startswith("__"))})


def refuse(module: str, name: str, depth: int = 1) -> NoReturn:
    """Say in one sentence that a module has no `name`, and what is the nearest thing.

    Raises
    ------
    ImportError
        In ``from module import name``, which would put a sentence of its own in the place of an AttributeError's.
    AttributeError
        Anywhere else.
    """
    nearest = _nearest(module, name)
    sentence = f"{module} has no {name}" + ("" if nearest is None else f"; the nearest thing: {nearest}")
    caller = sys._getframe(depth)
    if nearest is not None and caller.f_code.co_code[caller.f_lasti] == opmap["IMPORT_FROM"]:
        raise ImportError(sentence)
    raise AttributeError(sentence, name=name, obj=sys.modules[module])


class _AbsentModules:
    """Says the same of a module: in ``from rnncore.preprocessing.image import …``, where no `__getattr__` is asked."""

    @staticmethod
    def find_spec(fullname: str, path: Any = None, target: Any = None) -> None:
        module, _, name = fullname.rpartition(".")
        nearest = _nearest(module, name) if module in UNSUPPORTED else None
        if nearest is not None:
            raise ModuleNotFoundError(f"{module} has no {name}; the nearest thing: {nearest}", name=fullname)


def _nearest(module: str, name: str) -> str | None:
    table = {**UNSUPPORTED[module], **EVERYWHERE}
    return None if name.startswith("_") else next((table[n] for n in table if _among(name, n)), None)


def _among(name: str, patterns: str) -> bool:
    return any(fnmatchcase(name, pattern) for pattern in patterns.split())
