"""Weights that Keras 3.15.1 saved: dltrain loads them and predicts what Keras predicted. Needs no Keras.

tests/golden/interop holds one small model for each kind of weights (tests/program/keras_round_trip.py --store makes them),
tests/golden/files whole models with their optimizer's state, saved after 20 steps (tests/golden/make_golden.py).
"""

import os
import re
import shutil

import support_predict as sp

INTEROP = os.path.join(sp.GOLDEN, "interop")
TOLERANCE = 1e-5  # with the reference kernels; those of the machine may round otherwise
CHOSEN_TOLERANCE = 1e-4


def golden_models():
    """{name: its model file's text} of tests/golden/models.yaml: the block under `model:`, two levels further out."""
    with open(os.path.join(sp.GOLDEN, "models.yaml"), encoding="utf-8") as file:
        cases = re.split(r"(?m)^- name: ", file.read())[1:]
    models = {}
    for case in cases:
        body = case[case.index("\n  model:\n") + len("\n  model:\n") :]
        models[case.split("\n", 1)[0]] = re.sub(r"(?m)^    ", "", body)
    return models


class KerasFiles(sp.Case):
    def predicted(self, *arguments):
        out = self.path("out.npy")
        self.run_ok("predict", *arguments, "--output", out)
        return sp.read_npy(out)

    def check(self, model, weights, rows, wanted, what, *more):
        for kernels, tolerance in ((["--reference"], TOLERANCE), ([], CHOSEN_TOLERANCE)):
            found = self.predicted(model, "--weights", weights, "--input", rows, *kernels, *more)
            self.assertEqual(found.shape, wanted.shape, what)
            self.assert_close(found.values, wanted.values, tolerance, what)

    def rows_of(self, array):
        with open(self.path("rows.npy"), "wb") as file:
            file.write(sp.npy_bytes(array))
        return self.path("rows.npy")

    def test_every_kind_with_weights(self):
        arrays = sp.Npz(os.path.join(INTEROP, "interop.npz"))
        self.addCleanup(arrays.close)
        names = [name[: -len(".yaml")] for name in sorted(os.listdir(INTEROP)) if name.endswith(".yaml")]
        self.assertGreaterEqual(len(names), 12)
        for name in names:
            with self.subTest(model=name):
                base = os.path.join(INTEROP, name)
                rows = self.rows_of(arrays[f"{name}/x"])
                self.check(base + ".yaml", base + ".weights.h5", rows, arrays[f"{name}/predict"], name)

    def test_a_table_of_the_shipped_config(self):
        """FeatureSpace learns from the training data, the weights behind it come from Keras."""
        arrays = sp.Npz(os.path.join(INTEROP, "interop.npz"))
        self.addCleanup(arrays.close)
        adult = os.path.join(sp.SETS, "adult")
        with open(os.path.join(adult, "adult-train-300.csv"), encoding="utf-8") as file:
            rows = self.write("rows.csv", "".join(file.readlines()[:80]))
        overrides = [
            f"data.train.CSV.path={adult}/adult-train-300.csv",
            f"data.test.CSV.path={adult}/adult-test-150.csv",
            "layers[1].units=16",
            "layers[3].units=8",
        ]
        more = [part for override in overrides for part in ("-o", override)]
        model, weights = os.path.join(sp.ROOT, "configs", "adult.yaml"), os.path.join(INTEROP, "adult.weights.h5")
        self.check(model, weights, rows, arrays["adult/predict"], "adult", *more)

    def test_whole_models(self):
        """Saved after training, with the optimizer's state; evaluate gives Keras' loss as well."""
        arrays = sp.Npz(os.path.join(sp.GOLDEN, "models.npz"))
        self.addCleanup(arrays.close)
        shutil.copy(os.path.join(sp.GOLDEN, "models.npz"), self.folder)
        seen = 0
        for name, text in golden_models().items():
            weights = os.path.join(sp.GOLDEN, "files", name + ".weights.h5")
            if not os.path.exists(weights):
                continue
            seen += 1
            with self.subTest(model=name):
                model = self.write(name + ".yaml", text)
                self.check(model, weights, self.rows_of(arrays[f"{name}/x"]), arrays[f"{name}/predict"], name)
                said = self.run_ok("evaluate", model, "--weights", weights, "--data", "models.npz", "--reference", "--format", "csv")
                loss = float(re.search(r"(?m)^loss,(.*)$", said)[1])
                wanted = arrays[f"{name}/evaluate/loss"].values[0]
                self.assertAlmostEqual(loss, wanted, delta=2e-5 * max(1.0, abs(wanted)))
        self.assertEqual(seen, 11)

    def test_training_goes_on_from_them(self):
        """`fit --weights`: at a learning rate of 0 a run ends with Keras' weights; every golden model trains."""
        arrays = sp.Npz(os.path.join(sp.GOLDEN, "models.npz"))
        self.addCleanup(arrays.close)
        shutil.copy(os.path.join(sp.GOLDEN, "models.npz"), self.folder)
        models = golden_models()
        name = "lstm_text_mask"
        model, weights = self.write("model.yaml", models[name]), os.path.join(sp.GOLDEN, "files", name + ".weights.h5")
        still = ["-o", "optimizer={SGD: {learning_rate: 0}}", "-o", "fit.epochs=1"]
        self.run_ok("fit", model, "--weights", weights, "--run", "still", *still)
        rows = self.rows_of(arrays[f"{name}/x"])
        from_run = self.predicted("still", "--input", rows, "--reference")
        self.assert_close(from_run.values, arrays[f"{name}/predict"].values, TOLERANCE, name)
        for name, text in models.items():  # accumulation, averages, clipping and schedules among them
            with self.subTest(model=name):
                self.run_ok("fit", self.write("one.yaml", text), "--run", "run-" + name, "--verbose", 0)
                self.run_ok("evaluate", "run-" + name, "--data", "train")

    def test_a_run_with_other_weights(self):
        """A run says what it knows of the data, --weights brings the numbers."""
        arrays = sp.Npz(os.path.join(sp.GOLDEN, "models.npz"))
        self.addCleanup(arrays.close)
        shutil.copy(os.path.join(sp.GOLDEN, "models.npz"), self.folder)
        name = "cnn_batch_normalization"
        model = self.write("model.yaml", golden_models()[name])
        self.run_ok("fit", model, "--run", "run", "--verbose", 0)
        weights = os.path.join(sp.GOLDEN, "files", name + ".weights.h5")
        self.check("run", weights, self.rows_of(arrays[f"{name}/x"]), arrays[f"{name}/predict"], name)
        final = os.path.join("run", "checkpoints", "final.weights.h5")  # a checkpoint of ours does as well
        with_model = self.predicted(model, "--weights", final, "--input", "rows.npy")
        self.assertEqual(with_model.values, self.predicted("run", "--input", "rows.npy").values)
        self.assertEqual(with_model.values, self.predicted(model, "--weights", "run", "--input", "rows.npy").values)

    def test_weights_of_another_model(self):
        shutil.copy(os.path.join(sp.GOLDEN, "models.npz"), self.folder)
        model = self.write("model.yaml", golden_models()["gru_regression"])
        arrays = sp.Npz(os.path.join(sp.GOLDEN, "models.npz"))
        self.addCleanup(arrays.close)
        rows = self.rows_of(arrays["gru_regression/x"])
        other = os.path.join(sp.GOLDEN, "files", "lstm_text_mask.weights.h5")
        said = self.run_fails(sp.CHECKPOINT, "predict", model, "--weights", other, "--input", rows, "--output", "out.csv")
        self.assertIn("/layers/gru", said)
        self.assertFalse(os.path.exists(self.path("out.csv")))

    def test_a_model_file_alone(self):
        shutil.copy(os.path.join(sp.GOLDEN, "models.npz"), self.folder)
        model = self.write("model.yaml", golden_models()["gru_regression"])
        for command in ("predict", "evaluate"):
            self.assertIn("--weights", self.run_fails(sp.CONFIG, command, model, stdin=""))

    def test_a_damaged_file_is_an_error(self):
        """Cut at every so many bytes: a message and exit code 6, never a crash or an output file."""
        name = "mlp_classification"
        shutil.copy(os.path.join(sp.GOLDEN, "models.npz"), self.folder)
        model = self.write("model.yaml", golden_models()[name])
        arrays = sp.Npz(os.path.join(sp.GOLDEN, "models.npz"))
        self.addCleanup(arrays.close)
        rows = self.rows_of(arrays[f"{name}/x"])
        with open(os.path.join(sp.GOLDEN, "files", name + ".weights.h5"), "rb") as file:
            whole = file.read()
        for length in range(0, len(whole) - 1, max(1, len(whole) // 6)):
            with open(self.path("cut.weights.h5"), "wb") as file:
                file.write(whole[:length])
            arguments = ("predict", model, "--weights", "cut.weights.h5", "--input", rows, "--output", "out.csv")
            said = self.run_fails(sp.CHECKPOINT, *arguments)
            self.assertIn("cut.weights.h5", said)
            self.assertFalse(os.path.exists(self.path("out.csv")))


if __name__ == "__main__":
    sp.main()
