"""The suite in Keras: `fit` of the model that the same file describes, on one of its backends. See suite.py."""

import json
import os
import pathlib
import subprocess
import sys
import time

settings = json.loads(sys.argv[3])
os.environ["KERAS_BACKEND"] = settings["backend"]
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
os.environ["JAX_PLATFORMS"] = "cpu"
SOURCE = pathlib.Path(__file__).resolve().parents[2]
sys.path[:0] = [str(SOURCE / "tools")]

import keras  # noqa: E402
import numpy as np  # noqa: E402

import common  # noqa: E402
import dltrain_keras  # noqa: E402

if settings["backend"] == "tensorflow":
    import tensorflow as tf
    tf.config.threading.set_intra_op_parallelism_threads(settings["threads"])
    tf.config.threading.set_inter_op_parallelism_threads(settings.get("inter", 1))
elif settings["backend"] == "torch":
    import torch
    torch.set_num_threads(settings["threads"])


class Clock(keras.callbacks.Callback):
    """From the end of the first batch (or group of steps_per_execution) to the end of the last."""

    def on_epoch_begin(self, epoch, logs=None):
        self.ends = []

    def on_train_batch_end(self, batch, logs=None):
        self.ends.append((batch, time.perf_counter()))


class Peer:
    def __init__(self, name, folder, settings):
        self.name, self.folder, self.settings = name, folder, settings
        self.model = self.make(True)
        batches = common.read_data(name, folder)
        self.x, self.y = (np.concatenate(part) for part in zip(*batches))
        self.batch = common.MODELS[name]["batch"]

    def make(self, dropout):
        keras.utils.set_random_seed(1)
        words = common.words(self.name, dropout, self.settings.get("precision") == "bf16")
        shown = subprocess.run([self.settings["program"], "check", "--show", common.config(self.name), *words], capture_output=True,
                               text=True, check=True, env={**os.environ, "SUITE_DATA": str(self.folder)}).stdout
        about = common.MODELS[self.name]
        model = dltrain_keras.load_model(shown, input_shape=about["shape"], input_dtype="int32" if "tokens" in about else "float32")
        model.load_weights(self.folder / f"{self.name}.weights.h5")
        loss = dict(higgs="binary_crossentropy", autoencoder="binary_crossentropy").get(self.name, model.loss)
        model.compile(optimizer=model.optimizer, loss=loss, jit_compile=self.settings.get("jit", "auto"),
                      steps_per_execution=self.settings.get("steps_per_execution", 1))
        return model

    def losses(self, steps):
        model, found = self.make(False), []
        for i in range(steps):
            i = i % common.BATCHES * self.batch
            model.reset_metrics()
            found.append(float(np.asarray(model.train_on_batch(self.x[i : i + self.batch], self.y[i : i + self.batch])).reshape(-1)[0]))
        return found

    def run(self, steps):
        """`steps` and one group more, which is not counted."""
        group = self.settings.get("steps_per_execution", 1)
        count = max(2, steps // group + 1) * group * self.batch
        rows = np.arange(count) % len(self.x) if count > len(self.x) else slice(0, count)
        clock = Clock()
        self.model.fit(self.x[rows], self.y[rows], batch_size=self.batch, shuffle=False, verbose=0, callbacks=[clock])
        first, last = clock.ends[0], clock.ends[-1]
        self.seconds = (last[1] - first[1]) / max(last[0] - first[0], 1)


if __name__ == "__main__":
    sys.path.insert(0, str(common.HERE))
    common.serve(Peer)
