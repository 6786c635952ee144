"""fit --allow-change: a run goes on with another learning rate or other callbacks, and with nothing else."""

import csv
import re
import shutil
import unittest

import dltrain

RATE = "optimizer.{}.learning_rate={}"
SCHEDULE = "{ExponentialDecay: {initial_learning_rate: 0.02, decay_steps: 10, decay_rate: 0.5}}"
FIXED = "{ReduceLROnPlateau: {monitor: loss, patience: 99}}"  # logs the rate


class AllowChange(dltrain.TestCase):
    def setUp(self):
        super().setUp()
        (self.folder / "data").mkdir()
        shutil.copy(dltrain.SOURCE / "configs" / "data" / "digits.csv.gz", self.folder / "data")
        self.model = self.folder / "m.yaml"
        self.write("{Adam: {learning_rate: 1e-3}}")

    def write(self, optimizer, callbacks="[]"):
        self.model.write_text(
            "name: m\nseed: 1\ndata: {train: {CSV: {path: data/digits.csv.gz, header: false, target: -1}}}\n"
            "layers:\n  - Rescaling: {scale: 1/16}\n  - Dense: {units: 16, activation: relu}\n"
            "  - Dense: {units: 10, activation: softmax}\n"
            f"optimizer: {optimizer}\nloss: sparse_categorical_crossentropy\n"
            f"fit: {{epochs: 4, batch_size: 64, steps_per_epoch: 10, callbacks: {callbacks}}}\n")

    def fit(self, *more, changes=(), run="r"):
        words = [w for change in changes for w in ("-o", change)]
        where = ["--run", self.folder / run] if run else []
        return dltrain.run("fit", self.model, *where, "--threads", 1, "--verbose", 2, *words, *more, cwd=self.folder)

    def start(self, steps=15, **more):
        self.expect(self.fit("--stop-after", steps, **more), dltrain.SAVED)

    def change(self, *changes, code=dltrain.DONE, more=(), **where):
        result = self.expect(self.fit("--allow-change", *more, changes=changes, **where), code)
        return result.stdout + result.stderr

    def rates(self):
        return [m.get("learning_rate") for m in dltrain.metrics(self.folder / "r")]

    def test_rate(self):
        for optimizer in ("Adam", "SGD", "Nadam"):
            with self.subTest(optimizer):
                shutil.rmtree(self.folder / "r", ignore_errors=True)
                self.write(f"{{{optimizer}: {{learning_rate: 1e-3}}}}", f"[{FIXED}]")
                self.start()
                before = dltrain.info(self.folder / "r")["digest"]
                rate = RATE.format(optimizer, 0.01)
                refused = self.expect(self.fit(changes=[rate]), dltrain.CHECKPOINT)
                self.assertIn("--allow-change", refused.stderr)
                said = self.change(rate)
                self.assertRegex(said, rf"optimizer\.{optimizer}\.learning_rate +1e-3 -> 0\.01")
                self.assertIn("not bit for bit", said)
                for got, wanted in zip(self.rates(), (1e-3, 0.01, 0.01, 0.01), strict=True):
                    self.assertAlmostEqual(got, wanted, places=7)
                self.assertNotEqual(dltrain.info(self.folder / "r")["digest"], before)
                self.assertRegex((self.folder / "r" / "config.yaml").read_text(), r"learning_rate: 0\.01")
                self.assertNotIn("goes on with", self.change(rate))  # done

    def test_number_and_schedule(self):
        """Arrays of the optimizer move by one: a new rate of the same worth trains to the same weights."""
        constant = "{ExponentialDecay: {initial_learning_rate: 0.01, decay_steps: 10, decay_rate: 1.0}}"
        for optimizer in ("{Adam: {learning_rate: %s, use_ema: true}}", "{SGD: {learning_rate: %s, momentum: 0.9}}",
                          "{Nadam: {learning_rate: %s}}"):
            name = re.match(r"{(\w+)", optimizer)[1]
            for old, new in ((0.01, constant), (constant, 0.01)):
                with self.subTest(optimizer, old=old):
                    for run in ("r", "whole"):
                        shutil.rmtree(self.folder / run, ignore_errors=True)
                    self.write(optimizer % old)
                    self.expect(self.fit(run="whole"), dltrain.DONE)
                    self.start()
                    self.change(RATE.format(name, new))
                    self.assertEqual((self.folder / "r" / "history.csv").read_bytes(),
                                     (self.folder / "whole" / "history.csv").read_bytes())
        self.start(run="s")
        self.change(RATE.format("Nadam", SCHEDULE), run="s")

    def test_killed_before_the_first_save(self):
        """The new config is there and the checkpoint is still the old one: the rate is changed nevertheless."""
        self.write("{Adam: {learning_rate: 1e-3}}", f"[{FIXED}]")
        self.start()
        rate = RATE.format("Adam", 0.01)
        shutil.copytree(self.folder / "r" / "checkpoints", self.folder / "old", symlinks=True)
        self.change(rate, code=dltrain.SAVED, more=("--stop-after", 16))
        shutil.rmtree(self.folder / "r" / "checkpoints")
        (self.folder / "old").rename(self.folder / "r" / "checkpoints")
        self.expect(self.fit(changes=[rate]), dltrain.DONE)
        self.assertAlmostEqual(self.rates()[1], 0.01, places=7)

    def test_callbacks(self):
        self.start()
        said = self.change(f"fit.callbacks=[TerminateOnNaN, {FIXED}, {{CSVLogger: {{filename: {self.folder}/l.csv}}}}]")
        self.assertRegex(said, r"fit\.callbacks\[0\] +\(none\) -> ")
        self.assertEqual([r is None for r in self.rates()], [True, False, False, False])
        rows = list(csv.reader((self.folder / "r" / "history.csv").read_text().splitlines()))
        self.assertEqual([len(r) for r in rows], [len(rows[0])] * 5)  # the file keeps its columns
        self.assertEqual(len((self.folder / "l.csv").read_text().splitlines()), 1 + 3)

    def test_state_is_kept_or_fresh(self):
        """A loss that never gets better by 100: patience counts from the first epoch where state is kept."""
        stopping = "{EarlyStopping: {monitor: %s, min_delta: 100, patience: %d}}"
        for callbacks, epochs in (([stopping % ("loss", 2)], 3), ([f"{stopping % ('loss', 2)}, TerminateOnNaN"], 3),
                                  ([f"TerminateOnNaN, {stopping % ('loss', 1)}"], 3)):
            with self.subTest(callbacks):
                shutil.rmtree(self.folder / "r", ignore_errors=True)
                self.write("{Adam: {learning_rate: 1e-3}}", f"[{stopping % ('loss', 9)}]")
                self.start(steps=15)
                self.change(f"fit.callbacks=[{callbacks[0]}]")
                self.assertEqual(len(self.rates()), epochs)

    def test_a_run_that_a_callback_ended(self):
        self.write("{Adam: {learning_rate: 1e-3}}", "[{EarlyStopping: {monitor: loss, min_delta: 100, patience: 1}}]")
        self.expect(self.fit(), dltrain.DONE)
        self.assertEqual(len(self.rates()), 2)
        self.change("fit.callbacks=[]")
        self.assertEqual(len(self.rates()), 4)
        refused = self.change(RATE.format("Adam", 0.01), "fit.callbacks=[]", code=dltrain.CHECKPOINT)
        self.assertIn("no step is left", refused)

    def test_refused(self):
        self.start()
        before = (self.folder / "r" / "config.yaml").read_bytes()
        for change in ("optimizer.Adam.beta_1=0.8", "layers[1].Dense.units=8", "fit.batch_size=32",
                       "optimizer={SGD: {learning_rate: 0.01}}"):
            with self.subTest(change):
                said = self.change(RATE.format("Adam", 0.01) if "SGD" not in change else "seed=1", change,
                                   code=dltrain.CHECKPOINT)
                self.assertIn("cannot be resumed", said)
        self.change(RATE.format("Adam", 0.01), more=("--exact",), code=dltrain.CHECKPOINT)
        self.assertEqual((self.folder / "r" / "config.yaml").read_bytes(), before)

    def test_search(self):
        """Without --run: the newest run that can be changed, passing over one that cannot."""
        self.start(run=None)
        self.start(run=None, changes=["fit.batch_size=32"])
        runs = self.folder / "runs" / "m"
        self.assertEqual(len(list(runs.iterdir())), 2)
        rate = RATE.format("Adam", 0.01)
        self.assertIn("goes on with what was changed", self.change(rate, run=None))
        self.assertEqual(len(list(runs.iterdir())), 2)
        self.change(rate, run=None)  # done
        self.assertEqual(len(list(runs.iterdir())), 2)
        self.expect(self.fit(run=None, changes=[RATE.format("Adam", 0.5)]), dltrain.DONE)  # not asked for: a new one
        self.assertEqual(len(list(runs.iterdir())), 3)


if __name__ == "__main__":
    dltrain.main()
