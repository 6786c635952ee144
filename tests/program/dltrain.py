"""The program as its users run it: processes, run directories, what they hold. Standard library only.

ctest sets DLTRAIN (the program) and DLTRAIN_BUILD (the build folder); by hand:
    DLTRAIN=build/release/dltrain python3 tests/program/test_signals.py
"""

import hashlib
import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import unittest

SOURCE = pathlib.Path(__file__).resolve().parents[2]
BUILD = pathlib.Path(os.environ.get("DLTRAIN_BUILD", SOURCE / "build" / "release"))
PROGRAM = os.environ.get("DLTRAIN", str(BUILD / "dltrain"))
DATA = os.environ.get("DLTRAIN_DATA")
# Checkpoints are synced, which costs more than training small models: in memory, where there is room, it does not.
FOLDER = "/dev/shm" if os.path.isdir("/dev/shm") and shutil.disk_usage("/dev/shm").free > 1 << 30 else None

# exit codes (cmd/exit_codes.c)
DONE, FAILED, CONFIG, MEMORY, NO_DATA, CHECKPOINT, OUTPUT, SAVED, INTERRUPTED, TERMINATED = 0, 1, 2, 3, 4, 6, 8, 75, 130, 143


def command(*words, program=PROGRAM):
    return [str(program), *(str(w) for w in words)]


def run(*words, program=PROGRAM, timeout=300, environ=None, **more):
    """Runs the program to its end; the result has returncode, stdout, stderr."""
    return subprocess.run(command(*words, program=program), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, text=True, errors="replace", timeout=timeout, check=False,
                          env={**os.environ, **(environ or {})}, **more)


def overrides(**values):
    """-o words; a double underscore in a name stands for a dot: fit__epochs=2."""
    return [w for key, value in values.items() for w in ("-o", f"{key.replace('__', '.')}={value}")]


def final_weights(folder):
    return pathlib.Path(folder) / "checkpoints" / "final.weights.h5"


def digest(path):
    return hashlib.sha256(pathlib.Path(path).read_bytes()).hexdigest()


def outcome(folder):
    """What two runs that are the same have in common, bit for bit: digests by name."""
    folder = pathlib.Path(folder)
    files = [final_weights(folder), folder / "history.csv", folder / "metrics.jsonl"]
    return {f.name: digest(f) for f in files}


def info(folder):
    """run.json of a run directory."""
    return json.loads((pathlib.Path(folder) / "run.json").read_text())


def metrics(folder):
    """metrics.jsonl, one dictionary an epoch."""
    return [json.loads(line) for line in (pathlib.Path(folder) / "metrics.jsonl").read_text().splitlines()]


class TestCase(unittest.TestCase):
    """A test with a folder of its own, self.folder, removed when it is over."""

    def setUp(self):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="dltrain-test-", dir=FOLDER))
        self.addCleanup(shutil.rmtree, self.folder, ignore_errors=True)

    def expect(self, result, code):
        """Asserts the exit code, and shows what the program said if it is another."""
        self.assertEqual(result.returncode, code,
                         f"\n$ {' '.join(result.args)}\n{result.stdout}{result.stderr}")
        return result


def main():
    """Runs the tests of a file; ends with 77, which ctest knows as skipped, if each of them was skipped."""
    result = unittest.main(exit=False, verbosity=2).result
    if not result.wasSuccessful():
        sys.exit(1)
    sys.exit(77 if result.testsRun > 0 and len(result.skipped) == result.testsRun else 0)
