"""evaluate and predict on Adult, as a user has it: raw rows in, every format out, and rows that are not as they should be.

On the full data under $DLTRAIN_DATA, with the bad row at 9,000; without it on the excerpts of tests/data/sets, at row 120.
"""

import json
import math
import os
import re
import shutil
import tempfile

import support_predict as sp

FULL = sp.DATA is not None and os.path.exists(os.path.join(sp.DATA, "tabular", "adult-test.csv"))
TRAIN = os.path.join(sp.DATA, "tabular", "adult-train.csv") if FULL else os.path.join(sp.SETS, "adult", "adult-train-300.csv")
TEST = os.path.join(sp.DATA, "tabular", "adult-test.csv") if FULL else os.path.join(sp.SETS, "adult", "adult-test-150.csv")
BAD = 9000 if FULL else 120
CLASSES = ["<=50K", ">50K"]

# Where the columns stand in a raw row.
WORKCLASS, OCCUPATION, COUNTRY, LABEL = 1, 6, 13, 14

trained = None  # the folder of a run, made by the first test that wants one


def setUpModule():
    global trained
    trained = tempfile.TemporaryDirectory()
    arguments = ["-o", f"data.train.CSV.path={TRAIN}", "-o", f"data.test.CSV.path={TEST}", "-o", "fit.epochs=2"]
    if not FULL:
        arguments += ["-o", "fit.batch_size=16", "-o", "optimizer.Adam.learning_rate=0.01"]
    config = os.path.join(sp.ROOT, "configs", "adult.yaml")
    done = sp.call("fit", config, "--run", run(), "--verbose", 0, *arguments)
    assert done.returncode == 0, done.stderr


def tearDownModule():
    trained.cleanup()


def run():
    return os.path.join(trained.name, "run")


def raw_lines():
    with open(TEST, encoding="utf-8") as file:
        return [line for line in file.read().split("\n") if line.strip()]


