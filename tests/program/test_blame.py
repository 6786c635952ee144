"""Who is blamed: values of the data that are not finite are named by record and column, and gradcheck counts what it compared."""

import array
import os
import re
import shutil

from dltrain import CONFIG, DONE, SOURCE, main
from support_predict import BAD_DATA, Array, Case, npy_bytes

NUMERIC = 5  # exit code
NAN = float("nan")


class Data(Case):
    """Fits of 40 records, one of which is bad."""

    def array(self, name, shape, code="f", bad=None):
        count = 1
        for n in shape:
            count *= n
        values = array.array(code, [(7 * i % 11 / 11 if code in "fd" else i % 2) for i in range(count)])
        for at, value in (bad or {}).items():
            values[at] = value
        with open(self.path(name), "wb") as file:
            file.write(npy_bytes(Array(shape, values)))

    def fit(self, data, layers, loss="sparse_categorical_crossentropy"):
        """Its messages; the run must fail for a number."""
        self.write("model.yaml", f"data: {{train: {data}}}\nlayers: [{layers}]\nloss: {loss}\n"
                                 "fit: {epochs: 1, batch_size: 8}\n")
        text = self.run_fails(NUMERIC, "fit", "model.yaml")
        self.assertRegex(text, r"became (nan|inf) at epoch 1, step \d; the update was not applied")
        self.assertEqual(text.count("first bad value"), 1, text)
        return text

    CLASSIFIER = "{Dense: {units: 4, activation: relu}}, {Dense: {units: 2, activation: softmax}}"
    ARRAYS = "{NPY: {features: x.npy, labels: y.npy}}"

    def test_features(self):
        self.array("x.npy", (40, 3), bad={16 * 3 + 1: NAN})
        self.array("y.npy", (40,), "q")
        text = self.fit(self.ARRAYS, self.CLASSIFIER)
        self.assertIn("first bad value: the data: record 17 of x.npy, column 1 is nan\n", text)
        self.assertRegex(text, "try: look at that record.*missing.*FeatureSpace")
        # the batch is the one with that record
        self.assertRegex(text, r"records (\d+, )*17[\n,]")

    def test_images(self):
        self.array("x.npy", (40, 4, 3), bad={5 * 12 + 7: float("-inf")})
        self.array("y.npy", (40,), "q")
        text = self.fit(self.ARRAYS, "Flatten, " + self.CLASSIFIER)
        self.assertIn("the data: record 6 of x.npy, features [2, 1] is -inf\n", text)

    def test_targets(self):
        """They are refused before the first step."""
        self.array("x.npy", (40, 3))
        self.array("y.npy", (40, 2), bad={33 * 2 + 1: NAN})
        self.write("model.yaml", f"data: {{train: {self.ARRAYS}}}\nlayers: [{{Dense: {{units: 2}}}}]\nloss: mse\n")
        self.assertRegex(self.run_fails(BAD_DATA, "fit", "model.yaml"), r"y.npy': record 34 has the value nan")

    def test_penalties(self):
        """They belong to the layer that asked for them, not to the loss."""
        self.array("x.npy", (40, 3))
        self.array("y.npy", (40,), "q")
        for layer, line in (("{Dense: {units: 4, activation: relu, name: tall, activity_regularizer: {l2: 3e38}}}", "the penalty of tall, from its"),
                            ("{Dense: {units: 4, activation: relu, name: tall, kernel_regularizer: {l2: 3e38}}}", "the penalty of tall, from its")):
            with self.subTest(layer):
                text = self.fit(self.ARRAYS, layer + ", " + self.CLASSIFIER)
                self.assertRegex(text, r"model.yaml:2:\d+: .*first bad value: " + line)

    def test_weights_that_are_far_out(self):
        self.array("x.npy", (40, 3))
        self.array("y.npy", (40,), "q")
        self.array("w.npy", (40,), bad={11: 3e38})
        text = self.fit("{NPY: {features: x.npy, labels: y.npy, sample_weight: w.npy}}", self.CLASSIFIER)
        self.assertIn("the largest value of the batch: record 12 of w.npy", text)

    def test_measured(self):
        """Normalization meets it before the first batch, and before there is a run."""
        for value, found, culprit in [(NAN, "mean[1], measured on the training data, is nan", "column 1 is nan"),
                                      (1e25, "variance[1], measured on the training data, is 2.43", "column 1 is 1e+25")]:
            with self.subTest(value):
                self.array("x.npy", (40, 3), bad={16 * 3 + 1: value})
                self.array("y.npy", (40,), "q")
                self.model(f"layers: [Normalization, {self.CLASSIFIER}]\nloss: sparse_categorical_crossentropy\n")
                text = self.run_fails(BAD_DATA, "fit", "model.yaml", "--run", "run")
                self.assertIn("model.yaml:2:10: normalization: " + found, text)
                self.assertIn("record 17 of x.npy, " + culprit, text)
                self.assertFalse(os.path.exists(self.path("run")))

    def model(self, text, fit="epochs: 2, batch_size: 8"):
        self.write("model.yaml", f"data: {{train: {self.ARRAYS}}}\n{text}fit: {{{fit}}}\n")

    STATE = ("layers:\n  - BatchNormalization\n  - Flatten\n  - Dense: {units: 2, activation: softmax}\n"
             "loss: sparse_categorical_crossentropy\n")
    STATE_FIRST = (r"model.yaml:3:5: .*first bad value: the output of batch_normalization \(which reads the data\), from its "
                   r"batch_norm; operands up to 1e\+20")

    def state(self, policy, epochs=2, bad=1e20):
        """Fits where one value, in the third batch of an epoch, makes the moving variance infinite, but not the loss."""
        self.array("x.npy", (40, 4, 3), bad={21 * 12 + 7: bad} if bad else None)
        self.array("y.npy", (40,), "q")
        self.model(self.STATE, f"epochs: {epochs}, batch_size: 8, shuffle: false, non_finite: {policy}")
        return self.call("fit", "model.yaml", "--run", "run", "--verbose", "2")

    def test_state(self):
        result = self.state("stop")
        self.expect(result, NUMERIC)
        self.assertIn("a moving statistic of batch_normalization became inf at epoch 1, step 3; the update was not applied", result.stderr)
        self.assertRegex(result.stderr, self.STATE_FIRST)
        self.assertIn("batch 3 of the pass: records 17, 18, 19, 20, 21, 22, 23, 24\n", result.stderr)
        self.assertIn("record 22 of x.npy, features [2, 1] is 1e+20\n", result.stderr)

    def test_state_skip(self):
        result = self.state("skip")
        self.expect(result, DONE)
        self.assertEqual(result.stderr.count("batch 3 is not finite and was skipped"), 2)
        self.assertEqual(len(re.findall(self.STATE_FIRST, result.stderr)), 2, result.stderr)
        self.assertNotIn("not saved", result.stderr)

    def test_state_rollback(self):
        """In the first epoch it stops; in the second it goes back to the end of the first."""
        self.expect(self.state("rollback"), NUMERIC)
        shutil.rmtree(self.path("run"))
        result = self.state("rollback, steps_per_epoch: 2")
        self.expect(result, DONE)
        self.assertIn("epoch 2, batch 1 is not finite: back to the weights of step 2, and on behind it", result.stderr)
        self.assertRegex(result.stderr, self.STATE_FIRST)

    def test_beyond_float32(self):
        """A float64 that float32 does not have is refused before there is a run, with its place, value and limit."""
        self.array("x.npy", (40, 3), "d", bad={16 * 3 + 1: -1e300})
        self.array("y.npy", (40,), "q")
        self.model(f"layers: [{self.CLASSIFIER}]\nloss: sparse_categorical_crossentropy\n")
        text = self.run_fails(BAD_DATA, "fit", "model.yaml", "--run", "run")
        self.assertIn("model.yaml:1:16: record 17 of x.npy, column 1 is -1e+300, beyond float32: at most 3.4028235e+38\n", text)
        self.assertFalse(os.path.exists(self.path("run")))

    def test_float_fields(self):
        """The same of the model file's numbers, at their places."""
        self.array("x.npy", (40, 3))
        self.array("y.npy", (40,), "q")
        for field, place in [("fit.class_weight={0: 3e38, 1: 1e300}", "1e300"), ("optimizer.learning_rate=-1e39", "-1e39"),
                             ("layers[0].kernel_regularizer={L2: 1e300}", "1e300"), ("layers[0].kernel_initializer={Constant: 3.5e38}", "3.5e38")]:
            with self.subTest(field):
                self.model(f"layers: [{self.CLASSIFIER}]\nloss: sparse_categorical_crossentropy\n")
                text = self.run_fails(CONFIG, "check", "model.yaml", "-o", field)
                self.assertRegex(text, rf"-o:1:\d+: .* found {place}; numbers are float32 here: at most 3.4028235e\+38\n")
        self.run_ok("check", "model.yaml", "-o", "layers[0].kernel_initializer={Constant: 3.4028235e38}")

    def test_validation(self):
        """Training goes on, as in Keras; the first bad batch of the first bad validation is named, once."""
        self.array("x.npy", (40, 3))
        self.array("y.npy", (40,), "q")
        os.rename(self.path("x.npy"), self.path("good.npy"))
        self.array("x.npy", (40, 3), bad={21 * 3 + 1: NAN})
        self.write("model.yaml", "data: {train: {NPY: {features: good.npy, labels: y.npy}}, validation: {NPY: {features: x.npy, labels: y.npy}}}\n"
                                 f"layers: [{self.CLASSIFIER}]\nloss: sparse_categorical_crossentropy\n"
                                 "fit: {epochs: 3, batch_size: 8, callbacks: [EarlyStopping: {patience: 5}]}\n")
        result = self.call("fit", "model.yaml", "--run", "run")
        self.expect(result, DONE)
        self.assertIn("warning: epoch 1: val_loss is nan from batch 3 on; training goes on. A monitor of it finds no improvement any more\n",
                      result.stderr)
        self.assertIn("first bad value: the data: record 22 of x.npy, column 1 is nan\n", result.stderr)
        self.assertIn("batch 3 of validation: records 17, 18, 19, 20, 21, 22, 23, 24\n", result.stderr)
        self.assertEqual(result.stderr.count("val_loss is"), 1)

    OVERFLOW = ("layers:\n  - Flatten\n  - Dense: {units: 2, activation: softmax}\noptimizer: {SGD: {learning_rate: %s}}\n"
                "loss: sparse_categorical_crossentropy\n")

    def test_update(self):
        """Loss and gradients are finite, the new weights are not; what they were is gone, so that no policy goes on with them."""
        self.array("x.npy", (40, 4, 3), bad={i: 10.0 * (i % 7) for i in range(480)})
        self.array("y.npy", (40,), "q")
        for policy in ("stop", "skip", "rollback"):
            with self.subTest(policy):
                shutil.rmtree(self.path("run"), ignore_errors=True)
                self.model(self.OVERFLOW % "3.4e38", f"epochs: 2, batch_size: 8, shuffle: false, non_finite: {policy}")
                text = self.run_fails(NUMERIC, "fit", "model.yaml", "--run", "run")
                self.assertIn("the update of epoch 1, step 1 is not finite, though loss and gradients are", text)
                self.assertRegex(text, r"model.yaml:4:5: .*first bad value: the new dense/kernel, from the update: "
                                       r"learning_rate 3.4e\+38, norm of the gradients \d")
                self.assertIn("batch 1 of the pass: records 1, 2, 3, 4, 5, 6, 7, 8\n", text)

    def test_update_goes_back(self):
        """The rate explodes in the second epoch: skip and rollback go back to the end of the first, three times in a row."""
        self.array("x.npy", (40, 4, 3), bad={i: 10.0 * (i % 7) for i in range(480)})
        self.array("y.npy", (40,), "q")
        rate = "{PiecewiseConstantDecay: {boundaries: [4], values: [0.01, 3.4e38]}}"
        for policy in ("skip", "rollback"):
            with self.subTest(policy):
                shutil.rmtree(self.path("run"), ignore_errors=True)
                self.model(self.OVERFLOW % rate, f"epochs: 2, batch_size: 8, shuffle: false, non_finite: {policy}")
                text = self.run_fails(NUMERIC, "fit", "model.yaml", "--run", "run", "--verbose", "2")
                for batch in (1, 2, 3):
                    self.assertIn(f"epoch 2, batch {batch}: its update is not finite: back to the weights of step 5", text)
                self.assertIn("the update of epoch 2, step 6 is not finite", text)

    def test_slots(self):
        """A sum that the optimizer keeps overflows, and its weights are finite: squares of 1.3e19 twice."""
        self.array("x.npy", (40, 1), bad={i: 1.3e19 for i in range(40)})
        self.array("y.npy", (40, 1), bad={i: -1e6 for i in range(40)})
        self.model("layers: [{Dense: {units: 1, use_bias: false, kernel_initializer: zeros}}]\nloss: mae\n"
                   "optimizer: {Adagrad: {learning_rate: 1e-30}}\n", "epochs: 2, batch_size: 8, shuffle: false")
        text = self.run_fails(NUMERIC, "fit", "model.yaml", "--run", "run")
        self.assertRegex(text, r"first bad value: what the optimizer keeps of dense/kernel, from the update: learning_rate 1e-30")

    def table(self, value):
        lines = [f"{i},{value if i == 23 else '' if i == 4 else 10 * i},{i % 2}" for i in range(40)]
        self.write("t.csv", "\n".join(["age,income,y", *lines, ""]))
        return "{CSV: {path: t.csv, header: true, target: y}}"

    def features(self, kind):
        return f"{{FeatureSpace: {{features: {{age: float, income: {kind}}}}}}}, {{Dense: {{units: 1, activation: sigmoid}}}}"

    def test_learned(self):
        text = self.fit(self.table("1e300"), self.features("float_normalized"), "binary_crossentropy")
        self.assertRegex(text, r"first bad value: (the data|what feature_space has learned from the data): "
                               r"record 24 of t.csv, column income is 1e\+?300, beyond float32\n")

    def test_table(self):
        """The number itself, not what was learned: and a missing value beside it is none to blame."""
        text = self.fit(self.table("-1e39"), self.features("float"), "binary_crossentropy")
        self.assertIn("the data: record 24 of t.csv, column income is -1e+39, beyond float32\n", text)

    def test_good_data(self):
        """No value of the data is bad in itself: the node is named, and what is far out beside it."""
        self.array("x.npy", (40, 3), bad={16 * 3 + 1: 1e30})
        self.array("y.npy", (40,))
        text = self.fit(self.ARRAYS, "{Dense: {units: 1, kernel_initializer: ones}}", "mse")
        self.assertRegex(text, r"first bad value: the (output|gradient) of ")
        self.assertRegex(text, r"the largest value of the batch: record 17 of x.npy, column 1 is 1.*e\+?(29|30)\n")
        self.assertIn("try: normalised inputs", text)


class Gradcheck(Case):
    ROW = re.compile(r"^(\S+/\S+) +(\d+) +(\d+) +(\S+)", re.M)

    def rows(self, text):
        return {name: (int(checked), int(kinks)) for name, checked, kinks, _ in self.ROW.findall(text)}

    def test_kinks(self):
        """Biases begin at 0, and the margins of digits are 0: every element of conv2d/bias starts at a kink of relu."""
        text = self.run_ok("gradcheck", SOURCE / "configs" / "digits-cnn.yaml")
        rows = self.rows(text)
        self.assertEqual(len(rows), 8)
        for name, (checked, kinks) in rows.items():
            self.assertGreaterEqual(checked, 10, name)
            self.assertEqual(kinks, 0, name)
        self.assertIn("8 weights, 0 wrong (in double", text)
        self.assertNotIn("not checked", text)


if __name__ == "__main__":
    main()
