"""A run that is stopped, by whom and whenever, goes on to the same bytes; and what stands in its way is named."""

import os
import pathlib
import random
import re
import resource
import shutil
import signal
import subprocess
import tempfile
import time
import unittest

import dltrain

CONFIG = dltrain.SOURCE / "configs" / "digits-cnn.yaml"
SEED = 20240229  # of the random moments
KILLS = 20


LOG = None  # what CSVLogger writes


def setUpModule():
    global LOG
    LOG = pathlib.Path(tempfile.mkdtemp(prefix="dltrain-test-", dir=dltrain.FOLDER)) / "log.csv"


def tearDownModule():
    shutil.rmtree(LOG.parent)


class Fits(dltrain.TestCase):
    """Fits of the digits, short enough for a test and long enough to be hit in the middle."""

    WORDS = dltrain.overrides(fit__epochs=6, fit__steps_per_epoch=12, fit__keep=100)
    ENDS = {12, 23, 35, 46, 58, 69}  # steps at the ends of epochs: a pass has 23, and cuts every second epoch short

    def words(self, run):
        # a callback with a file of its own, and one with state; the file is part of the config, which checkpoints hold,
        # so all runs write the same one
        callbacks = (f"fit.callbacks=[{{CSVLogger: {{filename: '{LOG}'}}}}, "
                     "{EarlyStopping: {restore_best_weights: true, patience: 9}}]")
        return ["fit", CONFIG, "--run", self.folder / run, "--threads", 1, "--verbose", 2, *self.WORDS, "-o", callbacks]

    def fit(self, run, *more):
        return dltrain.run(*self.words(run), *more)

    def start(self, run, **more):
        process = subprocess.Popen(dltrain.command(*self.words(run)), stdin=subprocess.DEVNULL,
                                   stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **more)
        self.addCleanup(process.stdout.close)
        self.addCleanup(process.stderr.close)
        self.addCleanup(process.wait)
        self.addCleanup(process.kill)
        return process

    def wait_for(self, what, process, timeout=60):
        """Waits until what() is true; fails if the process ends first."""
        end = time.monotonic() + timeout
        while not what():
            if process.poll() is not None:
                self.fail(f"fit ended with {process.returncode}: {process.stderr.read()}")
            self.assertLess(time.monotonic(), end, "nothing happened")
            time.sleep(0.002)

    def checkpoints(self, run):
        return sorted((self.folder / run / "checkpoints").glob("step-*.weights.h5"))

    def in_training(self, run, process):
        """Waits until the second epoch is under way."""
        self.wait_for(lambda: self.checkpoints(run), process)

    def outcome(self, run):
        return {**dltrain.outcome(self.folder / run), "callback": dltrain.digest(LOG)}

    @staticmethod
    def whole():
        """The outcome of a run that nothing disturbs; made once."""
        if not hasattr(Fits, "kept"):
            before = LOG.read_bytes() if LOG.exists() else None
            test = Fits()
            test.setUp()
            start = time.monotonic()
            test.expect(test.fit("whole"), dltrain.DONE)
            Fits.seconds = time.monotonic() - start
            Fits.kept = test.outcome("whole")
            test.doCleanups()
            if before is not None:  # of a run that is under way
                LOG.write_bytes(before)
        return Fits.kept

    def finish(self, run):
        """The same command goes on, and all bytes are those of the undisturbed run."""
        result = self.expect(self.fit(run), dltrain.DONE)
        self.assertEqual(self.outcome(run), self.whole())
        self.assertEqual(dltrain.info(self.folder / run)["state"], "done")
        self.assertFalse((self.folder / run / "lock").exists())
        leftovers = [f.name for f in (self.folder / run / "checkpoints").iterdir() if ".tmp-" in f.name]
        self.assertEqual(leftovers, [])
        return result


