"""What the sweeps of this folder share. A sweep injects a fault at every place (--full) or at a sample of places (the gate)
and looks at what is left behind. Each sweep_NAME.py
  - goes whole with --full or DLTRAIN_SWEEP_FULL=1; samples are one Nth with DLTRAIN_SWEEP_FEWER=N, for slow builds;
  - prints its seed, and runs the same again with --seed N;
  - counts the faults that really happened: one that did not happen is no proof, and a sweep in which none happened fails;
  - ends with one line `NAME: key=value ...`, which also goes to the file that DLTRAIN_SWEEP_RESULTS names (one JSON object
    a line): docs/reliability.md is made of these;
  - ends with 0, with 1 where something was lost, with 77 where it cannot run here (the reason is printed).
Standard library only. DLTRAIN names the program, DLTRAIN_FAULTS the one that can be told to fail.
"""
import argparse
import json
import os
import pathlib
import random
import secrets
import subprocess
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "program"))
import dltrain  # noqa: E402

FAULTS = os.environ.get("DLTRAIN_FAULTS", str(dltrain.BUILD / "tests" / "dltrain_faults"))
SKIPPED = 77


def origin():
    """The commit and the day of a result."""
    commit = subprocess.run(["git", "-C", str(dltrain.SOURCE), "describe", "--always", "--dirty", "--exclude", "*"], text=True,
                            stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=False).stdout.strip()
    return {"commit": commit, "date": time.strftime("%Y-%m-%d", time.gmtime())}


def record(name, **figures):
    """Adds a line to the file that DLTRAIN_SWEEP_RESULTS names, for report.py."""
    results = os.environ.get("DLTRAIN_SWEEP_RESULTS")
    if results:
        with open(results, "a", encoding="utf-8") as file:
            file.write(json.dumps({"sweep": name, **origin(), **figures}) + "\n")


class Sweep:
    """Arguments, seed, counts and the last line of a sweep."""

    def __init__(self, name, description, add_arguments=None):
        parser = argparse.ArgumentParser(description=description)
        parser.add_argument("--full", action="store_true", help="every place instead of a sample")
        parser.add_argument("--seed", type=int, default=secrets.randbits(32), help="of the sample; printed in any case")
        parser.add_argument("--count", type=int, help="places to try, where the sweep draws them")
        if add_arguments:
            add_arguments(parser)
        self.arguments = parser.parse_args()
        self.name, self.seed = name, self.arguments.seed
        self.full = self.arguments.full or os.environ.get("DLTRAIN_SWEEP_FULL") == "1"
        self.fewer = int(os.environ.get("DLTRAIN_SWEEP_FEWER", "1"))
        self.random = random.Random(self.seed)
        self.counts = {}
        self.failures = []
        self.started = time.monotonic()
        print(f"{name}: seed {self.seed}{', full' if self.full else ''}", flush=True)

    def count(self, key, by=1):
        self.counts[key] = self.counts.get(key, 0) + by

    def sample(self, size):
        """Places of a sample that has so many in the gate."""
        return max(1, size // self.fewer)

    def choose(self, places, sample):
        """All of `places`, or, unless --full, a sample of so many, in order."""
        places, sample = list(places), self.sample(sample)
        if self.full or len(places) <= sample:
            return places
        return [places[i] for i in sorted(self.random.sample(range(len(places)), sample))]

    def drawn(self, sample, full):
        """How many places to draw: --count, else one of these two."""
        return self.arguments.count or (full if self.full else self.sample(sample))

    def lost(self, text):
        """Something is not as promised: told at once, and the sweep fails."""
        self.failures.append(text)
        print(f"{self.name}: LOST: {text}", flush=True)

    def skip(self, reason):
        print(f"{self.name}: skipped: {reason}")
        sys.exit(SKIPPED)

    def finish(self, happened):
        """Prints the last line and ends. `happened`: the count of faults that were really injected."""
        if self.counts.get(happened, 0) == 0:
            self.lost("no fault happened: this sweep proves nothing")
        self.counts["lost"] = len(self.failures)
        self.counts["seconds"] = round(time.monotonic() - self.started, 1)
        print(f"{self.name}: " + " ".join(f"{k}={v}" for k, v in self.counts.items()))
        record(self.name, full=self.full, seed=self.seed, **self.counts)
        sys.exit(1 if self.failures else 0)
