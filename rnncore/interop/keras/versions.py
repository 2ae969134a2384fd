"""What the arguments of layers were called in Keras 1 and 2, and what they mean there: brought to Keras 3's.

Sources: the documentation of Keras 1.2.2 and 2.x, and files that these versions wrote.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

KINDS = {  # the name of a class in older files -> its name, and the options that it stands for
    "AtrousConvolution1D": ("Conv1D", {}),
    "BatchNormalizationV1": ("BatchNormalization", {}),
    "BatchNormalizationV2": ("BatchNormalization", {}),
    "Convolution1D": ("Conv1D", {}),
    "CuDNNGRU": ("GRU", {"reset_after": True}),
    "CuDNNLSTM": ("LSTM", {}),
    "TimeDistributedDense": ("Dense", {}),
}
_ROLES = {"W": "kernel", "U": "recurrent", "b": "bias"}
_KERAS_1 = {
    "output_dim": "units",
    "init": "kernel_initializer",
    "inner_init": "recurrent_initializer",
    "inner_activation": "recurrent_activation",
    "bias": "use_bias",
    "dropout_W": "dropout",
    "dropout_U": "recurrent_dropout",
    "p": "rate",
    "sigma": "stddev",
    "nb_filter": "filters",
    "filter_length": "kernel_size",
    "border_mode": "padding",
    "subsample_length": "strides",
    "atrous_rate": "dilation_rate",
    "pool_length": "pool_size",
    "stride": "strides",
    "beta_init": "beta_initializer",
    "gamma_init": "gamma_initializer",
} | {f"{letter}_{kind}": f"{role}_{kind}" for letter, role in _ROLES.items() for kind in ("regularizer", "constraint")}
_EMBEDDING_1 = {
    "init": "embeddings_initializer",
    "W_regularizer": "embeddings_regularizer",
    "W_constraint": "embeddings_constraint",
}
_RENAMED = {"alpha": "negative_slope"}  # of LeakyReLU, in Keras 2; the alpha of ELU has kept its name

# What makes no difference to what a layer computes here: where arrays lie, how loops run, shapes that are known anyway.
_WITHOUT_EFFECT = (
    "batch_input_shape batch_shape input_shape input_length input_dtype implementation consume_less sparse ragged "
    "optional weights build_input_shape renorm_clipping renorm_momentum use_cudnn synchronized fused "
    "quantization_config lora_rank lora_alpha shared_object_id trainable dtype autocast"
)
WITHOUT_EFFECT = frozenset(_WITHOUT_EFFECT.split())
# What may be there if it says what holds here anyway.
DEFAULTS = {
    "data_format": ("channels_last", None),
    "groups": (1,),
    "mode": (0, 2),  # of Keras 1's BatchNormalization: features normalized over a batch
    "renorm": (False,),
    "rms_scaling": (False,),
    "time_major": (False,),
    "virtual_batch_size": (None,),
}


def major(version: str | None) -> int:
    """Return the number before the first point; 1 where there is no version, as in the oldest files."""
    digits = (version or "1").partition(".")[0]
    return int(digits) if digits.isdecimal() and len(digits) < 4 else 3


def before(version: str | None, *numbers: int) -> bool:
    """Return whether a version is older than that of these numbers."""
    parts = [int(part) for part in (version or "1").partition("-")[0].split(".") if part.isdecimal() and len(part) < 6]
    return tuple(parts[: len(numbers)]) < numbers


def repeats_masked(version: str | None) -> bool:
    """Return whether a Bidirectional of that version repeats outputs at masked steps, where later ones give 0.

    The Keras that was a package of its own did until 2.3.1, its last; that of TensorFlow until 2.2.4-tf.
    """
    tensorflow = "-tf" in (version or "")
    return before(version, 2, 2, 4) if tensorflow else before(version, 2, 4)


def renewed(kind: str, config: Mapping[str, Any], version: str | None) -> tuple[str, dict[str, Any]]:
    """Return the class and the options that Keras 3 has for a layer of an older version."""
    old, found = major(version) < 3, dict(config)
    if major(version) < 2:
        names = _EMBEDDING_1 if kind == "Embedding" else _KERAS_1
        found = {names.get(name, name): value for name, value in found.items()}
        start = found.pop("forget_bias_init", None)
        if start is not None:
            found["unit_forget_bias"] = start == "one"
    if kind == "LeakyReLU":
        found = {_RENAMED.get(name, name): value for name, value in found.items()}
    own, options = KINDS.get(kind, (kind, {}))
    if own == "GRU" and old:
        options = {"reset_after": False, **options}
    if kind.startswith("CuDNN"):
        found.pop("reset_after", None)
    found = {**options, **found}
    if own != "Embedding":
        found.pop("input_dim", None)
    if old:
        for name in ("activation", "recurrent_activation"):
            if found.get(name) == "hard_sigmoid":
                found[name] = "hard_sigmoid_keras2"
        if own in ("LSTM", "GRU", "LSTMCell", "GRUCell") and not kind.startswith("CuDNN"):
            # what it was before configurations said it: they always do
            found.setdefault("recurrent_activation", "hard_sigmoid_keras2")
    return own, {name: _plain(value) for name, value in found.items()}


def _plain(value: Any) -> Any:
    """Return a number that was written as an array, as TensorFlow does now and then, as a number."""
    if isinstance(value, Mapping) and value.get("type") == "ndarray" and not isinstance(value.get("value"), Mapping):
        value = value.get("value")
        while isinstance(value, list) and len(value) == 1:
            value = value[0]
    return value
