"""A stranger's checkpoint: paths, variables and includes that stand inside it are shown, never opened or expanded; nothing is
written where it says; and what it claims takes no memory before its weights have been compared. strace tells what was opened."""

import os
import pathlib
import re
import shutil
import subprocess
import sys
import unittest

from dltrain import BUILD, CHECKPOINT, CONFIG, DONE, PROGRAM, SOURCE, TestCase, command, main, run

sys.path.insert(0, str(SOURCE / "tests" / "sweeps"))
import tiny_models  # noqa: E402

DAMAGE = BUILD / "tests" / "damage"
SECRET = "s3cret-of-this-user"
# kernels kill what they cannot trace; where tracing is forbidden nothing can be proven
CAN_TRACE = shutil.which("strace") is not None and subprocess.run(
    ["strace", "-qq", "-o", os.devnull, "true"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False).returncode == 0


@unittest.skipIf(not DAMAGE.exists(), "tests/damage is not built")
class Stranger(TestCase):
    def setUp(self):
        super().setUp()
        (self.model, self.rows), *_ = tiny_models.write(self.folder)
        self.bait = self.folder / "bait"
        self.bait.mkdir()
        shutil.copy(self.folder / "table.csv", self.bait / "secret.csv")
        (self.bait / "more.yaml").write_text("seed: 7\n")
        self.trained = self.folder / "run"
        self.expect(run("fit", self.model, "--run", self.trained, "--verbose", "0"), DONE)
        self.honest = (self.trained / "config.yaml").read_text()

    def forge(self, config):
        """The checkpoint of the run with another config, digests and all."""
        (self.folder / "forged.yaml").write_text(config)
        new = self.folder / "stranger.weights.h5"
        new.unlink(missing_ok=True)
        subprocess.run([DAMAGE, "forge", self.trained / "checkpoints" / "last.weights.h5", self.folder / "forged.yaml", new], check=True)
        return new

    def config(self, **more):
        """The run's config with baits in it."""
        b = self.bait
        text = re.sub(r"path: .*", lambda _: f"path: {more.get('path', b / 'secret.csv')}", self.honest)
        text = re.sub(r"(?m)^name: .*", lambda _: f"name: {more.get('name', 'stranger')}", text)
        callbacks = more.get("callbacks", f"[{{CSVLogger: {{filename: {b}/log.csv}}}}, {{ModelCheckpoint: {{filepath: {b}/x.weights.h5}}}}]")
        text = re.sub(r"(?ms)^  callbacks:.*?(?=^  \w|^\w|\Z)", "", text)
        text = text.replace("fit:\n", f"fit:\n  callbacks: {callbacks}\n")
        return text + more.get("end", "")

    def traced(self, *words):
        """Runs the program; what it said, and every path that it or a process it started asked for."""
        trace = self.folder / "trace"
        before = ["strace", "-f", "-qq", "-s", "4096", "-e", "trace=%file", "-o", str(trace)] if CAN_TRACE else []
        result = subprocess.run([*before, *command(*words)], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                text=True, timeout=300, check=False,
                                env={**os.environ, "DLT_SECRET": SECRET,
                                     "ASAN_OPTIONS": "detect_leaks=0"})  # the leak checker traces the process itself
        seen = trace.read_text() if CAN_TRACE else ""
        return result, "\n".join(line for line in seen.splitlines() if "execve(" not in line)

    def untouched(self, *words):
        before = sorted(p.name for p in self.bait.iterdir())
        result, seen = self.traced(*words)
        asked = [line for line in seen.splitlines() if str(self.bait) in line]
        self.assertEqual(asked, [], f"{words} asked for a path that stands in the checkpoint")
        self.assertFalse(SECRET in seen + result.stdout + result.stderr, f"{words} expanded a variable")
        self.assertEqual(sorted(p.name for p in self.bait.iterdir()), before, f"{words} wrote where the checkpoint says")
        return result

    def test_paths_and_callbacks_are_not_followed(self):
        forged = self.forge(self.config())
        self.assertIn(str(self.bait), (self.folder / "forged.yaml").read_text())
        self.expect(self.untouched("evaluate", forged, "--data", self.folder / "table.csv"), DONE)
        self.expect(self.untouched("predict", forged, "--input", self.rows), DONE)
        self.expect(self.untouched("predict", self.model, "--weights", forged, "--input", self.rows), DONE)
        self.expect(self.untouched("fit", self.model, "--weights", forged, "--run", self.folder / "mine", "--verbose", "0"), DONE)
        result = self.untouched("evaluate", forged)
        self.assertNotEqual(result.returncode, DONE)
        self.assertIn("--data", result.stderr)
        self.assertRegex(result.stderr, rf"inside stands data\.\w+: path of CSV: {re.escape(str(self.bait))}")
        for data in ("test", "validation", "train"):
            result = self.untouched("evaluate", forged, "--data", data)
            self.assertNotEqual(result.returncode, DONE, f"--data {data} of a checkpoint alone")
        for words in (("check",), ("plan",), ("summary",), ("time",), ("gradcheck",), ("debug",), ("fit",), ("verify-resume",)):
            result = self.untouched(*words, forged) # these take model files
            self.assertIn(result.returncode, (CONFIG, CHECKPOINT), words)

    def test_a_resumed_run_follows_the_users_file(self):
        forged = self.forge(self.config())
        words = ("fit", self.model, "--resume", forged, "--run", self.folder / "mine", "-o", "fit.epochs=4")
        refused = self.expect(self.untouched(*words), CHECKPOINT)  # for the callback; where the data lie is no matter
        self.assertRegex(refused.stderr, r"fit\.callbacks.*CSVLogger")
        self.assertNotIn("data.train", refused.stderr)
        self.expect(self.untouched(*words, "--allow-change"), DONE)
        self.assertNotIn("log.csv", (self.folder / "mine" / "config.yaml").read_text())
        own = self.trained / "checkpoints" / "last.weights.h5"
        self.expect(run("fit", self.model, "--resume", own, "--run", self.folder / "more", "--verbose", "0", "-o", "fit.epochs=4"), DONE)

    def test_variables_are_shown_as_they_stand(self):
        for bait in ({"path": "'${env:DLT_SECRET}'"}, {"name": "'a-${env:DLT_SECRET:-x}'"}):
            forged = self.forge(self.config(**bait))
            for words in (("evaluate", forged, "--data", self.folder / "table.csv"), ("predict", forged, "--input", self.rows)):
                self.assertIn(self.untouched(*words).returncode, (DONE, CONFIG, CHECKPOINT), words)
        forged = self.forge(self.config(end="vars: {a: '${env:DLT_SECRET}'}\n"))  # nobody asks for it
        self.assertIn(self.untouched("predict", forged, "--input", self.rows).returncode, (DONE, CONFIG, CHECKPOINT))

    def test_an_include_is_refused(self):
        for end in (f"include: {self.bait}/more.yaml\n", "include: bait/more.yaml\n"):
            forged = self.forge(self.config(end=end))
            result = self.untouched("predict", forged, "--input", self.rows)
            self.assertIn(result.returncode, (CONFIG, CHECKPOINT), end)
            self.assertTrue(result.stderr.strip())

    def test_text_cannot_steer_the_terminal(self):
        forged = self.forge(self.config(path="\"/a\\e[2Jb\"", end="x-note: 1\nlayres: [\"\\e]0;title\\a\"]\n"))
        for words in (("evaluate", forged), ("predict", forged, "--input", self.rows)):
            result = self.untouched(*words)
            self.assertNotIn("\033", result.stdout + result.stderr)

    def test_what_it_claims_takes_no_memory(self):
        """A config of a GB beside weights of a few bytes."""
        forged = self.forge(self.config().replace("units: 4", "units: 16000000"))
        self.assertIn("units: 16000000", (self.folder / "forged.yaml").read_text())
        for words in (("predict", forged, "--input", self.rows), ("evaluate", forged, "--data", self.folder / "table.csv")):
            child = subprocess.Popen(command(*words), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
            said = child.stdout.read().decode()
            child.stdout.close()
            _, status, usage = os.wait4(child.pid, 0)
            child.returncode = os.waitstatus_to_exitcode(status)
            self.assertIn(child.returncode, (3, CHECKPOINT), said)
            if b"__asan_init" not in pathlib.Path(PROGRAM).read_bytes():  # sanitizers keep what is freed
                self.assertLess(usage.ru_maxrss, 400 << 10, said)


if __name__ == "__main__":
    if not CAN_TRACE:
        print("strace is missing or may not trace: what is opened is not looked at")
    assert pathlib.Path(DAMAGE).name == "damage"
    main()