class Adult(sp.Case):
    @classmethod
    def setUpClass(cls):
        cls.lines = raw_lines()

    def rows(self, name, lines):
        return self.write(name, "\n".join(lines) + "\n")

    def changed(self, name, row, change):
        """The test file with one row, from 1, changed: a list of its fields goes through `change`."""
        lines = list(self.lines)
        lines[row - 1] = ", ".join(change(lines[row - 1].split(", ")))
        return self.rows(name, lines)

    def probabilities(self, *arguments, stdin=None):
        header, rows = sp.read_csv(self.run_ok("predict", run(), *arguments, stdin=stdin))
        self.assertEqual(header, ["class", ">50K"])
        return [float(row[1]) for row in rows], [row[0] for row in rows]

    # ---- what comes out ----

    def test_every_format_says_the_same(self):
        given = self.rows("given.csv", self.lines)
        p, names = self.probabilities("--input", given)
        self.assertEqual(len(p), len(self.lines))
        self.assertEqual(names, [CLASSES[q > 0.5] for q in p])
        self.assertTrue(all(0 <= q <= 1 for q in p) and 0 < names.count(">50K") < len(p))

        for name in ("out.csv", "out.jsonl", "out.npy", "out.h5"):
            self.assertEqual(self.run_ok("predict", run(), "--input", given, "--output", name), "")
        with open(self.path("out.csv"), encoding="utf-8") as file:
            self.assertEqual([float(row[1]) for row in sp.read_csv(file.read())[1]], p)
        with open(self.path("out.jsonl"), encoding="utf-8") as file:
            records = sp.read_jsonl(file.read())
        self.assertEqual([record["class"] for record in records], names)
        self.assertEqual([record["outputs"] for record in records], p)
        found = sp.read_npy(self.path("out.npy"))
        self.assertEqual(found.shape, (len(p), 1))
        self.assert_close(found.values, p, 1e-7)  # CSV has enough digits for the same float32
        self.check_hdf5(self.path("out.h5"), found)
        self.assertEqual(sorted(os.listdir(self.folder)), ["given.csv", "out.csv", "out.h5", "out.jsonl", "out.npy"])

    def check_hdf5(self, path, wanted):
        try:
            import h5py
        except ImportError:
            with open(path, "rb") as file:  # a contiguous data set: its bytes stand in the file as they are
                data = file.read()
            self.assertTrue(data.startswith(b"\x89HDF\r\n\x1a\n"))
            self.assertIn(wanted.values.tobytes(), data)
            return
        with h5py.File(path) as file:
            self.assertEqual(list(file), ["predictions"])
            self.assertEqual(file["predictions"].shape, wanted.shape)
            self.assertEqual(file["predictions"][...].tobytes(), wanted.values.tobytes())
            names = file["predictions"].attrs["class_names"]
            self.assertEqual((names.decode() if isinstance(names, bytes) else names).split("\n"), CLASSES)

    def test_format_by_flag_and_to_standard_output(self):
        given = self.rows("given.csv", self.lines[:5])
        p, _ = self.probabilities("--input", given)
        text = self.run_ok("predict", run(), "--input", given, "--format", "jsonl")
        self.assertEqual([record["outputs"] for record in sp.read_jsonl(text)], p)
        self.run_ok("predict", run(), "--input", given, "--format", "npy", "--output", "out.bin")
        self.assertEqual(sp.read_npy(self.path("out.bin")).shape, (5, 1))
        for binary in ("npy", "hdf5"):  # a terminal is no place for those
            self.assertIn("--output", self.run_fails(sp.CONFIG, "predict", run(), "--input", given, "--format", binary))

    def test_standard_input(self):
        text = "\n".join(self.lines[:300]) + "\n"
        p, _ = self.probabilities("--input", self.write("given.csv", text))
        self.assertEqual(self.probabilities("--input", "-", stdin=text)[0], p)
        self.assertEqual(self.probabilities(stdin=text)[0], p)  # the default
        self.assertEqual(self.probabilities(stdin=text.rstrip("\n"))[0], p)
        self.assertIn("no records", self.run_fails(sp.BAD_DATA, "predict", run(), stdin=""))

    def test_rows_need_no_targets_and_any_batch_gives_the_same(self):
        bare = [", ".join(line.split(", ")[:LABEL]) for line in self.lines[:100]]
        p, _ = self.probabilities("--input", self.rows("given.csv", self.lines[:100]))
        for more in ([], ["--batch", 1], ["--batch", 7], ["--batch", 1000], ["--threads", 1], ["--threads", 3]):
            self.assertEqual(self.probabilities("--input", self.rows("bare.csv", bare), *more)[0], p, more)

    def test_nothing_is_overwritten_by_half(self):
        """An output file that is there is replaced whole, and stays as it is where something goes wrong."""
        given = self.rows("given.csv", self.lines[:20])
        self.write("out.csv", "precious\n")
        bad = self.rows("bad.csv", [*self.lines[:15], "a, b"])
        self.run_fails(sp.BAD_DATA, "predict", run(), "--input", bad, "--output", "out.csv")
        with open(self.path("out.csv"), encoding="utf-8") as file:
            self.assertEqual(file.read(), "precious\n")
        self.run_ok("predict", run(), "--input", given, "--output", "out.csv")
        with open(self.path("out.csv"), encoding="utf-8") as file:
            self.assertEqual(len(file.read().splitlines()), 21)
        os.mkdir(self.path("folder"))
        self.assertIn("folder", self.run_fails(sp.OUTPUT, "predict", run(), "--input", given, "--output", "folder"))
        said = self.run_fails(sp.OUTPUT, "predict", run(), "--input", given, "--output", "none/out.csv")
        self.assertIn("none/out.csv", said)
        self.assertEqual(sorted(os.listdir(self.folder)), ["bad.csv", "folder", "given.csv", "out.csv"])

    # ---- rows that are not as they should be ----

    def test_an_unseen_category_is_out_of_vocabulary(self):
        """As a missing value in its column, and as any other unseen word: the OOV slot; all other rows as before."""

        def with_word(name, word):
            def change(fields):
                fields[WORKCLASS] = word
                return fields

            return self.probabilities("--input", self.changed(name, BAD, change))[0]

        before, _ = self.probabilities("--input", self.rows("given.csv", self.lines))
        unseen, other = with_word("unseen.csv", "Space-force"), with_word("other.csv", "Zimmermann & Söhne")
        missing = with_word("missing.csv", "?")
        self.assertEqual(unseen, other)
        self.assertEqual(unseen, missing)
        self.assertEqual(unseen[: BAD - 1] + unseen[BAD:], before[: BAD - 1] + before[BAD:])
        self.assertNotEqual(unseen[BAD - 1], before[BAD - 1])
        done = self.call("predict", run(), "--input", "unseen.csv", "--output", "out.csv")
        self.assertEqual(done.returncode, 0)
        self.assertRegex(done.stderr, rf"^out\.csv   {len(self.lines):,} predictions in [^\n]*\n$")  # and no warning
        evaluated = self.run_ok("evaluate", run(), "-o", f"data.test.CSV.path={self.path('unseen.csv')}", "--format", "json")
        self.assertEqual(json.loads(evaluated)["samples"], len(self.lines))

    def test_a_wrong_number_of_columns(self):
        """One error with file, line, found and expected; exit code 4; no output file, in no format and not half of one."""
        cases = {
            "wide": (lambda fields: ["1", *fields], 16),
            "narrow": (lambda fields: fields[:-2], 13),
            "single": (lambda fields: fields[:1], 1),
        }
        for name, (change, count) in cases.items():
            path = self.changed(name + ".csv", BAD, change)
            place = rf"^{re.escape(path)}:{BAD}:1: .*\bfound {count} columns?, expected 15\b.*$"
            for suffix in ("csv", "jsonl", "npy", "h5"):
                with self.subTest(case=name, suffix=suffix):
                    said = self.run_fails(sp.BAD_DATA, "predict", run(), "--input", path, "--output", "out." + suffix)
                    self.assertEqual(len(re.findall(place, said, re.M)), 1, said)
                    self.assertEqual(len([line for line in said.splitlines() if ":1: " in line]), 1, said)
                    self.assertEqual([f for f in os.listdir(self.folder) if f.startswith("out")], [])
            said = self.run_fails(sp.BAD_DATA, "evaluate", run(), "-o", f"data.test.CSV.path={path}")
            self.assertEqual(len(re.findall(place, said, re.M)), 1, said)
            self.assertEqual(said.count("expected 15"), 1, said)

    def test_a_wrong_row_on_standard_input(self):
        lines = list(self.lines)
        lines[BAD - 1] = lines[BAD - 1].rsplit(", ", 2)[0]
        done = self.call("predict", run(), stdin="\n".join(lines) + "\n")
        self.assertEqual(done.returncode, sp.BAD_DATA)
        self.assertRegex(done.stderr, rf":{BAD}:1: found 13 columns, expected 15")
        self.assertLess(len(done.stdout.splitlines()), BAD + 1)  # rows before it may have gone out already, none behind

    def test_text_where_a_number_belongs(self):
        path = self.changed("text.csv", BAD, lambda fields: ["forty", *fields[1:]])
        said = self.run_fails(sp.BAD_DATA, "predict", run(), "--input", path, "--output", "out.csv")
        self.assertRegex(said, rf"text\.csv:{BAD}:1: .*forty")
        self.assertFalse(os.path.exists(self.path("out.csv")))

    def test_an_unknown_label(self):
        path = self.changed("label.csv", BAD, lambda fields: [*fields[:-1], "plenty"])
        said = self.run_fails(sp.BAD_DATA, "evaluate", run(), "-o", f"data.test.CSV.path={path}")
        self.assertRegex(said, rf"label\.csv:{BAD}:\d+: label 'plenty' is not one of the 2 classes of train")
        self.assertIn("label_map", said)
        said = self.run_fails(sp.BAD_DATA, "evaluate", run(), "--data", TEST)  # read as train: no label_map for the full stops
        self.assertEqual(len(re.findall(r"label '<=50K\.' is not", said)), 1, said)
        self.assertEqual(len(re.findall(r"label '>50K\.' is not", said)), 1, said)
        self.assertRegex(said, r"and [0-9,]+ more errors in the data")
        p, _ = self.probabilities("--input", path)  # labels are nothing to predict
        self.assertEqual(len(p), len(self.lines))

    def test_what_is_not_there(self):
        self.assertIn("none.csv", self.run_fails(sp.BAD_DATA, "predict", run(), "--input", "none.csv", "--output", "out.csv"))
        self.assertIn("none", self.run_fails(sp.CHECKPOINT, "predict", "none", "--input", TEST))
        shutil.copytree(run(), self.path("copy"))
        for name in os.listdir(self.path("copy/checkpoints")):
            os.unlink(self.path("copy/checkpoints/" + name))
        self.run_fails(sp.CHECKPOINT, "predict", "copy", "--input", TEST)
        with open(self.path("copy/checkpoints/final.weights.h5"), "wb") as file:
            file.write(b"\x89HDF\r\n\x1a\n" + bytes(500))
        self.run_fails(sp.CHECKPOINT, "predict", "copy", "--input", TEST)

    # ---- evaluate ----

    def test_figures_are_those_of_the_predictions(self):
        """Loss, accuracy, AUC, the confusion matrix and the figures of each class, from predict's output, in Python."""
        given = self.rows("given.csv", self.lines)
        self.run_ok("predict", run(), "--input", given, "--output", "out.npy")
        p = list(sp.read_npy(self.path("out.npy")).values)
        truth = [line.split(", ")[LABEL].rstrip(".") == ">50K" for line in self.lines]
        said = json.loads(self.run_ok("evaluate", run(), "--format", "json"))
        n = len(truth)
        self.assertEqual(said["samples"], n)
        loss = -sum(math.log(max(q if t else 1 - q, 1e-12)) for q, t in zip(p, truth)) / n
        self.assertAlmostEqual(said["loss"], loss, delta=2e-5)
        right = sum((q > 0.5) == t for q, t in zip(p, truth))
        self.assertAlmostEqual(said["accuracy"], right / n, delta=1e-6)
        self.assertAlmostEqual(said["AUC"], self.area(p, truth), delta=2e-5)
        matrix = [[0, 0], [0, 0]]
        for q, t in zip(p, truth):
            matrix[t][q > 0.5] += 1
        self.assertEqual([entry["class"] for entry in said["classes"]], CLASSES)
        for k, entry in enumerate(said["classes"]):
            self.assertEqual(entry["predicted"], matrix[k])
            self.assertEqual(entry["count"], sum(matrix[k]))
            named = matrix[0][k] + matrix[1][k]
            precision, recall = matrix[k][k] / max(named, 1), matrix[k][k] / sum(matrix[k])
            self.assertAlmostEqual(entry["precision"], precision, delta=1e-6)
            self.assertAlmostEqual(entry["recall"], recall, delta=1e-6)
            self.assertAlmostEqual(entry["f1"], 2 * precision * recall / max(precision + recall, 1e-12), delta=1e-6)
        self.check_text(said, matrix)
        self.check_csv(said)

    def area(self, p, truth):
        """Keras' AUC: 200 thresholds, the trapezoid rule on (false positives, true positives) as rates."""
        thresholds = [-1e-7, *(i / 199 for i in range(1, 199)), 1 + 1e-7]
        positive = sum(truth)
        negative = len(truth) - positive
        points = []
        for threshold in thresholds:
            named = [t for q, t in zip(p, truth) if q > threshold]
            points.append(((len(named) - sum(named)) / negative, sum(named) / positive))
        return sum((a[0] - b[0]) * (a[1] + b[1]) / 2 for a, b in zip(points, points[1:]))

    def check_text(self, said, matrix):
        text = self.run_ok("evaluate", run())
        self.assertRegex(text.splitlines()[0], rf"^loss {said['loss']:.4f}   accuracy {said['accuracy']:.4f}   AUC ")
        for k, name in enumerate(CLASSES):
            numbers = [str(c) if c > 0 else r"\." for c in matrix[k]]
            self.assertRegex(text, rf"(?m)^{re.escape(name)} +{numbers[0]} +{numbers[1]}$")
            self.assertRegex(text, rf"(?m)^{re.escape(name)} +{said['classes'][k]['precision']:.4f} +{said['classes'][k]['recall']:.4f}")
        self.assertTrue(all(len(line) <= 80 for line in text.splitlines()), text)

    def check_csv(self, said):
        header, rows = sp.read_csv(self.run_ok("evaluate", run(), "--format", "csv"))
        self.assertEqual(header, ["name", "value"])
        values = {name: float(value) for name, value in rows}
        self.assertAlmostEqual(values["loss"], said["loss"], delta=1e-6)
        self.assertAlmostEqual(values["recall[>50K]"], said["classes"][1]["recall"], delta=1e-5)
        self.assertEqual(values["confusion[<=50K][>50K]"], said["classes"][0]["predicted"][1])

    def test_the_sets_of_the_config(self):
        counts = {name: json.loads(self.run_ok("evaluate", run(), "--data", name, "--format", "json"))["samples"] for name in ("train", "validation", "test")}
        with open(TRAIN, encoding="utf-8") as file:
            rows = len([line for line in file if line.strip()])
        self.assertEqual(counts["train"] + counts["validation"], rows)
        self.assertEqual(counts["test"], len(self.lines))
        self.assertEqual(json.loads(self.run_ok("evaluate", run(), "--data", TRAIN, "--format", "json"))["samples"], rows)

    def test_the_config_of_a_run_is_the_same_model(self):
        """All parameters written out: the same run, and metrics called as before (AUC, not auc)."""
        config = os.path.join(run(), "config.yaml")
        done = self.call("fit", config, "--run", run())
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn("done already", done.stdout + done.stderr)
        self.assertIn(" AUC ", self.run_ok("evaluate", run()).splitlines()[0])
        self.run_ok("check", config, "-o", "fit.callbacks=[{EarlyStopping: {monitor: val_AUC, mode: max}}]")

    def test_a_checkpoint_alone(self):
        """Nothing but the file: rows are read as train's were, and paths that stand inside are not opened."""
        shutil.copy(os.path.join(run(), "checkpoints", "final.weights.h5"), self.path("alone.weights.h5"))
        given = self.rows("given.csv", self.lines[:50])
        from_run, _ = self.probabilities("--input", given)
        header, rows = sp.read_csv(self.run_ok("predict", "alone.weights.h5", "--input", given))
        self.assertEqual([float(row[1]) for row in rows], from_run)
        self.assertIn("--data", self.run_fails(sp.CONFIG, "evaluate", "alone.weights.h5"))
        labelled = self.rows("labelled.csv", [line.rstrip(".") for line in self.lines[:50]])
        said = json.loads(self.run_ok("evaluate", "alone.weights.h5", "--data", labelled, "--format", "json"))
        self.assertEqual(said["samples"], 50)


if __name__ == "__main__":
    sp.main()
