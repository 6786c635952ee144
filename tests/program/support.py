"""Runs the real program for the tests of this folder: python3 test_NAME.py DLTRAIN [unittest arguments].

Standard library only. A test case gets a scratch folder of its own in self.folder."""
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import unittest

SOURCE = pathlib.Path(__file__).resolve().parents[2]
DLTRAIN = None  # set by main
# Settings that would change what the program does stay outside.
ENVIRONMENT = {k: v for k, v in os.environ.items() 
               if not k.startswith(("DLTRAIN_", "OPENBLAS_", "OMP_")) or k == "DLTRAIN_DATA"}


def main():
    """Takes the program's path from the command line and runs the tests of the file."""
    global DLTRAIN
    if len(sys.argv) < 2 or not os.access(sys.argv[1], os.X_OK):
        sys.exit("usage: " + sys.argv[0] + " DLTRAIN [unittest arguments]")
    DLTRAIN = os.path.abspath(sys.argv.pop(1))
    unittest.main()


class Program(unittest.TestCase):
    maxDiff = None

    def setUp(self):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="dltrain-test-"))
        self.addCleanup(shutil.rmtree, self.folder, ignore_errors=True)

    def file(self, name, text):
        path = self.folder / name
        path.write_text(text)
        return str(path)

    def start(self, *words, environment=None, stdin=None, before=(), timeout=600):
        """Runs the program to its end: a CompletedProcess with text. before: a command that runs it (strace)."""
        env = dict(ENVIRONMENT, XDG_CACHE_HOME=str(self.folder / "cache"), **(environment or {}))
        return subprocess.run([*before, DLTRAIN, *map(str, words)], env=env, input=stdin, text=True, timeout=timeout,
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=self.folder, check=False)

    def good(self, *words, **more):
        """Runs it and expects success: what it wrote to standard output."""
        done = self.start(*words, **more)
        self.assertEqual(done.returncode, 0, "dltrain " + " ".join(map(str, words)) + "\n" + done.stdout + done.stderr)
        return done.stdout

    def fit(self, model, *words, **more):
        """Trains in a new run directory: its path."""
        run = self.folder / ("run-%d" % len(list(self.folder.glob("run-*"))))
        self.good("fit", model, "--run", run, "--verbose", 0, *words, **more)
        return run

    def plan(self, model, *words, **more):
        return json.loads(self.good("plan", model, "--format", "json", *words, **more))

    def instruction_sets(self):
        """The ones that this machine has, best first."""
        sets = ["avx512", "avx2", "plain"]
        best = re.search(r"best here: (\w+)", self.good("doctor"))
        self.assertIsNotNone(best, "doctor does not name the best instruction set")
        return sets[sets.index(best.group(1)):]


def info(run):
    """run.json of a run directory."""
    return json.loads((run / "run.json").read_text())


def weights(run):
    """Digest of the final weights."""
    return info(run)["weights"]


def metrics(run):
    """One dictionary for each epoch."""
    return [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]


def shipped(name):
    return SOURCE / "configs" / name
