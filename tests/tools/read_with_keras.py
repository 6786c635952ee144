"""Loads a checkpoint of the layout that tests/unit/test_checkpoint.c writes into a Keras model. Exit status 77: no Keras here.

The unit test's file has odd types on purpose; this script checks that Keras finds and reads its Dense layer and ignores
/dltrain, and that bfloat16 comes back as it was written.
"""
import os
import sys

os.environ.setdefault("KERAS_BACKEND", "jax")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
try:
    import keras
    import numpy as np
except ImportError:
    sys.exit(77)

model = keras.Sequential([keras.layers.Input((2,)), keras.layers.Dense(3), keras.layers.Flatten()])
model.compile("adam", "mse")
model.load_weights(sys.argv[1])
kernel, bias = model.get_weights()
assert kernel.tolist() == [[1, 2, 3], [4, 5, -0.5]], kernel
assert np.array_equal(bias, np.array([0.1, 0.2, 0.3], "f4")), bias

from keras.src.saving.saving_lib import H5IOStore

store = H5IOStore(sys.argv[1], mode="r")
values = store.get("layers/lstm/cell")["0"]
assert str(values.dtype) == "bfloat16" and values.astype("f4").tolist() == [1, -3], values
print("Keras", keras.__version__, "reads it")
