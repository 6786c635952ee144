"""Names that users give: whole in what is logged, or refused before training."""

import csv

import dltrain
from dltrain import CONFIG, SAVED, main, metrics

MODEL = """\
seed: 0
data:
  train: {CSV: {path: rows.csv, target: y}}
layers:
  - Dense: {units: 1}
optimizer: {SGD: {learning_rate: 0.001}}
loss: mse
metrics: [{MeanSquaredError: {name: %s}}, {MeanAbsoluteError: {name: %s}}]
fit: {epochs: 3, batch_size: 4}
"""
LONGEST = 100


class Names(dltrain.TestCase):
    def setUp(self):
        super().setUp()
        (self.folder / "rows.csv").write_text("x,y\n" + "".join(f"{i}.5,{i}\n" for i in range(20)))

    def fit(self, first, second, *words):
        (self.folder / "model.yaml").write_text(MODEL % (first, second))
        return dltrain.run("fit", "model.yaml", "--run", "run", "--verbose", 2, *words, cwd=self.folder)

    def check_history(self, *names):
        """A run that is stopped in its second epoch and goes on has the same table as its logs, whatever a name is."""
        written = ["'" + name.replace("'", "''") + "'" for name in names]
        self.expect(self.fit(*written, "--stop-after", 7), SAVED)
        done = self.expect(self.fit(*written), dltrain.DONE)
        with open(self.folder / "run" / "history.csv", encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file))
        logs = metrics(self.folder / "run")
        self.assertEqual(len(rows), 3)
        for row, log in zip(rows, logs):
            self.assertEqual(set(row), {"epoch", "loss", *names})
            for name in names:
                self.assertEqual(float(row[name]), log[name])
        return done.stderr

    def test_a_comma_in_a_name(self):
        self.check_history("a,b", "b")

    def test_quotes_in_a_name(self):
        self.check_history('so "good", as ""said""', '"')

    def test_the_longest_name(self):
        """Two names that differ at their end: both have their figures on the screen."""
        names = "m" * (LONGEST - 1) + "a", "m" * (LONGEST - 1) + "b"
        shown = self.check_history(*names)
        lines = shown.splitlines()
        header = next(i for i, line in enumerate(lines) if line.split()[:1] == ["epoch"])
        self.assertEqual(len(lines[header + 1].split()[1:4]), 3)
        for name in names:
            end = lines[header].index(name) + LONGEST
            self.assertRegex(lines[header + 1][:end], r"[0-9]$")

    def test_what_is_longer_is_refused(self):
        said = self.expect(self.fit("m" * (LONGEST + 1), "b"), CONFIG)
        self.assertIn("MeanSquaredError: name must be at most 100 bytes long", said.stderr)
        self.assertFalse((self.folder / "run").exists())

    def test_control_characters_are_refused(self):
        for text in ('"a\\x01b"', '"a\\x7fb"', '"a\\tb"'):
            said = self.expect(self.fit(text, "b"), CONFIG)
            self.assertIn("MeanSquaredError: name must be a word", said.stderr)


if __name__ == "__main__":
    main()
