#!/usr/bin/env python3
"""The text models in Keras: the same model file, data, batches and number of epochs, for the validation loss that they reach.

    DLTRAIN_DATA=FOLDER python3 bench/peer_keras_text.py configs/shakespeare-lstm.yaml [EPOCHS]      (needs keras and a backend)

Start and order of the rows are random, so the last digits differ from dltrain's (whole models are compared step by step from the same weights in
tests/golden); how fast the loss falls must not.
"""

import os
import pathlib
import subprocess
import sys

os.environ.setdefault("KERAS_BACKEND", "jax")
SOURCE = pathlib.Path(__file__).resolve().parents[1]
sys.path.insert(0, str(SOURCE / "tools"))

import dltrain_keras  # noqa: E402
import numpy as np  # noqa: E402


def main():
    config = pathlib.Path(sys.argv[1])
    shown = subprocess.run([SOURCE / "build" / "release" / "dltrain", "check", "--show", config], capture_output=True, text=True, check=True)
    text = (pathlib.Path(os.environ["DLTRAIN_DATA"]) / "text" / "tinyshakespeare.txt").read_text(encoding="utf-8")
    spec = dltrain_keras.parse(shown.stdout)
    length = spec["data"]["train"]["Text"]["sequence_length"]
    code = {c: i for i, c in enumerate(sorted(set(text)))}
    codes = np.array([code[c] for c in text], dtype="int32")
    rows = (len(codes) - 1) // length
    x, y = codes[: rows * length].reshape(rows, length), codes[1 : rows * length + 1].reshape(rows, length)
    train = int(rows * (1 - (spec["data"]["validation"]["split"]["fraction"])))
    model = dltrain_keras.load_model(shown.stdout, input_shape=(length,), input_dtype="int32")
    history = model.fit(x[:train], y[:train], validation_data=(x[train:], y[train:]), batch_size=spec["fit"]["batch_size"],
                        epochs=int(sys.argv[2]) if len(sys.argv) > 2 else spec["fit"]["epochs"], verbose=2)
    print(config.stem, "val_loss", [round(v, 4) for v in history.history["val_loss"]])


if __name__ == "__main__":
    main()
