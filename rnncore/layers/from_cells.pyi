"""Written by ``python -m tests.make_stubs``: change nothing here."""

import rnncore.activations
import rnncore.constraints
import rnncore.initializers
import rnncore.layers.recurrent
import rnncore.layers.rnn_cells
import rnncore.regularizers

__all__ = [
    "GRU",
    "LSTM",
    "CarryRNN",
    "CarryRNNCell",
    "GRUCell",
    "LSTMCell",
    "SimpleRNN",
    "SimpleRNNCell",
]

class GRU(rnncore.layers.recurrent.CellRNN):
    """The gated recurrent unit, with the gates z, r and the candidate k: see cells/gru.py."""

    def __init__(
        self,
        units: int,
        activation: str | rnncore.activations.Activation | None = "tanh",
        recurrent_activation: str | rnncore.activations.Activation | None = "sigmoid",
        use_bias: bool = True,
        kernel_initializer: str | rnncore.initializers.Initializer | None = "glorot_uniform",
        recurrent_initializer: str | rnncore.initializers.Initializer | None = "orthogonal",
        bias_initializer: str | rnncore.initializers.Initializer | None = "zeros",
        kernel_regularizer: str | rnncore.regularizers.Regularizer | None = None,
        recurrent_regularizer: str | rnncore.regularizers.Regularizer | None = None,
        bias_regularizer: str | rnncore.regularizers.Regularizer | None = None,
        activity_regularizer: str | rnncore.regularizers.Regularizer | None = None,
        kernel_constraint: str | rnncore.constraints.Constraint | None = None,
        recurrent_constraint: str | rnncore.constraints.Constraint | None = None,
        bias_constraint: str | rnncore.constraints.Constraint | None = None,
        dropout: float = 0.0,
        recurrent_dropout: float = 0.0,
        seed: int | None = None,
        return_sequences: bool = False,
        return_state: bool = False,
        go_backwards: bool = False,
        stateful: bool = False,
        unroll: bool = False,
        reset_after: bool = True,
        use_cudnn: bool | str = "auto",
        zero_output_for_mask: bool = False,
        bptt_steps: int | None = None,
        name: str | None = None,
        dtype: str | None = None,
        trainable: bool = True,
        implementation: int = 2,
    ) -> None: ...

class LSTM(rnncore.layers.recurrent.CellRNN):
    """Long short-term memory, with the gates i, f, k, o and the carry line c: see cells/lstm.py."""

    def __init__(
        self,
        units: int,
        activation: str | rnncore.activations.Activation | None = "tanh",
        recurrent_activation: str | rnncore.activations.Activation | None = "sigmoid",
        use_bias: bool = True,
        kernel_initializer: str | rnncore.initializers.Initializer | None = "glorot_uniform",
        recurrent_initializer: str | rnncore.initializers.Initializer | None = "orthogonal",
        bias_initializer: str | rnncore.initializers.Initializer | None = "zeros",
        unit_forget_bias: bool | float = True,
        kernel_regularizer: str | rnncore.regularizers.Regularizer | None = None,
        recurrent_regularizer: str | rnncore.regularizers.Regularizer | None = None,
        bias_regularizer: str | rnncore.regularizers.Regularizer | None = None,
        activity_regularizer: str | rnncore.regularizers.Regularizer | None = None,
        kernel_constraint: str | rnncore.constraints.Constraint | None = None,
        recurrent_constraint: str | rnncore.constraints.Constraint | None = None,
        bias_constraint: str | rnncore.constraints.Constraint | None = None,
        dropout: float = 0.0,
        recurrent_dropout: float = 0.0,
        seed: int | None = None,
        return_sequences: bool = False,
        return_state: bool = False,
        go_backwards: bool = False,
        stateful: bool = False,
        unroll: bool = False,
        use_cudnn: bool | str = "auto",
        zero_output_for_mask: bool = False,
        bptt_steps: int | None = None,
        name: str | None = None,
        dtype: str | None = None,
        trainable: bool = True,
        implementation: int = 2,
    ) -> None: ...

