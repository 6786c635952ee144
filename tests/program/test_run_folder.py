"""What a run directory goes through that was not planned: --force while somebody works there, a lost run.json, a move to another
place, a checkpoint of another config."""

import json
import os
import shutil
import signal
import subprocess
import time

import dltrain

MODEL = """\
name: m
seed: 5
data: {train: {CSV: {path: rows.csv, target: y}}}
layers: [Dense: {units: 4, activation: tanh}, Dense: {units: 1}]
loss: mse
optimizer: {Adam: {learning_rate: 0.05}}
fit: {epochs: 4, batch_size: 8, callbacks: [CSVLogger: {filename: log.csv}]}
"""


class RunFolder(dltrain.TestCase):
    def setUp(self):
        super().setUp()
        (self.folder / "m.yaml").write_text(MODEL)
        (self.folder / "rows.csv").write_text("a,b,y\n" + "".join(f"{i % 7},{i * 3 % 11},{i * i % 5}\n" for i in range(40)))
        self.run_folder = self.folder / "r"

    def fit(self, code, *words, run="r", folder=None):
        return self.expect(dltrain.run("fit", "m.yaml", "--run", run, "--threads", 1, *words, cwd=folder or self.folder), code)

    def files(self):
        return {p.name: dltrain.digest(p) for p in self.run_folder.rglob("*") if p.is_file()}

    def test_a_run_at_work_is_not_moved_by_force(self):
        words = dltrain.command("fit", "m.yaml", "--run", "r", "--verbose", "0", "-o", "fit.epochs=1000000")
        with subprocess.Popen(words, cwd=self.folder, stderr=subprocess.PIPE, text=True) as child:
            while not (self.run_folder / "history.csv").exists():
                time.sleep(0.01)
            for _ in range(5):
                refused = self.fit(dltrain.CHECKPOINT, "--force")
                self.assertIn(f"in use by process {child.pid}", refused.stderr)
            self.assertEqual(sorted(os.listdir(self.folder)), ["log.csv", "m.yaml", "r", "rows.csv"])
            child.send_signal(signal.SIGTERM)
            self.assertEqual((child.wait(60), child.stderr.read()), (dltrain.SAVED, ""))
        self.assertFalse((self.run_folder / "lock").exists())

    def test_force_keeps_the_old_run_beside_it(self):
        self.fit(dltrain.DONE)
        before = self.files()
        self.fit(dltrain.DONE, "--force")
        kept, = self.folder.glob("r.old-*")
        self.run_folder = kept
        self.assertEqual(self.files(), before)

    def test_checkpoints_without_run_json_are_left_alone(self):
        self.fit(dltrain.SAVED, "--stop-after", 7)
        (self.run_folder / "run.json").unlink()
        before = self.files()
        for words in ((), ("--force",)):
            refused = self.fit(dltrain.CHECKPOINT, *words)
            self.assertIn("holds checkpoints but no run.json", refused.stderr)
            self.assertEqual(self.files(), before)
        self.fit(dltrain.DONE, "--resume", self.run_folder / "checkpoints" / "last.weights.h5", run="other")

    def test_a_folder_that_was_moved_goes_on(self):
        self.fit(dltrain.DONE, run="straight")
        self.fit(dltrain.SAVED, "--stop-after", 7)
        moved = self.folder / "elsewhere"
        moved.mkdir()
        for name in ("m.yaml", "rows.csv", "r"):
            shutil.move(self.folder / name, moved / name)
        self.assertIn("continues bit for bit", self.fit(dltrain.DONE, "--exact", folder=moved).stderr)
        weights = [dltrain.info(f)["weights"] for f in (moved / "r", self.folder / "straight")]
        self.assertEqual(*weights)
        self.assertIn("done", (lambda again: again.stdout + again.stderr)(self.fit(dltrain.DONE, folder=moved)))
        (moved / "rows.csv").write_text((moved / "rows.csv").read_text() + "1,2,3\n")  # other data are not
        self.fit(dltrain.NO_DATA, "-o", "fit.epochs=5", folder=moved)

    def test_a_digit_between_the_samples_of_a_file_is_noticed(self):
        rows = self.folder / "rows.csv"
        rows.write_text("a,b,y\n" + "".join(f"{i % 997},{i * 3 % 1009},{i * i % 5}\n" for i in range(30000)))
        self.assertGreater(rows.stat().st_size, 200 << 10)
        whole = rows.read_text()
        small = ("-o", "data.memory=1048576", "-o", f"data.cache={self.folder / 'cache'}")  # records go to a cache file
        known = set()
        for run, words in (("memory", ()), ("made", small), ("found", small)):
            self.fit(dltrain.DONE, "-o", "fit.steps_per_epoch=5", *words, run=run)
            known.add(dltrain.info(self.folder / run)["data_digest"])
        self.assertEqual(len(known), 1)  # wherever the records are
        self.fit(dltrain.SAVED, "--stop-after", 7)
        place = next(i for i in range(34200, 36000) if whole[i].isdigit() and whole[i - 1] == ",")
        rows.write_text(f"{whole[:place]}{(int(whole[place]) + 1) % 10}{whole[place + 1:]}")
        self.assertIn("the data are not those", self.fit(dltrain.NO_DATA).stderr)
        again = self.expect(dltrain.run("reproduce", self.folder / "memory", cwd=self.folder), dltrain.NO_DATA)
        self.assertIn("a file was changed since", again.stderr)
        rows.write_text(whole)
        self.fit(dltrain.DONE, "--exact")

    def test_a_checkpoint_goes_on_with_its_own_config_only(self):
        self.fit(dltrain.SAVED, "--stop-after", 7)
        checkpoint = self.run_folder / "checkpoints" / "last.weights.h5"
        for change in ("layers[0].activation=relu", "loss=mae", "seed=6", "fit.batch_size=4", "optimizer.Adam.beta_1=0.8"):
            refused = self.fit(dltrain.CHECKPOINT, "--resume", checkpoint, "-o", change, "--allow-change", run="other")
            self.assertIn("was trained with another config", refused.stderr)
            self.assertIn(change.split("=")[0].split(".")[-1], refused.stderr)
            self.assertFalse((self.folder / "other").exists())
        rate = ("--resume", checkpoint, "-o", "optimizer.Adam.learning_rate=0.5")
        self.assertIn("--allow-change", self.fit(dltrain.CHECKPOINT, *rate, run="other").stderr)
        self.fit(dltrain.CHECKPOINT, *rate, "--allow-change", "--exact", run="other")
        self.assertIn("not bit for bit", self.fit(dltrain.DONE, *rate, "--allow-change", run="other").stderr)
        self.fit(dltrain.DONE, "--resume", checkpoint, run="own")
        self.fit(dltrain.DONE)
        losses = [dltrain.metrics(self.folder / run)[-1]["loss"] for run in ("other", "own", "r")]
        self.assertEqual(losses[1], losses[2])
        self.assertNotEqual(losses[0], losses[2])

    def test_weights_and_checkpoints_to_begin_with_are_not_passed_over(self):
        """A run that began otherwise does not go on as if nothing had been asked for; the same command given again goes on."""
        self.fit(dltrain.DONE, run="base")
        self.fit(dltrain.SAVED, "--stop-after", 7)
        step = self.run_folder / "checkpoints" / "last.weights.h5"
        before = self.files()
        for words in (("--weights", "base"), ("--weights", step), ("--resume", self.folder / "base" / "checkpoints" / "last.weights.h5")):
            self.assertIn("did not begin with", self.fit(dltrain.CHECKPOINT, *words).stderr)
            self.assertEqual(self.files(), before)
        self.fit(dltrain.SAVED, "--weights", "base", "--stop-after", 7, run="tuned")
        self.fit(dltrain.SAVED, "--weights", "base", "--stop-after", 3, run="tuned")
        (self.folder / "base").rename(self.folder / "elsewhere")
        self.fit(dltrain.DONE, "--weights", "base", run="tuned")  # what it began with is not needed any more
        self.assertEqual(dltrain.info(self.folder / "tuned")["epochs_done"], 4)

    def test_weights_make_a_new_run_where_none_began_with_them(self):
        runs = self.folder / "runs" / "m"
        words = ("fit", "m.yaml", "--verbose", 0)
        self.fit(dltrain.DONE, run="base")
        self.expect(dltrain.run(*words, cwd=self.folder), dltrain.DONE)
        said = self.expect(dltrain.run(*words[:2], "--weights", "base", cwd=self.folder), dltrain.DONE).stderr
        self.assertIn("did not begin with 'base'", said)
        missing = self.expect(dltrain.run(*words[:2], "--weights", "bsae", cwd=self.folder), dltrain.NO_DATA)
        self.assertRegex(missing.stderr, r"(?m)^error: cannot open 'bsae': No such file or directory$")
        self.assertEqual(len(list(runs.iterdir())), 2)
        said = self.expect(dltrain.run(*words[:2], "--weights", "base", cwd=self.folder), dltrain.DONE).stderr
        self.assertIn("done already", said)
        self.assertEqual(len(list(runs.iterdir())), 2)

    def test_fit_does_not_end_with_an_epoch_that_is_behind_it(self):
        self.fit(dltrain.SAVED, "--stop-after", 7)
        before = self.files()
        self.assertIn("epoch 2 is under way (step 7), so fit cannot end with epoch 1", self.fit(dltrain.CHECKPOINT, "-o", "fit.epochs=1").stderr)
        self.assertEqual(self.files(), before)
        self.fit(dltrain.DONE, "-o", "fit.epochs=2")

    def test_a_checkpoint_under_a_name_that_is_not_its_own_is_not_gone_on_from(self):
        self.fit(dltrain.SAVED, "--stop-after", 12)
        own = self.run_folder / "checkpoints" / "step-000000000012.weights.h5"
        wrong = own.with_name("step-900000000012.weights.h5")
        shutil.copy(own, wrong)
        result = self.fit(dltrain.CHECKPOINT)
        self.assertIn("a checkpoint under the name of step 900000000012 that was saved at step 12", result.stderr)
        wrong.unlink()
        self.fit(dltrain.DONE)

    def test_last_names_the_checkpoint_that_was_resumed(self):
        """The process died after the last file had its name, before the link was moved and the run was called done."""
        self.fit(dltrain.DONE)
        checkpoints = self.run_folder / "checkpoints"
        last = checkpoints / "last.weights.h5"
        newest, older = os.readlink(last), min(p.name for p in checkpoints.glob("step-*"))
        self.assertNotEqual(newest, older)
        last.unlink()
        last.symlink_to(older)
        info = dltrain.info(self.run_folder)
        (self.run_folder / "run.json").write_text(json.dumps({**info, "state": "running", "weights": None}))
        (self.run_folder / "run.json.tmp-12").write_text("half of a file")
        self.fit(dltrain.DONE)
        self.assertEqual(os.readlink(last), newest)
        self.assertEqual(dltrain.info(self.run_folder)["weights"], info["weights"])
        self.assertEqual(list(self.run_folder.glob("*.tmp-*")), [])


if __name__ == "__main__":
    dltrain.main()
