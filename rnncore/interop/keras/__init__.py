"""Files of Keras's, from version 1 to 3.15, read and written without Keras: contents.py says which forms there are.

`rnncore.models.load_model`, `model.load_weights`, `model.save` and `model.save_weights` come here for such files. The
package needs h5py, which the extra ``keras`` installs.
"""

from .contents import Contents, contents_of
from .hdf5 import h5py_here
from .reading import load_model, load_weights, read_weights
from .writing import described_for_keras, save_model, save_weights

__all__ = [
    "Contents",
    "contents_of",
    "described_for_keras",
    "h5py_here",
    "load_model",
    "load_weights",
    "read_weights",
    "save_model",
    "save_weights",
]
