"""A run that is small enough to be made ten thousand times and has everything that a run can have: checkpoints in the midst
and at the end of epochs, validation, EarlyStopping that restores, CSVLogger, ModelCheckpoint with a file of its own, a
learning rate that changes. Everything of a trial lies in one folder: the model file, its data, the run, callbacks' files."""
import multiprocessing
import os
import pathlib
import shutil
import subprocess
import tempfile
import traceback

import sweep

dltrain = sweep.dltrain

MODEL = """\
name: tiny
seed: 11
data:
  train: {CSV: {path: rows.csv, target: y}}
  validation: {split: 0.25}
layers:
- Dense: {units: 4, activation: tanh}
- Dropout: {rate: 0.25}
- Dense: {units: 1}
loss: mse
optimizer: {Adam: {learning_rate: 0.05}}
metrics: [mae]
fit:
  epochs: 3
  batch_size: 8
  keep: 2
  save_every_min: 0.000001 # so after each step
  callbacks:
  - EarlyStopping: {patience: 5, monitor: val_mae, mode: max, restore_best_weights: true}
  - CSVLogger: {filename: log.csv}
  - ModelCheckpoint: {filepath: "kept-{epoch:02d}.weights.h5", monitor: val_mae, mode: max, save_best_only: true, save_weights_only: true}
  - ReduceLROnPlateau: {patience: 1, monitor: val_mae, mode: max}
"""
ROWS = "a,b,c,y\n" + "".join(f"{i % 7 - 3},{i * 5 % 9 - 4},{i * i % 11 - 5},{(i * 3 % 8) / 4}\n" for i in range(21))
WORKERS = 2


def make(folder):
    """The files that a trial begins with."""
    folder.mkdir(parents=True)
    (folder / "model.yaml").write_text(MODEL)
    (folder / "rows.csv").write_text(ROWS)
    return folder


def words(*more):
    return ["fit", "model.yaml", "--run", "run", "--threads", "1", "--verbose", "0", *more]


def fit(folder, *more, program=dltrain.PROGRAM, timeout=60, **environ):
    """Trains, or goes on, in the folder; the result of dltrain.run. One that hangs ends with returncode "hangs"."""
    try:
        return dltrain.run(*words(*more), program=program, cwd=folder, timeout=timeout, environ=environ)
    except subprocess.TimeoutExpired as late:
        return subprocess.CompletedProcess(late.cmd, "hangs", "", str(late.stderr))


def outcome(folder):
    """What must not depend on what happened in between: digests of the final weights, the logs and the callbacks' files, where the links
    point, and names that nobody cleared away."""
    checkpoints = folder / "run" / "checkpoints"
    found = {link.name: os.readlink(link) for link in checkpoints.glob("*.h5") if link.is_symlink()}
    found["left over"] = sorted(path.name for path in [*checkpoints.iterdir(), *(folder / "run").iterdir()] if ".tmp-" in path.name)
    found["left beside"] = sorted(path.name for path in folder.iterdir() if ".tmp-" in path.name)
    for path in [*(folder / "run" / "checkpoints").glob("final*"), *(folder / "run").glob("*.jsonl"),
                 *(folder / "run").glob("*.csv"), *folder.glob("log.csv"), *folder.glob("kept-*")]:
        if path.name != "timing.jsonl":
            found[path.name] = dltrain.digest(path)
    return found


def follow_from_a_refused_save(found, differ):
    """Where one save was refused, and the program said so and went on: that file of a callback is not there, links point to others, and what
    could not be unlinked lies beside it."""
    return all(name in ("last.weights.h5", "best.weights.h5", "left beside") or (name.startswith("kept-") and name not in found) for name in differ)


def differences(found, expected):
    return [name for name in sorted(found.keys() | expected.keys()) if found.get(name) != expected.get(name)]


def steps(folder):
    """The checkpoints of the run by name, links and leftovers aside."""
    return {path.name: path for path in (folder / "run" / "checkpoints").glob("step-*.weights.h5")}


