"""Who is blamed: values of the data that are not finite are named by record and column, and gradcheck counts what it compared."""

import array
import re

from dltrain import SOURCE, main
from support_predict import BAD_DATA, Array, Case, npy_bytes

NUMERIC = 5  # exit code
NAN = float("nan")


class Data(Case):
    """Fits of 40 records, one of which is bad."""

    def array(self, name, shape, code="f", bad=None):
        count = 1
        for n in shape:
            count *= n
        values = array.array(code, [(7 * i % 11 / 11 if code == "f" else i % 2) for i in range(count)])
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
        self.assertIn("first bad value: the data: record 17 (row 16 of x.npy), column 1 is nan\n", text)
        self.assertRegex(text, "try: look at that record.*missing.*FeatureSpace")
        # the batch is the one with that record
        self.assertRegex(text, r"records (\d+, )*16[ ,]")

    def test_images(self):
        self.array("x.npy", (40, 4, 3), bad={5 * 12 + 7: float("-inf")})
        self.array("y.npy", (40,), "q")
        text = self.fit(self.ARRAYS, "Flatten, " + self.CLASSIFIER)
        self.assertIn("the data: record 6 (row 5 of x.npy), features [2, 1] is -inf\n", text)

    def test_targets(self):
        """They are refused before the first step."""
        self.array("x.npy", (40, 3))
        self.array("y.npy", (40, 2), bad={33 * 2 + 1: NAN})
        self.write("model.yaml", f"data: {{train: {self.ARRAYS}}}\nlayers: [{{Dense: {{units: 2}}}}]\nloss: mse\n")
        self.assertRegex(self.run_fails(BAD_DATA, "fit", "model.yaml"), r"y.npy': record 33 has the value nan")

    def test_measured(self):
        """Normalization has met the NaN before the first batch."""
        self.array("x.npy", (40, 3), bad={16 * 3 + 1: NAN})
        self.array("y.npy", (40,), "q")
        text = self.fit(self.ARRAYS, "Normalization, " + self.CLASSIFIER)
        self.assertRegex(text, r"the data: record 17 \(row 16 of x.npy\), column 1 is nan\n")

    def table(self, value):
        lines = [f"{i},{value if i == 23 else '' if i == 4 else 10 * i},{i % 2}" for i in range(40)]
        self.write("t.csv", "\n".join(["age,income,y", *lines, ""]))
        return "{CSV: {path: t.csv, header: true, target: y}}"

    def features(self, kind):
        return f"{{FeatureSpace: {{features: {{age: float, income: {kind}}}}}}}, {{Dense: {{units: 1, activation: sigmoid}}}}"

    def test_learned(self):
        text = self.fit(self.table("1e300"), self.features("float_normalized"), "binary_crossentropy")
        self.assertRegex(text, r"first bad value: (the data|what feature_space has learned from the data): "
                               r"record 24 \(row 23 of t.csv\), column income is 1e\+?300, beyond float32\n")

    def test_table(self):
        """The number itself, not what was learned: and a missing value beside it is none to blame."""
        text = self.fit(self.table("-1e39"), self.features("float"), "binary_crossentropy")
        self.assertIn("the data: record 24 (row 23 of t.csv), column income is -1e+39, beyond float32\n", text)

    def test_good_data(self):
        """No value of the data is bad in itself: the node is named, and what is far out beside it."""
        self.array("x.npy", (40, 3), bad={16 * 3 + 1: 1e30})
        self.array("y.npy", (40,))
        text = self.fit(self.ARRAYS, "{Dense: {units: 1, kernel_initializer: ones}}", "mse")
        self.assertRegex(text, r"first bad value: the (output|gradient) of ")
        self.assertRegex(text, r"the largest value of the batch: record 17 \(row 16 of x.npy\), column 1 is 1.*e\+?(29|30)\n")
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