class Signals(Fits):
    def stopped_by(self, number, code, state):
        whole = self.whole()
        process = self.start("run")
        self.in_training("run", process)
        before = time.monotonic()
        process.send_signal(number)
        _, said = process.communicate(timeout=30)
        self.assertLess(time.monotonic() - before, 10)
        self.assertEqual(process.returncode, code, said)
        self.assertEqual(dltrain.info(self.folder / "run")["state"], state)
        self.assertFalse(dltrain.final_weights(self.folder / "run").exists(), "it was over already: a slower model is needed")
        self.assertFalse((self.folder / "run" / "lock").exists())
        self.assertIn("resuming", self.finish("run").stderr)
        self.assertEqual(self.outcome("run"), whole)

    def test_sigterm_saves_and_the_same_command_goes_on(self):
        self.stopped_by(signal.SIGTERM, dltrain.SAVED, "stopped")

    def test_sigint_saves_and_the_same_command_goes_on(self):
        self.stopped_by(signal.SIGINT, dltrain.INTERRUPTED, "stopped")

    def test_a_signal_before_the_first_step(self):
        """Nothing is saved while the data are read, and the exit code does not say so."""
        (self.folder / "long.csv").write_text("x,y\n" + "1.5,2\n2.5,1\n" * 2_000_000)
        (self.folder / "model.yaml").write_text("name: long\ndata: {train: {CSV: {path: long.csv, target: y}}}\n"
                                                "layers: [{Dense: {units: 1}}]\noptimizer: SGD\nloss: mse\n")
        for number, code in (signal.SIGTERM, dltrain.TERMINATED), (signal.SIGINT, dltrain.INTERRUPTED):
            process = subprocess.Popen(dltrain.command("fit", self.folder / "model.yaml", "--run", self.folder / "run"),
                                       stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)

            def listening(process=process):
                status = pathlib.Path(f"/proc/{process.pid}/status").read_text()
                return int(re.search(r"SigCgt:\s*(\w+)", status)[1], 16) >> (signal.SIGTERM - 1) & 1
            self.wait_for(listening, process)
            process.send_signal(number)
            _, said = process.communicate(timeout=30)
            self.assertEqual(process.returncode, code, said)
            self.assertNotIn("saved", said)
            self.assertFalse((self.folder / "run").exists())

    def test_sigusr1_saves_and_goes_on(self):
        process = self.start("run")
        self.in_training("run", process)

        def saved_inside():  # an epoch's end saves too, and a signal just before it asks for nothing more
            return any(int(re.search(r"\d+", file.name)[0]) not in self.ENDS for file in self.checkpoints("run"))
        while process.poll() is None and not saved_inside():
            process.send_signal(signal.SIGUSR1)
            time.sleep(0.03)
        _, said = process.communicate(timeout=60)
        self.assertEqual(process.returncode, dltrain.DONE, said)
        self.assertEqual({epoch["step"] for epoch in dltrain.metrics(self.folder / "run")}, self.ENDS)
        self.assertTrue(saved_inside(), [f.name for f in self.checkpoints("run")])
        self.assertEqual(self.outcome("run"), self.whole())

    def test_a_run_that_is_done_stays_as_it_is(self):
        self.expect(self.fit("run"), dltrain.DONE)
        before = {f: (f.stat().st_mtime_ns, dltrain.digest(f)) for f in (self.folder / "run").rglob("*") if f.is_file()}
        self.expect(self.fit("run"), dltrain.DONE)
        after = {f: (f.stat().st_mtime_ns, dltrain.digest(f)) for f in (self.folder / "run").rglob("*") if f.is_file()}
        self.assertEqual(after, before)

    def test_a_log_that_is_gone_begins_anew(self):
        """Where CSVLogger's file is shorter than it was, no gap is left in it, and the user is told."""
        self.whole()
        self.expect(self.fit("run", "--stop-after", 30), dltrain.SAVED)
        lines = LOG.read_bytes().splitlines(keepends=True)
        self.assertGreaterEqual(len(lines), 2)
        LOG.unlink()
        said = self.expect(self.fit("run"), dltrain.DONE).stderr
        self.assertIn("is gone, and with it the rows of earlier epochs", said)
        left = LOG.read_bytes()
        self.assertNotIn(b"\0", left)
        self.assertEqual(left.splitlines(keepends=True)[0], lines[0])
        self.assertEqual(len(left.splitlines()), 6 - (len(lines) - 1) + 1)

    def test_sigkill_at_random_moments(self):
        """Each run is killed at a moment drawn from the seed, some of them again while they go on."""
        whole = self.whole()
        draw = random.Random(SEED)
        killed = 0
        for number in range(KILLS):
            run = f"run-{number}"
            with self.subTest(seed=SEED, number=number):
                for _ in range(draw.choice([1, 1, 2, 3])):
                    process = self.start(run)
                    try:
                        process.wait(timeout=draw.uniform(0, Fits.seconds))
                        self.assertEqual(process.returncode, dltrain.DONE)
                    except subprocess.TimeoutExpired:
                        process.kill()
                        process.wait()
                        killed += 1
                self.finish(run)
                self.assertEqual(self.outcome(run), whole)
                shutil.rmtree(self.folder / run)
        self.assertGreaterEqual(killed, KILLS / 4)

    def test_a_damaged_checkpoint_is_passed_over(self):
        """Step 23 is an epoch's end, for the pass over the data is then over: the run that goes on from an older one saves it again."""
        self.expect(self.fit("run", "--stop-after", 23), dltrain.SAVED)
        newest = self.checkpoints("run")[-1]
        self.assertIn("23.weights", newest.name)

        def cut(data):
            return data[:len(data) // 2]

        def change_one_byte(data):
            half = len(data) // 2
            return data[:half] + bytes([data[half] ^ 1]) + data[half + 1:]
        for damage in cut, change_one_byte:
            shutil.copytree(self.folder / "run", self.folder / "damaged", symlinks=True)
            file = self.folder / "damaged" / "checkpoints" / newest.name
            file.write_bytes(damage(newest.read_bytes()))
            said = self.finish("damaged").stderr
            self.assertIn("passed over", said)
            self.assertNotIn("not saved", said)
            self.assertEqual(file.with_name(file.name + ".damaged").read_bytes(), damage(newest.read_bytes()))
            self.assertEqual(dltrain.digest(file), dltrain.digest(newest))
            shutil.rmtree(self.folder / "damaged")


class Company(Fits):
    """Two in one run directory."""

    def test_the_second_is_refused_and_told_who_is_there(self):
        process = self.start("run")
        self.in_training("run", process)
        process.send_signal(signal.SIGSTOP)  # so that it is there for as long as it takes
        try:
            result = self.expect(self.fit("run"), dltrain.CHECKPOINT)
        finally:
            process.send_signal(signal.SIGCONT)
        self.assertIn(f"in use by process {process.pid} on {os.uname().nodename}", result.stderr)
        _, said = process.communicate(timeout=60)
        self.assertEqual(process.returncode, dltrain.DONE, said)
        self.assertEqual(self.outcome("run"), self.whole())

    def test_a_lock_of_the_dead_is_taken_over_with_a_word(self):
        process = self.start("run")
        self.in_training("run", process)
        process.kill()
        process.wait()
        self.assertTrue((self.folder / "run" / "lock").exists())
        result = self.finish("run")
        self.assertIn(f"took over '{self.folder / 'run'}' from process {process.pid}", result.stderr)

    def test_another_model_is_refused(self):
        self.expect(self.fit("run", "--stop-after", 3), dltrain.SAVED)
        before = dltrain.digest(self.checkpoints("run")[-1])
        result = self.expect(self.fit("run", "-o", "seed=77"), dltrain.CHECKPOINT)
        self.assertIn("seed", result.stderr)
        self.assertEqual(dltrain.digest(self.checkpoints("run")[-1]), before)


class Limits(Fits):
    """What the process may not have is named, and ends with 3."""

    def limited(self, what, value, *words):
        return dltrain.run(*words, preexec_fn=lambda: resource.setrlimit(what, (value, value)))

    def test_open_files(self):
        self.expect(self.fit("run", "--stop-after", 1), dltrain.SAVED)
        for words in (["evaluate", self.folder / "run"], self.words("run"), ["predict", self.folder / "run", "--input", "none"]):
            said = self.expect(self.limited(resource.RLIMIT_NOFILE, 10, *words), dltrain.MEMORY).stderr
            self.assertEqual(said, "error: the limit of open files is too low: 10, at least 32 are needed (ulimit -n)\n")
        self.expect(self.limited(resource.RLIMIT_NOFILE, 32, "evaluate", self.folder / "run"), dltrain.DONE)
        self.expect(self.limited(resource.RLIMIT_NOFILE, 32, *self.words("run"), "--stop-after", 3), dltrain.SAVED)
        self.expect(dltrain.run("evaluate", self.folder / "run", preexec_fn=lambda: resource.setrlimit(
            resource.RLIMIT_NOFILE, (10, 64))), dltrain.DONE)  # it may be raised

    def test_address_space(self):
        """Wherever it ends: while libraries are loaded (127), in memory, in a thread, or not at all."""
        if self.limited(resource.RLIMIT_AS, 1 << 30, "schema").returncode != dltrain.DONE:
            self.skipTest("this build needs terabytes of addresses")
        codes = set()
        for mib in range(48, 80, 2):
            result = self.limited(resource.RLIMIT_AS, mib << 20, *self.words("run"), "--stop-after", 1)
            codes.add(result.returncode)
            self.assertIn(result.returncode, (dltrain.MEMORY, dltrain.SAVED, 127), f"{mib} MiB: {result.stderr}")
        self.assertIn(dltrain.MEMORY, codes)


class NoRoom(Fits):
    """Nothing can be written, or only a little."""

    def one_message(self, result, *parts):
        errors = [line for line in result.stderr.splitlines() if line.startswith("error:")]
        self.assertEqual(len(errors), 1, result.stderr)
        for part in parts:
            self.assertIn(part, errors[0])

    def test_a_file_stands_where_a_folder_is_needed(self):
        (self.folder / "run").write_text("mine\n")
        result = self.expect(self.fit("run"), dltrain.CHECKPOINT)
        self.one_message(result, str(self.folder / "run"))
        self.assertEqual((self.folder / "run").read_text(), "mine\n")

    def test_a_file_stands_where_the_checkpoints_go(self):
        (self.folder / "run").mkdir()
        (self.folder / "run" / "checkpoints").write_text("mine\n")
        result = self.expect(self.fit("run"), dltrain.CHECKPOINT)
        self.one_message(result, str(self.folder / "run" / "checkpoints"))
        self.assertEqual((self.folder / "run" / "checkpoints").read_text(), "mine\n")

    @unittest.skipIf(os.geteuid() == 0, "root may write everywhere")
    def test_a_folder_that_may_not_be_written(self):
        locked = self.folder / "locked"
        locked.mkdir(mode=0o555)
        result = self.expect(dltrain.run("fit", CONFIG, "--run", locked / "run", *self.WORDS), dltrain.CHECKPOINT)
        self.one_message(result, str(locked / "run"), "Permission denied")

    def test_a_callbacks_file_on_a_full_device(self):
        LOG.unlink(missing_ok=True)
        LOG.symlink_to("/dev/full")
        self.addCleanup(LOG.unlink, missing_ok=True)
        result = self.expect(self.fit("run"), dltrain.OUTPUT)
        self.one_message(result, str(LOG))
        self.assertFalse(dltrain.final_weights(self.folder / "run").exists())
        LOG.unlink()
        self.finish("run")

    # ---- a small file system ----

    def small_disk(self, kib):
        """Mounts a file system of that size at folder/disk, in a user namespace if that is what it takes."""
        disk = self.folder / "disk"
        disk.mkdir()
        mount = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={kib}k", "tmpfs", str(disk)],
                               stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False)
        if mount.returncode != 0:
            self.skipTest("a file system cannot be mounted here")
        self.addCleanup(subprocess.run, ["umount", str(disk)], check=False)
        return disk

    def fit_on(self, disk):
        return dltrain.run("fit", CONFIG, "--run", disk / "run", "--threads", 1, "--verbose", 2, *self.WORDS)

    def test_a_full_disk_is_told_before_the_first_step(self):
        disk = self.small_disk(300)
        result = self.expect(self.fit_on(disk), dltrain.CHECKPOINT)
        self.one_message(result, "No space left")
        self.assertEqual(list((disk / "run" / "checkpoints").iterdir()), [])

    def test_a_disk_that_fills_up(self):
        """No save fits any more: the older checkpoint stays, is whole, and training goes on; the end is an error."""
        disk = self.small_disk(8 * 1024)
        self.expect(dltrain.run(*self.words_on(disk), "--stop-after", 13), dltrain.SAVED)
        kept = {f.name: dltrain.digest(f) for f in (disk / "run" / "checkpoints").glob("step-*")}
        ballast = disk / "ballast"
        process = subprocess.Popen(dltrain.command(*self.words_on(disk)), stdin=subprocess.DEVNULL,
                                   stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        started = []
        for line in process.stderr:  # once the trial has shown that there is room, there is none any more
            started.append(line)
            if line.startswith("resuming"):
                break
        with open(ballast, "wb", buffering=0) as file:
            try:
                while True:
                    file.write(bytes(4096))
            except OSError:
                pass
        _, said = process.communicate(timeout=60)
        self.assertEqual(process.returncode, dltrain.CHECKPOINT, "".join(started) + said)
        self.assertIn("No space left", said)
        now = {f.name: dltrain.digest(f) for f in (disk / "run" / "checkpoints").glob("step-*")}
        self.assertEqual({**now, **kept}, now, "a checkpoint was lost")
        ballast.unlink()
        self.expect(self.fit_on(disk), dltrain.DONE)
        self.expect(dltrain.run("fit", CONFIG, "--run", self.folder / "whole", "--threads", 1, *self.WORDS), dltrain.DONE)
        self.assertEqual(dltrain.outcome(disk / "run"), dltrain.outcome(self.folder / "whole"))

    def words_on(self, disk):
        return ["fit", CONFIG, "--run", disk / "run", "--threads", 1, "--verbose", 2, *self.WORDS]


if __name__ == "__main__":
    dltrain.main()