class Slot:
    """A folder whose path never changes, for one trial after another: checkpoints hold the model file's effective config, in
    which paths are absolute, so runs are the same to the byte only where they lie in the same place."""

    def __init__(self, path):
        self.path, self.folder = path, path / "trial"
        shutil.rmtree(path, ignore_errors=True)
        path.mkdir(parents=True)

    def fresh(self):
        """The folder as it is before a run."""
        shutil.rmtree(self.folder, ignore_errors=True)
        return make(self.folder)

    def keep_as(self, name):
        """Puts what is in the folder aside, for again()."""
        shutil.copytree(self.folder, self.path / name, symlinks=True)

    def again(self, name):
        shutil.rmtree(self.folder, ignore_errors=True)
        shutil.copytree(self.path / name, self.folder, symlinks=True)
        return self.folder

    def reference(self):
        """Outcome of a run that nothing disturbs."""
        result = fit(self.fresh())
        if result.returncode != dltrain.DONE:
            raise RuntimeError(f"the undisturbed run fails: {result.stderr}")
        return outcome(self.folder)


class Undisturbed:
    """What a run leaves that nothing disturbs: its outcome, and the digest of every checkpoint that it ever wrote. The slot
    has the run as it is after three of its six steps, which is in the midst of an epoch, as "stopped"."""

    def __init__(self, slot):
        self.slot, self.expected, self.written = slot, slot.reference(), {}
        slot.fresh()
        for step in range(1, 7):
            result = fit(slot.folder, "--stop-after", step)
            if result.returncode != dltrain.SAVED:
                raise RuntimeError(f"the run does not stop: {result.returncode} {result.stderr}")
            self.written.update({name: dltrain.digest(path) for name, path in steps(slot.folder).items()})
            if step == 3:
                slot.keep_as("stopped")
        fit(slot.folder)
        if len(self.written) != 6 or differences(outcome(slot.folder), self.expected):
            raise RuntimeError("a run that is only stopped and resumed differs from one that is not")

    def begin(self, scenario):
        """A folder for a run that "begins" or "resumes"."""
        return self.slot.fresh() if scenario == "begins" else self.slot.again("stopped")

    def damaged(self):
        """Names of checkpoints that are not what the undisturbed run writes."""
        return [name for name, path in steps(self.slot.folder).items() if dltrain.digest(path) != self.written.get(name)]

    def differ(self):
        return differences(outcome(self.slot.folder), self.expected)


def in_slots(s, prepare, trial, items):
    """trial(slot, prepared, item) for each of the items, in WORKERS processes with a slot each; prepare(slot) comes before.
    What they count and lose comes together in the sweep `s`."""
    items = list(items)
    place = pathlib.Path(tempfile.mkdtemp(prefix=f"dltrain-{s.name}-", dir=dltrain.FOLDER))
    fork = multiprocessing.get_context("fork")
    following, replies = fork.Value("l", 0), fork.Queue()

    def worker(number):
        s.counts, s.failures, prepared = {}, [], None
        try:
            slot = Slot(place / f"slot{number}")
            prepared = prepare(slot)
            while True:
                with following.get_lock():
                    index = following.value
                    following.value += 1
                if index >= len(items):
                    break
                if index > 0 and index % 500 == 0:
                    print(f"{s.name}: {index} of {len(items)}", flush=True)
                trial(slot, prepared, items[index])
        except Exception:  # whatever it is, the sweep has not done what it says
            s.lost(traceback.format_exc())
        finally:
            if hasattr(prepared, "close"):
                prepared.close()
        replies.put((s.counts, s.failures))

    processes = [fork.Process(target=worker, args=(number,)) for number in range(min(WORKERS, max(1, len(items))))]
    for process in processes:
        process.start()
    try:
        for _ in processes:
            counts, failures = replies.get()
            for key, value in counts.items():
                s.count(key, value)
            s.failures += failures
        for process in processes:
            process.join()
    finally:
        shutil.rmtree(place, ignore_errors=True)
