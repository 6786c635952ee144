#!/usr/bin/env python3
"""What a step costs while something else takes a processor: bench/busy.py DATA [--dltrain build/release/dltrain] [--models mlp-small,mlp,...]

DATA is the folder with the suite's data (bench/suite/suite.py run --work DATA makes them). A hog bound to processor 0 computes all the time, or in
turns of 5 ms computes and sleeps; dltrain has as many threads as there are processors, which the kernel places. Quiet, half and full are measured in
turn, several times; medians of the steps' means, as ratios to quiet. Standard library only."""
import argparse
import json
import os
import pathlib
import statistics
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[1]
MODELS = "mlp-small,mlp,lenet5,mnist-cnn,lstm,autoencoder"
HOGS = {
    "quiet": None,
    "half": "import time\nwhile True:\n    end = time.monotonic() + 0.005\n    while time.monotonic() < end: pass\n    time.sleep(0.005)",
    "full": "while True: pass",
}
LIMITS = {"half": 1.4, "full": 2.0}


def mean_step(dltrain, model, data):
    """Seconds from batch to batch, over about a second."""
    words = [str(dltrain), "time", "-w", "-f", "json", str(ROOT / "bench/suite/models" / f"{model}.yaml"), "-n"]
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("OPENBLAS_", "OMP_", "MKL_"))} | {"SUITE_DATA": str(data)}

    def run(steps):
        done = subprocess.run(words + [str(steps)], env=environment, capture_output=True, text=True, check=True)
        return json.loads(done.stdout)["mean"]

    return run(max(5, int(1 / max(run(5), 1e-5))))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=pathlib.Path)
    parser.add_argument("--dltrain", type=pathlib.Path, default=ROOT / "build/release/dltrain")
    parser.add_argument("--models", default=MODELS)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    worst = {"half": 0, "full": 0}
    print(f"{'model':12} {'quiet':>10} {'half':>6} {'full':>6}")
    for model in options.models.split(","):
        times = {name: [] for name in HOGS}
        for _ in range(options.rounds):
            for name, program in HOGS.items():
                hog = program and subprocess.Popen([sys.executable, "-c", program], preexec_fn=lambda: os.sched_setaffinity(0, {0}))
                try:
                    times[name].append(mean_step(options.dltrain, model, options.data))
                finally:
                    if hog:
                        hog.kill()
                        hog.wait()
        quiet, half, full = (statistics.median(times[name]) for name in HOGS)
        print(f"{model:12} {1e3 * quiet:7.3f} ms {half / quiet:6.2f} {full / quiet:6.2f}", flush=True)
        worst = {"half": max(worst["half"], half / quiet), "full": max(worst["full"], full / quiet)}
    for name, limit in LIMITS.items():
        print(f"worst beside a {name} hog: {worst[name]:.2f}, limit {limit}")
    return any(worst[name] > limit for name, limit in LIMITS.items())


if __name__ == "__main__":
    sys.exit(main())
