"""`check` with the kinds of the program: mistakes of the file and of data and shapes, in one run."""

from dltrain import CONFIG, NO_DATA, TestCase, main, run

MODEL = """name: c
data: {{train: {{CSV: {{path: rows.csv, target: {target}}}}}}}
layers: [FeatureSpace, {{Dense: {{units: 2, activation: softmax}}}}, {last}]
loss: sparse_categorical_crossentropy
metrics: [{metric}]
optimizer: {optimizer}
"""


class Check(TestCase):
    def check(self, **parts):
        (self.folder / "rows.csv").write_text("a,b,y\n" + "".join(f"{i % 7},{i % 5},{i % 2}\n" for i in range(60)))
        model = self.folder / "c.yaml"
        model.write_text(MODEL.format(**{"target": "y", "last": "Flatten", "metric": "accuracy", "optimizer": "Adam", **parts}))
        return run("check", model)

    def test_a_column_that_is_missing_is_told_beside_other_mistakes(self):
        result = self.expect(self.check(target="zz", metric="acuracy", optimizer="Adm"), CONFIG)
        for told in ("no column 'zz'", "did you mean 'accuracy'?", "did you mean 'Adam'?", "3 errors in"):
            self.assertIn(told, result.stderr)

    def test_shapes_that_clash_are_told_beside_other_mistakes(self):
        result = self.expect(self.check(last="{Conv2D: {filters: 2, kernel_size: 3}}", metric="acuracy"), CONFIG)
        for told in ("Conv2D needs (N, H, W, C), got (None, 2)", "did you mean 'accuracy'?", "2 errors in"):
            self.assertIn(told, result.stderr)

    def test_data_alone_are_told_by_their_own_code(self):
        (self.folder / "c.yaml").write_text("x")
        model = self.folder / "empty.yaml"
        (self.folder / "empty.csv").write_text("a,y\n")
        model.write_text("data: {train: {CSV: {path: empty.csv, target: y}}}\nlayers: [FeatureSpace, {Dense: {units: 2}}]\nloss: mse\n")
        result = run("check", model)
        self.assertIn(result.returncode, (CONFIG, NO_DATA), result.stderr)
        self.assertIn("error", result.stderr)


if __name__ == "__main__":
    main()
