"""FeatureSpace against Keras (tests/golden/featurespace): tables go in as files, vectors come out of predict.

The model is FeatureSpace and a Dense layer with the identity as its kernel, so that predictions are the encoded rows; it is trained for an
epoch at a rate of nearly 0, on targets that nobody looks at.
"""

import re
import unittest

from dltrain import DONE, NO_DATA, SOURCE, TestCase, main, run
from support_predict import Npz, read_csv, read_npy

try:
    import yaml
except ImportError:
    yaml = None

GOLDEN = SOURCE / "tests" / "golden"
# Where dltrain differs (docs/data.md): it keeps the texts that train has and no others, so a text that train does not have goes to the
# first OOV slot or bin, where Keras hashes it; and an empty field is a missing value, not a text. Of these cases, rows with such a
# field are left out.
DIFFERENT = {"string_categorical_oov_2", "string_categorical_empty", "string_categorical_max_tokens_oov_2", "string_hashed_default",
             "string_hashed_dim", "defaults"}

MODEL = """name: vectors
data:
  train: {{CSV: {{path: train.csv, header: true, target: [{targets}]}}}}
layers:
  - {layer}
  - Dense: {{units: {width}, use_bias: false, kernel_initializer: identity}}
optimizer: {{SGD: {{learning_rate: 1e-30}}}}
loss: mse
fit: {{epochs: 1}}
"""


def flow(value):
    """A value of the cases in YAML's flow style."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{flow(k)}: {flow(v)}" for k, v in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(flow(v) for v in value) + "]"
    if isinstance(value, str) and re.fullmatch(r"[\d.]+/[\d.]+", value):
        return value
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'
    return "null" if value is None else repr(value)


@unittest.skipIf(yaml is None, "needs yaml")
class FeatureSpace(TestCase):
    def encode(self, case, width):
        """The result of predict for the rows of `new`, and the file it writes."""
        train, targets = case["train"].rstrip("\n").split("\n"), [f"target_{i}" for i in range(width)]
        (self.folder / "train.csv").write_text(
            ",".join([train[0], *targets]) + "\n" + "".join(line + ",0" * width + "\n" for line in train[1:]))
        (self.folder / "new.csv").write_text(case["new"])
        model = self.folder / "model.yaml"
        model.write_text(MODEL.format(targets=", ".join(targets), layer=flow(case["layers"][0]), width=width))
        folder = self.folder / "run"
        self.expect(run("fit", model, "--run", folder, "--force"), DONE)
        out = self.folder / "out.npy"
        out.unlink(missing_ok=True)
        return run("predict", folder, "--input", self.folder / "new.csv", "--format", "npy", "--output", out), out

    @staticmethod
    def is_known(case, row):
        """True if train has all texts of a row of `new`, and none is empty."""
        _, train = read_csv(case["train"])
        _, new = read_csv(case["new"])
        seen = [set(column) for column in zip(*train)]
        return all(field != "" and (field in seen[k] or re.fullmatch(r"-?[\d.]+", field)) for k, field in enumerate(new[row]))

    def test_vectors_are_those_of_keras(self):
        vectors = Npz(GOLDEN / "featurespace.npz")
        compared = 0
        for case in yaml.safe_load((GOLDEN / "featurespace.yaml").read_text()):
            name = case["name"]
            if f"{name}/new" not in vectors and not case.get("new_is_error"):
                continue  # output_mode: dict, one array a feature: tests/unit/test_feature_space.c
            with self.subTest(case=name):
                width = sum(columns for _, columns in case["columns"])
                result, out = self.encode(case, width)
                if case.get("new_is_error"):
                    self.expect(result, NO_DATA)
                    self.assertFalse(out.exists(), "an error leaves no output")
                    continue
                self.expect(result, DONE)
                expected, got = vectors[f"{name}/new"], read_npy(out)
                self.assertEqual(tuple(got.shape), tuple(expected.shape))
                rows = [i for i in range(expected.shape[0]) if name not in DIFFERENT or self.is_known(case, i)]
                self.assertTrue(rows, "no row is left")
                for i in (row * width + column for row in rows for column in range(width)):
                    a, b = got.values[i], expected.values[i]
                    self.assertLessEqual(abs(a - b), 1e-5 * max(1, abs(b)), f"row {i // width}, column {i % width}: {a}, Keras {b}")
                compared += 1
        self.assertGreater(compared, 15)


if __name__ == "__main__":
    main()
