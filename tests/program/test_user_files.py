"""Files that are not a run's own stay as they are; and what the screens say of a table."""

from dltrain import CHECKPOINT, CONFIG, DONE, TestCase, main, run

MODEL = """name: m
data: {{train: {{CSV: {{path: rows.csv, target: y}}}}}}
layers: [FeatureSpace, {{Dense: {{units: 2, activation: softmax}}}}]
loss: sparse_categorical_crossentropy
fit: {{epochs: 1, callbacks: [{callback}]}}
"""


class UserFiles(TestCase):
    def setUp(self):
        super().setUp()
        self.rows = self.folder / "rows.csv"
        self.rows.write_text("a,town,y\n" + "".join(f"{i % 7},{'north' if i < 1200 else f'n{i}'},{i % 2}\n" for i in range(1300)))
        self.model = self.folder / "m.yaml"

    def write(self, callback=""):
        self.model.write_text(MODEL.format(callback=callback))

    def test_a_folder_with_other_files_is_no_run_directory(self):
        self.write()
        other = self.folder / "other"
        other.mkdir()
        (other / "config.yaml").write_text("precious: 1\n")
        result = self.expect(run("fit", self.model, "--run", other), CHECKPOINT)
        self.assertIn("holds other files ('config.yaml')", result.stderr)
        self.assertEqual([p.name for p in other.iterdir()], ["config.yaml"])
        self.assertEqual((other / "config.yaml").read_text(), "precious: 1\n")
        (self.folder / "empty").mkdir()
        self.expect(run("fit", self.model, "--run", self.folder / "empty"), DONE)

    def test_callbacks_do_not_write_over_what_is_read(self):
        for target in (self.rows, self.model):
            with self.subTest(target=target.name):
                self.write(f"{{CSVLogger: {{filename: {target}}}}}")
                before = target.read_bytes()
                result = self.expect(run("fit", self.model), CONFIG)
                self.assertIn("which this run reads", result.stderr)
                self.assertEqual(target.read_bytes(), before)

    def test_what_was_not_read_to_its_end_is_told_as_about(self):
        """The first 1,000 records have one town, the others a hundred more."""
        self.write()
        self.assertRegex(self.expect(run("check", self.model), DONE).stdout, r", about [\d,]+ parameters")
        summary = self.expect(run("summary", self.model), DONE).stdout
        self.assertNotIn("about", summary)
        self.assertRegex(summary, r"(?m)^town +input +text +0 +101$")
        self.assertRegex(summary, r"(?m)^a +input +integer +0 +7 +0 \.\. 6$")


if __name__ == "__main__":
    main()
