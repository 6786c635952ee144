"""`dltrain reproduce RUN` trains a finished run again and tells whether everything is equal, and if not, why."""

import json
import os
import re
import shutil
import signal
import subprocess
import time

import dltrain

ROWS = "".join(f"{i % 7},{i % 5 - 2},{(i * i) % 3}\n" for i in range(60))

MODEL = """
seed: 7
data: {train: {CSV: {path: train.csv, target: c}}, validation: {split: 0.2}}
layers: [{Dense: {units: 8, activation: relu}}, {Dropout: {rate: 0.2}}, {Dense: {units: 3, activation: softmax}}]
optimizer: {Adam: {learning_rate: 0.01}}
loss: sparse_categorical_crossentropy
metrics: [accuracy]
fit:
  epochs: 3
  batch_size: 8
  callbacks:
    - {EarlyStopping: {patience: 5, restore_best_weights: true}}
    - {CSVLogger: {filename: "it's a log.csv"}}
    - {ModelCheckpoint: {filepath: "kept.weights.h5", save_best_only: true}}
"""


class Reproduce(dltrain.TestCase):
    def setUp(self):
        super().setUp()
        self.data = self.folder / "train.csv"
        self.data.write_text("a,b,c\n" + ROWS)
        self.model = self.folder / "model.yaml"
        self.model.write_text(MODEL)
        self.path = self.folder / "run"

    def fit(self, *words, path=None):
        self.expect(dltrain.run("fit", self.model, "--run", path or self.path, "--verbose", 0, *words), dltrain.DONE)

    def reproduce(self, code, *words, path=None, **environ):
        return self.expect(dltrain.run("reproduce", path or self.path, *words,
                                       environ={"TMPDIR": str(self.folder), **environ}), code)

    def left(self):
        return list(self.folder.glob("dltrain-reproduce-*"))

    def change_info(self, **members):
        info = {**dltrain.info(self.path), **members}
        (self.path / "run.json").write_text(json.dumps(info))

    def test_equal(self):
        self.fit()
        before = {p: p.read_bytes() for p in self.folder.rglob("*") if p.is_file()}
        said = self.reproduce(dltrain.DONE, "--threads", 1).stdout
        self.assertRegex(said, r"(?m)^epoch 3/3 equal .*$")
        self.assertRegex(said, r"(?m)^reproduced: weights %s\.\.\. equal" % dltrain.info(self.path)["weights"][:16])
        # nothing of the user's was touched, and nothing was left behind
        self.assertEqual(before, {p: p.read_bytes() for p in self.folder.rglob("*") if p.is_file()})
        self.assertEqual(self.left(), [])

    def test_dry_run(self):
        self.fit()
        self.assertIn("it can be reproduced", self.reproduce(dltrain.DONE, "--dry-run").stdout)

    def test_a_run_that_was_stopped_and_resumed(self):
        self.expect(dltrain.run("fit", self.model, "--run", self.path, "--stop-after", 5), dltrain.SAVED)
        said = self.reproduce(dltrain.CHECKPOINT).stderr
        self.assertRegex(said, r"has not come to its end \(it is \"stopped\", 0 of 3 epochs\).*go on with it first")
        self.fit()
        self.reproduce(dltrain.DONE)

    def test_data_files_that_changed(self):
        self.fit()
        self.data.write_text("a,b,c\n" + ROWS + "1,1,1\n")
        said = self.reproduce(dltrain.NO_DATA).stderr
        self.assertIn(f"'{self.data}' is not the file that '{self.path}' was trained on: it has", said)
        self.data.write_text("a,b,c\n" + ROWS.replace("6", "5", 1))
        self.assertIn("other contents of the same size", self.reproduce(dltrain.NO_DATA).stderr)
        self.data.unlink()
        self.assertIn(f"cannot open '{self.data}'", self.reproduce(dltrain.NO_DATA).stderr)

    def test_folders_of_images(self):
        images = self.folder / "images"
        shutil.copytree(dltrain.SOURCE / "tests" / "data" / "images" / "classes", images)
        self.model.write_text(MODEL.replace("CSV: {path: train.csv, target: c}", "ImageFolder: {path: images, image_size: [6, 6]}")
                              .replace("split: 0.2", "split: {fraction: 0.2, shuffle: true}").replace("layers: [", "layers: [Flatten, ")
                              .replace("units: 3", "units: 5"))
        self.fit()
        folders = [f["path"] for f in dltrain.info(self.path)["data"]]
        self.assertEqual(folders, [str(images), *(str(images / f) for f in ("ape", "bee", "bee/inside", "cow", "dog", "elk"))])
        self.reproduce(dltrain.DONE)
        (images / "cow" / "more.png").write_bytes(b"")
        self.assertIn(f"'{images}/cow' is not the folder that '{self.path}' was trained on: other names or sizes of files",
                      self.reproduce(dltrain.NO_DATA).stderr)
        (images / "cow" / "more.png").unlink()
        (images / "yak").mkdir()
        self.assertIn(f"'{images}' is not the folder that", self.reproduce(dltrain.NO_DATA).stderr)

    def test_another_version(self):
        self.fit()
        self.change_info(device="dltrain 0.0.9; cpu avx512, OpenBLAS 0.1 Prescott, libc 2.2")
        said = self.reproduce(dltrain.DONE)  # it is the same program after all
        self.assertRegex(said.stderr, r'warning: it may come out differently: the run was trained on "dltrain 0\.0\.9;.*this is "dltrain')
        self.change_info(weights="0" * 64)
        said = self.reproduce(dltrain.FAILED)
        self.assertRegex(said.stdout, r"(?m)^DIFFERS: weights 0000000000000000\.\.\. then, ")
        self.assertRegex(said.stderr, r"was not reproduced: the weights differ\. Why: the run was trained on \"dltrain 0\.0\.9")

    def test_another_instruction_set(self):
        self.fit()
        here = dltrain.info(self.path)["device"]
        if "plain" in here:
            self.skipTest("this machine has no other instruction set")
        said = dltrain.run("reproduce", self.path, environ={"TMPDIR": str(self.folder), "DLTRAIN_ISA": "plain"})
        plain = re.sub(r"avx\w+", "plain", here)
        self.assertIn(f'the run was trained on "{here}", this is "{plain}"', said.stderr)

    def test_a_run_that_did_not_go_on_bit_for_bit(self):
        self.expect(dltrain.run("fit", self.model, "--run", self.path, "--stop-after", 9, "--isa", "plain"), dltrain.SAVED)
        self.fit()
        if "plain" in dltrain.info(self.path)["device"]:
            self.skipTest("this machine has no other instruction set")
        self.assertRegex(dltrain.info(self.path)["inexact"], r"^in epoch \d, after step 9: saved on .*plain")
        self.assertIn("the run did not go on bit for bit when it was resumed (in epoch", self.reproduce(dltrain.FAILED).stderr)

    def test_numbers_that_differ_end_it_at_once(self):
        """The first epoch whose line is another ends the second run, which is kept; with --whole it goes on and names the weight."""
        self.fit()
        lines = (self.path / "metrics.jsonl").read_text().splitlines()
        lines[1] = lines[1].replace('"loss": ', '"loss": 1')
        (self.path / "metrics.jsonl").write_text("\n".join(lines) + "\n")
        said = self.reproduce(dltrain.FAILED)
        self.assertIn("epoch 2 differs\n  then  " + lines[1] + "\n  now   {", said.stdout)
        self.assertRegex(said.stderr, r"epoch 2 differs \(above\)\. Config, data, version and device are the same: this must not be")
        self.assertEqual(len(self.left()), 1)
        self.assertRegex(said.stderr, r"kept: " + re.escape(str(self.left()[0])))
        said = self.reproduce(dltrain.FAILED, "--whole")
        self.assertRegex(said.stdout, r"metrics.jsonl: differs from line 2 on")

    def test_a_weight_that_differs_is_named_with_its_line(self):
        self.fit()
        other = self.folder / "other"
        self.fit("-o", "seed=8", path=other)
        # the final weights of another seed in the place of this run's
        os.replace(dltrain.final_weights(other), dltrain.final_weights(self.path))
        self.change_info(weights=dltrain.info(other)["weights"])
        (self.path / "metrics.jsonl").write_bytes((other / "metrics.jsonl").read_bytes())
        said = self.reproduce(dltrain.FAILED, "--whole")
        self.assertRegex(said.stdout, r"(?m)^  /layers/dense/vars/0 \(dense/kernel, \S*config\.yaml:\d+:\d+\): 16 of 16 elements differ")

    def test_a_config_that_was_changed_afterwards(self):
        self.fit()
        config = self.path / "config.yaml"
        config.write_text(config.read_text().replace("rate: 0.2", "rate: 0.3"))
        self.assertIn("it was changed afterwards", self.reproduce(dltrain.CHECKPOINT).stderr)

    def test_a_run_that_was_changed_under_way(self):
        self.expect(dltrain.run("fit", self.model, "--run", self.path, "--stop-after", 9), dltrain.SAVED)
        self.fit("--allow-change", "-o", "optimizer.learning_rate=0.005")
        self.assertIn("was changed under way (fit --allow-change)", self.reproduce(dltrain.CHECKPOINT).stderr)

    def test_a_run_that_began_with_weights(self):
        first = self.folder / "first"
        self.fit("-o", "seed=3", path=first)
        self.fit("--weights", first)
        self.assertEqual(dltrain.info(self.path)["began_with"], "weights")
        self.reproduce(dltrain.DONE)
        weights = dltrain.final_weights(first)
        weights.write_bytes(weights.read_bytes() + b"x")
        self.assertIn(f"'{weights}' is not the file", self.reproduce(dltrain.NO_DATA).stderr)

    def test_a_run_that_went_on_from_a_checkpoint(self):
        first = self.folder / "first"
        self.expect(dltrain.run("fit", self.model, "--run", first, "--stop-after", 8), dltrain.SAVED)
        checkpoint = max((first / "checkpoints").glob("step-*.weights.h5"))
        self.fit("--resume", checkpoint)
        self.assertEqual(dltrain.info(self.path)["began_with"], "checkpoint")
        self.reproduce(dltrain.DONE)
        # the same command again finds it done
        done = dltrain.outcome(self.path)
        self.fit("--resume", checkpoint)
        self.assertEqual(done, dltrain.outcome(self.path))

    def test_stopped_and_gone_on_with(self):
        self.fit("-o", "fit.epochs=400", "-o", "fit.callbacks=[]")
        again = self.folder / "again"
        words = dltrain.command("reproduce", self.path, "--run", again)
        with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as child:
            while child.poll() is None and not list(again.glob("checkpoints/step-*")):
                time.sleep(0.01)
            child.send_signal(signal.SIGTERM)
            child.communicate(timeout=60)
        self.assertEqual(child.returncode, dltrain.SAVED)
        self.assertNotEqual(dltrain.info(again)["state"], "done")
        self.assertRegex(self.reproduce(dltrain.DONE, "--run", again).stdout, "(?m)^reproduced: ")

    def test_what_is_no_run(self):
        self.assertEqual(dltrain.run("reproduce", self.folder).returncode, dltrain.CHECKPOINT)


if __name__ == "__main__":
    dltrain.main()