class CarryRNN(rnncore.layers.recurrent.CellRNN):
    """The lecture's carry formulation, a SimpleRNN with a carry line beside it: see cells/carry_rnn.py."""

    def __init__(
        self,
        units: int,
        activation: str | rnncore.activations.Activation | None = "tanh",
        recurrent_activation: str | rnncore.activations.Activation | None = "sigmoid",
        use_bias: bool = True,
        kernel_initializer: str | rnncore.initializers.Initializer | None = "glorot_uniform",
        recurrent_initializer: str | rnncore.initializers.Initializer | None = "orthogonal",
        bias_initializer: str | rnncore.initializers.Initializer | None = "zeros",
        unit_forget_bias: bool | float = True,
        kernel_regularizer: str | rnncore.regularizers.Regularizer | None = None,
        recurrent_regularizer: str | rnncore.regularizers.Regularizer | None = None,
        bias_regularizer: str | rnncore.regularizers.Regularizer | None = None,
        activity_regularizer: str | rnncore.regularizers.Regularizer | None = None,
        kernel_constraint: str | rnncore.constraints.Constraint | None = None,
        recurrent_constraint: str | rnncore.constraints.Constraint | None = None,
        bias_constraint: str | rnncore.constraints.Constraint | None = None,
        dropout: float = 0.0,
        recurrent_dropout: float = 0.0,
        seed: int | None = None,
        return_sequences: bool = False,
        return_state: bool = False,
        go_backwards: bool = False,
        stateful: bool = False,
        unroll: bool = False,
        use_cudnn: bool | str = "auto",
        zero_output_for_mask: bool = False,
        bptt_steps: int | None = None,
        name: str | None = None,
        dtype: str | None = None,
        trainable: bool = True,
        implementation: int = 2,
    ) -> None: ...

class CarryRNNCell(rnncore.layers.rnn_cells.RecurrentCell):
    """The lecture's carry formulation, a SimpleRNN with a carry line beside it: see cells/carry_rnn.py."""

    def __init__(
        self,
        units: int,
        activation: str | rnncore.activations.Activation | None = "tanh",
        recurrent_activation: str | rnncore.activations.Activation | None = "sigmoid",
        use_bias: bool = True,
        kernel_initializer: str | rnncore.initializers.Initializer | None = "glorot_uniform",
        recurrent_initializer: str | rnncore.initializers.Initializer | None = "orthogonal",
        bias_initializer: str | rnncore.initializers.Initializer | None = "zeros",
        unit_forget_bias: bool | float = True,
        kernel_regularizer: str | rnncore.regularizers.Regularizer | None = None,
        recurrent_regularizer: str | rnncore.regularizers.Regularizer | None = None,
        bias_regularizer: str | rnncore.regularizers.Regularizer | None = None,
        kernel_constraint: str | rnncore.constraints.Constraint | None = None,
        recurrent_constraint: str | rnncore.constraints.Constraint | None = None,
        bias_constraint: str | rnncore.constraints.Constraint | None = None,
        dropout: float = 0.0,
        recurrent_dropout: float = 0.0,
        seed: int | None = None,
        name: str | None = None,
        dtype: str | None = None,
        trainable: bool = True,
        implementation: int = 2,
    ) -> None: ...

class GRUCell(rnncore.layers.rnn_cells.RecurrentCell):
    """The gated recurrent unit, with the gates z, r and the candidate k: see cells/gru.py."""

    def __init__(
        self,
        units: int,
        activation: str | rnncore.activations.Activation | None = "tanh",
        recurrent_activation: str | rnncore.activations.Activation | None = "sigmoid",
        use_bias: bool = True,
        kernel_initializer: str | rnncore.initializers.Initializer | None = "glorot_uniform",
        recurrent_initializer: str | rnncore.initializers.Initializer | None = "orthogonal",
        bias_initializer: str | rnncore.initializers.Initializer | None = "zeros",
        kernel_regularizer: str | rnncore.regularizers.Regularizer | None = None,
        recurrent_regularizer: str | rnncore.regularizers.Regularizer | None = None,
        bias_regularizer: str | rnncore.regularizers.Regularizer | None = None,
        kernel_constraint: str | rnncore.constraints.Constraint | None = None,
        recurrent_constraint: str | rnncore.constraints.Constraint | None = None,
        bias_constraint: str | rnncore.constraints.Constraint | None = None,
        dropout: float = 0.0,
        recurrent_dropout: float = 0.0,
        reset_after: bool = True,
        seed: int | None = None,
        name: str | None = None,
        dtype: str | None = None,
        trainable: bool = True,
        implementation: int = 2,
    ) -> None: ...

