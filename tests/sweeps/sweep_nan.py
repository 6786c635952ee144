"""Numbers that are not finite, made in every step of a run by the data, by an overflow in each layer, in the state of a
layer, in the loss and in the gradients: each is found before the update, and the message names what did it. fit.non_finite
decides what comes then:
  stop      the run ends with 5; what was saved are the weights of the step before
  skip      the weights come out as if the batch had not been there
  rollback  as if neither it nor those before it in its epoch had been there; in the first epoch it stops
"As if" is tried: a run on the data without those batches must come to the same digest.
"""
import array
import pathlib
import re
import shutil
import struct
import tempfile

from sweep import Sweep, dltrain

BATCH, STEPS, STEPS_OF_EPOCH, WIDTH = 4, 6, 2, 3
NUMERIC = 5
LAYERS = ["a", "b", "c"]
FIRST_LAYER_LINE = 3
MODEL = """data: {{train: {{NPY: {{features: x.npy, labels: y.npy}}}}}}
layers:
{layers}
optimizer: {{SGD: {{learning_rate: {rate}}}}}
loss: {loss}
fit: {{epochs: {epochs}, {steps} batch_size: {batch}, shuffle: false, non_finite: {policy}, keep: 100,
      callbacks: [{{ModelCheckpoint: {{filepath: "at-{{batch}}.weights.h5", save_freq: 1, save_weights_only: false}}}}]}}
"""


def npy(path, shape, values):
    """An array of float32, as numpy writes it."""
    head = f"{{'descr': '<f4', 'fortran_order': False, 'shape': {shape}, }}"
    head += " " * (-(len(head) + 11) % 64) + "\n"
    path.write_bytes(b"\x93NUMPY\x01\x00" + struct.pack("<H", len(head)) + head.encode() + array.array("f", values).tobytes())


class Case:
    """What is wrong (cause; of it: a value, a layer or nothing), in which step, and the policy."""

    def __init__(self, cause, what, step, policy):
        self.cause, self.what, self.step, self.policy = cause, what, step, policy

    def __str__(self):
        return f"{self.cause} {self.what}, step {self.step}, {self.policy}"

    @property
    def record(self):
        """The bad one, from 0."""
        return (self.step - 1) * BATCH + self.step % BATCH

    def write(self, folder, batches, bad):
        """The model and the data of some batches (numbers from 0), with the bad value or without."""
        folder.mkdir()
        x, y = [], []
        for batch in batches:
            for i in range(batch * BATCH, (batch + 1) * BATCH):
                x += [0.1 * (i % 5), 0.2 * (i % 3), 0.05 * (i % 7)]
                y.append(float(i % 2))
                if bad and i == self.record:
                    value = {"data": self.what, "layer": "1e30", "state": "1e20", "gradient": "1e25", "loss": "1e30"}[self.cause]
                    (y if self.cause == "loss" else x)[-1] = float(value)
        npy(folder / "x.npy", (len(y), WIDTH), x)
        npy(folder / "y.npy", (len(y), 1), y)
        layers = "  - BatchNormalization\n" if self.cause == "state" else ""
        for name in LAYERS:
            huge = self.cause == "layer" and name == self.what
            more = "Constant: {value: 1e15}}, trainable: false" if huge else "Constant: {value: 0.1}}"
            layers += f"  - Dense: {{units: {1 if name == LAYERS[-1] else 2}, name: {name}, kernel_initializer: {{{more}}}\n"
        whole = len(batches) == STEPS
        text = MODEL.format(layers=layers, rate=1e-17 if self.cause == "layer" else 0.01, epochs=STEPS // STEPS_OF_EPOCH if whole else 1, batch=BATCH, policy=self.policy,
                            steps=f"steps_per_epoch: {STEPS_OF_EPOCH}," if whole else "",
                            loss="mean_squared_error" if self.cause == "loss" else "mean_absolute_error")
        (folder / "model.yaml").write_text(text)

    def batches_that_count(self):
        """Numbers of the batches whose updates are in the final weights; None: the run stops."""
        bad = self.step - 1
        epoch = bad // STEPS_OF_EPOCH * STEPS_OF_EPOCH
        if self.policy == "stop" or (self.policy == "rollback" and epoch == 0):
            return None
        before = bad if self.policy == "skip" else epoch
        return [*range(before), *range(bad + 1, STEPS)]

    def blamed(self):
        """What the message must say."""
        records = ", ".join(str(r + 1) for r in range((self.step - 1) * BATCH, self.step * BATCH))
        batch = rf"batch {self.step} of the pass: records {records}\n"
        first = {
            "data": rf"first bad value: the data: record {self.record + 1} of x\.npy, column {WIDTH - 1} is {self.what}",
            "layer": rf"model\.yaml:{FIRST_LAYER_LINE + LAYERS.index(self.what or 'a')}:5:.*first bad value: the output of {self.what}[ ,]"
            if self.cause == "layer" else "",
            "state": rf"model\.yaml:{FIRST_LAYER_LINE}:5:.*first bad value: the output of batch_normalization ",
            "loss": r"model\.yaml:8:7:.*first bad value: the output of loss",
            "gradient": "|".join(rf"model\.yaml:{FIRST_LAYER_LINE + i}:5:.*first bad value: the sum of squares of the gradients overflows; the largest is the "
                                 rf"gradient of {name}, up to \d" for i, name in enumerate(LAYERS))}[self.cause]
        return [first, batch]


