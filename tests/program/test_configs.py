"""The shipped configs learn what they are for, on real data: in full where DLTRAIN_DATA holds it, else on the excerpts.

These are short forms, for tests; docs/results.md has the runs in full.
"""

import collections
import os
import tarfile
import unittest

from dltrain import DATA, DONE, SOURCE, TestCase, main, metrics, overrides, run

EXCERPTS = SOURCE / "tests" / "data" / "excerpts"
FULL = DATA is not None and os.path.isdir(os.path.join(DATA, "mnist"))


class ShippedConfigs(TestCase):
    def fit(self, config, **values):
        """Figures of the first and the last epoch of a run with some keys changed."""
        folder = self.folder / "run"
        self.expect(run("fit", SOURCE / "configs" / config, "--run", folder, *overrides(**values),
                        environ={"DLTRAIN_DATA": str(DATA if FULL else EXCERPTS)}), DONE)
        epochs = metrics(folder)
        return epochs[0], epochs[-1]

    def test_digits(self):
        _, last = self.fit("digits-cnn.yaml")
        best = last["val_accuracy"]
        self.assertGreaterEqual(best, 0.97)

    def test_mnist_mlp(self):
        _, last = self.fit("mnist-mlp.yaml", fit__epochs=1 if FULL else 5)
        self.assertGreaterEqual(last["val_accuracy"], 0.95 if FULL else 0.6)

    def test_mnist_cnn(self):
        """In full it reaches 99 % of the test set, in 5 epochs; here it sees 200 batches."""
        more = {"fit__steps_per_epoch": 200} if FULL else {}
        _, last = self.fit("mnist-cnn.yaml", fit__epochs=1 if FULL else 8, **more)
        self.assertGreaterEqual(last["val_accuracy"], 0.95 if FULL else 0.6)

    def test_cifar10(self):
        """On some of each class: nothing of CIFAR-10 comes along."""
        archive = os.path.join(DATA or "", "cifar10-jpg.tar.gz")
        if not os.path.isfile(archive):
            self.skipTest("the CIFAR-10 configs need cifar10-jpg.tar.gz in DLTRAIN_DATA")
        taken = collections.Counter()
        with tarfile.open(archive) as files:
            for file in files:
                parts = file.name.removeprefix("./").split("/")
                if file.isfile() and len(parts) == 3 and taken[parts[0], parts[1]] < (100 if parts[0] == "train" else 10):
                    taken[parts[0], parts[1]] += 1
                    path = self.folder / "cifar10" / "/".join(parts)
                    path.parent.mkdir(parents=True, exist_ok=True)
                    path.write_bytes(files.extractfile(file).read())
        self.assertEqual(sum(taken.values()), 1100)
        for config, epochs in (("cifar10-cnn", 8), ("cifar10-resnet", 3)):
            self.expect(run("fit", SOURCE / "configs" / f"{config}.yaml", "--run", self.folder / config,
                            *overrides(fit__epochs=epochs, fit__batch_size=32, data__cache=self.folder / "cache"),
                            environ={"DLTRAIN_DATA": str(self.folder)}), DONE)
        self.assertGreaterEqual(metrics(self.folder / "cifar10-cnn")[-1]["accuracy"], 0.35)
        residual = metrics(self.folder / "cifar10-resnet")  # its rate rises for 704 steps, of which these are 87
        self.assertLess(residual[-1]["loss"], 0.75 * residual[0]["loss"])

    def test_housing(self):
        first, last = self.fit("housing.yaml", fit__epochs=5 if FULL else 10)
        self.assertGreaterEqual(last["val_R2Score" if "val_R2Score" in last else "val_r2_score"], 0.6 if FULL else 0.3)
        self.assertLess(last["val_loss"], first["val_loss"])

    def test_adult(self):
        _, last = self.fit("adult.yaml", fit__epochs=3 if FULL else 8)
        self.assertGreaterEqual(last["val_accuracy"], 0.84 if FULL else 0.75)

    def test_shakespeare_lstm(self):
        first, last = self.fit("shakespeare-lstm.yaml", fit__epochs=4, fit__steps_per_epoch=20,
                               fit__validation_steps=2)
        self.assertLess(last["val_loss"], first["val_loss"] - 0.1)

    def test_shakespeare_transformer(self):
        first, last = self.fit("shakespeare-transformer.yaml", fit__epochs=3, fit__steps_per_epoch=15,
                               fit__validation_steps=2, vars__width=64)
        self.assertLess(last["val_loss"], first["val_loss"] - 0.1)


if __name__ == "__main__":
    main()