class LSTMCell(rnncore.layers.rnn_cells.RecurrentCell):
    """Long short-term memory, with the gates i, f, k, o and the carry line c: see cells/lstm.py."""

    def __init__(
        self,
        units: int,
        activation: str | rnncore.activations.Activation | None = "tanh",
        recurrent_activation: str | rnncore.activations.Activation | None = "sigmoid",
        use_bias: bool = True,
        kernel_initializer: str | rnncore.initializers.Initializer | None = "glorot_uniform",
        recurrent_initializer: str | rnncore.initializers.Initializer | None = "orthogonal",
        bias_initializer: str | rnncore.initializers.Initializer | None = "zeros",
        unit_forget_bias: bool | float = True,
        kernel_regularizer: str | rnncore.regularizers.Regularizer | None = None,
        recurrent_regularizer: str | rnncore.regularizers.Regularizer | None = None,
        bias_regularizer: str | rnncore.regularizers.Regularizer | None = None,
        kernel_constraint: str | rnncore.constraints.Constraint | None = None,
        recurrent_constraint: str | rnncore.constraints.Constraint | None = None,
        bias_constraint: str | rnncore.constraints.Constraint | None = None,
        dropout: float = 0.0,
        recurrent_dropout: float = 0.0,
        seed: int | None = None,
        name: str | None = None,
        dtype: str | None = None,
        trainable: bool = True,
        implementation: int = 2,
    ) -> None: ...

class SimpleRNN(rnncore.layers.recurrent.CellRNN):
    """The plain recurrent layer, ``h_t = tanh(x_t W + h_{t-1} U + b)``: see cells/simple_rnn.py."""

    def __init__(
        self,
        units: int,
        activation: str | rnncore.activations.Activation | None = "tanh",
        use_bias: bool = True,
        kernel_initializer: str | rnncore.initializers.Initializer | None = "glorot_uniform",
        recurrent_initializer: str | rnncore.initializers.Initializer | None = "orthogonal",
        bias_initializer: str | rnncore.initializers.Initializer | None = "zeros",
        kernel_regularizer: str | rnncore.regularizers.Regularizer | None = None,
        recurrent_regularizer: str | rnncore.regularizers.Regularizer | None = None,
        bias_regularizer: str | rnncore.regularizers.Regularizer | None = None,
        activity_regularizer: str | rnncore.regularizers.Regularizer | None = None,
        kernel_constraint: str | rnncore.constraints.Constraint | None = None,
        recurrent_constraint: str | rnncore.constraints.Constraint | None = None,
        bias_constraint: str | rnncore.constraints.Constraint | None = None,
        dropout: float = 0.0,
        recurrent_dropout: float = 0.0,
        return_sequences: bool = False,
        return_state: bool = False,
        go_backwards: bool = False,
        stateful: bool = False,
        unroll: bool = False,
        seed: int | None = None,
        use_cudnn: bool | str = "auto",
        zero_output_for_mask: bool = False,
        bptt_steps: int | None = None,
        name: str | None = None,
        dtype: str | None = None,
        trainable: bool = True,
        implementation: int = 2,
    ) -> None: ...

class SimpleRNNCell(rnncore.layers.rnn_cells.RecurrentCell):
    """The plain recurrent layer, ``h_t = tanh(x_t W + h_{t-1} U + b)``: see cells/simple_rnn.py."""

    def __init__(
        self,
        units: int,
        activation: str | rnncore.activations.Activation | None = "tanh",
        use_bias: bool = True,
        kernel_initializer: str | rnncore.initializers.Initializer | None = "glorot_uniform",
        recurrent_initializer: str | rnncore.initializers.Initializer | None = "orthogonal",
        bias_initializer: str | rnncore.initializers.Initializer | None = "zeros",
        kernel_regularizer: str | rnncore.regularizers.Regularizer | None = None,
        recurrent_regularizer: str | rnncore.regularizers.Regularizer | None = None,
        bias_regularizer: str | rnncore.regularizers.Regularizer | None = None,
        kernel_constraint: str | rnncore.constraints.Constraint | None = None,
        recurrent_constraint: str | rnncore.constraints.Constraint | None = None,
        bias_constraint: str | rnncore.constraints.Constraint | None = None,
        dropout: float = 0.0,
        recurrent_dropout: float = 0.0,
        seed: int | None = None,
        name: str | None = None,
        dtype: str | None = None,
        trainable: bool = True,
        implementation: int = 2,
    ) -> None: ...
