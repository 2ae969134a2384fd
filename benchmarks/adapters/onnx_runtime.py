"""ONNX Runtime."""

from __future__ import annotations

import importlib
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from .base import CHECKED, per_call, processors
from .keras_like import KerasLike

if TYPE_CHECKING:
    import numpy as np

    from ..cases import Case


class OnnxRuntime:
    """ONNX Runtime on the file that ``rnncore.interop.onnx`` writes of the case's model, batch by batch."""

    libraries = ("onnxruntime",)

    def __init__(self):
        self.runtime = importlib.import_module("onnxruntime")

    def load(self, case: Case, x: np.ndarray, y: np.ndarray, weights: list[np.ndarray]) -> None:
        from rnncore.interop.onnx import export

        ours, options = KerasLike("rnncore"), self.runtime.SessionOptions()
        ours.load(case, x, y, weights)
        options.intra_op_num_threads = processors()
        with tempfile.TemporaryDirectory() as folder:
            export(ours.model, Path(folder, "case.onnx"))
            self.session = self.runtime.InferenceSession(Path(folder, "case.onnx").read_bytes(), options)
        self.case, self.x = case, x.astype("int64")

    def check(self) -> dict[str, np.ndarray]:
        return {"outputs": self._predicted(self.x[: CHECKED * self.case.batch])}

    def time(self, steps: int) -> float:
        return per_call(lambda: self._predicted(self.x), steps)

    def _predicted(self, x):
        import numpy as np

        parts = np.split(x, range(self.case.batch, len(x), self.case.batch))
        return np.concatenate([self.session.run(None, {"x": part})[0] for part in parts])
