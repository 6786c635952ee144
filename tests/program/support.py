"""More words for tests that look at numbers and plans, on top of dltrain.py: models, plans, instruction sets."""
import json
import os
import re
import subprocess

import dltrain
from dltrain import info, main, metrics  # noqa: F401  (for the tests)

# Settings that would change what the program does stay outside.
ENVIRONMENT = {k: v for k, v in os.environ.items()
               if not k.startswith(("DLTRAIN_", "OPENBLAS_", "OMP_")) or k == "DLTRAIN_DATA"}


class Program(dltrain.TestCase):
    def file(self, name, text):
        path = self.folder / name
        path.write_text(text)
        return str(path)

    def start(self, *words, before=(), timeout=600, **environment):
        """Runs the program to its end: a CompletedProcess with text. before: a command that runs it (strace)."""
        env = dict(ENVIRONMENT, XDG_CACHE_HOME=str(self.folder / "cache"), **environment)
        return subprocess.run([*map(str, before), *dltrain.command(*words)], env=env, stdin=subprocess.DEVNULL, text=True,
                              timeout=timeout, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=self.folder, check=False)

    def good(self, *words, **more):
        """Runs it and expects success: what it wrote to standard output."""
        return self.expect(self.start(*words, **more), dltrain.DONE).stdout

    def fit(self, model, *words, **more):
        """Trains in a new run directory: its path."""
        run = self.folder / ("run-%d" % len(list(self.folder.glob("run-*"))))
        self.good("fit", model, "--run", run, "--verbose", 0, *words, **more)
        return run

    def plan(self, model, *words, **more):
        return json.loads(self.good("plan", model, "--format", "json", *words, **more))

    def instruction_sets(self):
        """The ones that this machine has, best first."""
        sets = ["avx512_bf16", "avx512", "avx2", "plain"]
        best = re.search(r"best here: (\w+)", self.good("doctor"))
        self.assertIsNotNone(best, "doctor does not name the best instruction set")
        return sets[sets.index(best.group(1)):]


def weights(run):
    """Digest of the final weights."""
    return info(run)["weights"]


def program(plan, name="train"):
    """A program of a plan or of a run's plan.json."""
    return next(p for p in plan["programs"] if p["name"] == name)


def shipped(name):
    return dltrain.SOURCE / "configs" / name
