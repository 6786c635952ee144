#!/usr/bin/env python3
"""Times of starting, and memory: bench/startup.py [--runs N] [--write] [DLTRAIN]

  help        exec to the end of `dltrain --help`
  check       exec to the end of `dltrain check --no-data` of a model of 100 layers
  first step  exec to the end of the first step of `dltrain fit` of an MLP on 256 made-up images: data made and packed, run directory
              made, programs planned, weights drawn, one step done. It is the time of `dltrain --version` and what timing.jsonl tells
  memory      largest resident memory of `dltrain fit` of an MLP on MNIST (made-up images of that shape and number where
              DLTRAIN_DATA is not set), without the records, which fit prints as a line of its own

Medians, with the fastest beside them; a limit that is not met ends with 1. --write keeps the figures in bench/results."""
import argparse
import datetime
import json
import os
import pathlib
import platform
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

SOURCE = pathlib.Path(__file__).resolve().parents[1]
LIMITS = {"help": 15, "check": 20, "first step": 30, "memory": 30}  # ms, ms, ms, MB
MADE_UP = "Synthetic: {task: images, samples: %d}"
MNIST = "IDX: {features: %s/mnist/train-images-idx3-ubyte.gz, labels: %s/mnist/train-labels-idx1-ubyte.gz}"
MLP = """
name: mlp
data: {train: {%s}}
layers:
  - Rescaling: {scale: 1/255}
  - Flatten
  - Dense: {units: 128, activation: relu}
  - Dense: {units: 10, activation: softmax}
optimizer: Adam
loss: sparse_categorical_crossentropy
metrics: [accuracy]
fit: {epochs: 1, batch_size: 128}
"""


class Bench:
    def __init__(self, program, folder):
        self.program, self.folder = program, folder
        layers = "".join(f"  - Dense: {{units: {64 + i % 3}, activation: relu}}\n" for i in range(100))
        self.hundred = self.file("hundred.yaml", f"name: hundred\nlayers:\n  - Input: {{shape: [64]}}\n{layers}")
        self.small = self.file("small.yaml", MLP % (MADE_UP % 256))
        data = os.environ.get("DLTRAIN_DATA")
        self.mnist = self.file("mnist.yaml", MLP % (MNIST % (data, data) if data else MADE_UP % 60000))
        self.data = "MNIST" if data else "60,000 made-up images"

    def file(self, name, text):
        path = self.folder / name
        path.write_text(text)
        return str(path)

    def whole(self, *words):
        """Milliseconds from exec to exit."""
        start = time.perf_counter()
        done = subprocess.run([self.program, *words], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                              stderr=subprocess.DEVNULL, check=False)
        took = 1e3 * (time.perf_counter() - start)
        if done.returncode != 0:
            sys.exit(f"dltrain {' '.join(words)} ended with {done.returncode}")
        return took

    def first_step(self):
        """Milliseconds from exec to the end of the first step: those of loading the program, and those that fit tells from then on."""
        run = self.folder / "run"
        shutil.rmtree(run, ignore_errors=True)
        subprocess.run([self.program, "fit", self.small, "--run", run, "-o", "fit.steps_per_epoch=1"], stdin=subprocess.DEVNULL,
                       stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=True)
        told = json.loads((run / "timing.jsonl").read_text().splitlines()[0])
        return self.whole("--version") + 1e3 * told["first_step"]

    def memory(self):
        """Megabytes of resident memory at the most, without the records."""
        run = self.folder / "run"
        shutil.rmtree(run, ignore_errors=True)
        said = self.folder / "said"
        with open(said, "w", encoding="utf-8") as out:
            process = subprocess.Popen([self.program, "fit", self.mnist, "--run", run], stdin=subprocess.DEVNULL,
                                       stdout=subprocess.DEVNULL, stderr=out)
            _, status, usage = os.wait4(process.pid, 0)
            process.returncode = status
        records = re.search(r"(?m)^records +([0-9.]+) (B|KiB|MiB|GiB) in memory", said.read_text())
        if status != 0 or records is None:
            sys.exit("fit failed or does not say what its records take:\n" + said.read_text())
        bytes_of = float(records.group(1)) * 1024 ** ["B", "KiB", "MiB", "GiB"].index(records.group(2))
        return (usage.ru_maxrss * 1024 - bytes_of) / 1e6


def processor():
    for line in pathlib.Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return platform.machine()


def commit():
    said = [subprocess.run(["git", *words], cwd=SOURCE, text=True, stdout=subprocess.PIPE, check=False).stdout.strip()
            for words in (("rev-parse", "--short", "HEAD"), ("status", "--porcelain", "--untracked-files=no"))]
    return said[0] + (" with changes" if said[1] else "")


def main():
    words = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    words.add_argument("--runs", type=int, default=50)
    words.add_argument("--write", action="store_true")
    words.add_argument("program", nargs="?", default=str(SOURCE / "build" / "release" / "dltrain"))
    given = words.parse_args()
    with tempfile.TemporaryDirectory(prefix="dltrain-bench-") as folder:
        bench = Bench(os.path.abspath(given.program), pathlib.Path(folder))
        figures = {"help": [], "check": [], "first step": [], "memory": []}
        bench.first_step()  # warm: what is on disk is in memory
        for i in range(given.runs):  # in turn, so that a busy minute meets all of them
            figures["help"].append(bench.whole("--help"))
            figures["check"].append(bench.whole("check", "--no-data", bench.hundred))
            figures["first step"].append(bench.first_step())
            if i < 5:
                figures["memory"].append(bench.memory())
    what = {"help": "ms    dltrain --help", "check": "ms    dltrain check --no-data, 100 layers",
            "first step": "ms    exec to the end of the first step of an MLP",
            "memory": f"MB    resident at most beside the records, MLP on {bench.data}"}
    lines = [f"date     {datetime.date.today()}", f"commit   {commit()}", f"cpu      {processor()}, {os.cpu_count()} processors",
             f"system   {platform.system()} {platform.release()}, load {os.getloadavg()[0]:.1f}",
             f"command  bench/startup.py --runs {given.runs}", "", "  median  fastest   limit"]
    met = True
    for name, values in figures.items():
        median = statistics.median(values)
        met = met and median <= LIMITS[name]
        lines.append(f"{median:8.2f} {min(values):8.2f} {LIMITS[name]:7d}  {what[name]}{'' if median <= LIMITS[name] else '   NOT MET'}")
    text = "\n".join(lines) + "\n"
    print(text, end="")
    if given.write:
        results = SOURCE / "bench" / "results"
        results.mkdir(exist_ok=True)
        (results / f"startup-{datetime.date.today()}.txt").write_text(text)
    sys.exit(0 if met else 1)


if __name__ == "__main__":
    main()