def fit(folder, run):
    return dltrain.run("fit", folder / "model.yaml", "--run", run, "--verbose", 2, cwd=folder)


def look(sweep, case, folder):
    """Runs a case and says what is not as it should be."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    sweep.count("injected")
    case.write(folder / "bad", range(STEPS), True)
    result = fit(folder / "bad", folder / "run")
    wanted = case.batches_that_count()
    if result.returncode != (NUMERIC if wanted is None else dltrain.DONE):
        return f"exit {result.returncode}: {result.stderr}"
    for text in case.blamed():
        if not re.search(text, result.stderr):
            return f"no /{text}/ in: {result.stderr}"
    sweep.count("named")
    if wanted is None:
        wanted = range(case.step - 1)  # ModelCheckpoint has written the weights of each step
        checkpoints = sorted((folder / "bad").glob("at-*.weights.h5"))
        if len(checkpoints) > case.step - 1:
            return f"a checkpoint was written at the bad step: {checkpoints}"
    if len(wanted) == 0:
        return None  # nothing was made
    case.write(folder / "good", wanted, False)
    good = fit(folder / "good", folder / "expected")
    if good.returncode != dltrain.DONE:
        return f"the run without the bad batch: exit {good.returncode}: {good.stderr}"
    expected = dltrain.info(folder / "expected")["weights"]
    if case.batches_that_count() is not None:
        found = dltrain.info(folder / "run")["weights"]
    else:  # the newest of the run itself
        newest = max((folder / "bad").glob("at-*.weights.h5"), key=lambda p: p.stat().st_mtime_ns)
        
        evaluated = [dltrain.run("predict", path, "--input", folder / "good" / "x.npy", "--output", "-", "--format", "csv").stdout
                     for path in (newest, dltrain.final_weights(folder / "expected"))]
        expected, found = evaluated
    sweep.count("compared")
    return None if expected == found else "the weights are not those of a run without the batch"


def main():
    sweep = Sweep("nan", __doc__)
    cases = [Case(cause, what, step, policy) for cause, what in
             [("data", "nan"), ("data", "inf"), ("data", "-inf"), *(("layer", name) for name in LAYERS), ("state", ""), ("loss", ""), ("gradient", "")]
             for step in range(1, STEPS + 1) for policy in ("stop", "skip", "rollback")]
    folder = pathlib.Path(tempfile.mkdtemp(prefix="dltrain-sweep-", dir=dltrain.FOLDER))
    try:
        for case in sweep.choose(range(len(cases)), 60):
            wrong = look(sweep, cases[case], folder / "case")
            if wrong:
                sweep.lost(f"{cases[case]}: {wrong}")
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    sweep.finish("injected")


if __name__ == "__main__":
    main()
