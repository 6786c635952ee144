#!/usr/bin/env python3
"""One training step of the network of configs/mnist-cnn.yaml in dltrain and in eager PyTorch, side by side.

    python3 bench/peer_pytorch.py [--program build/release/dltrain] [--rounds 5]     (needs torch)

Both work on images of random numbers that lie in memory, with as many threads as there are processors. The rounds alternate, so that what else the
machine does falls on both. PyTorch runs with each of its settings (memory format, fused Adam); the best one counts.
"""

import argparse
import itertools
import json
import os
import pathlib
import statistics
import subprocess
import sys
import time

SOURCE = pathlib.Path(__file__).resolve().parents[1]
STEPS = 60


def torch_steps(batch, channels_last, fused):
    """Milliseconds of the median step."""
    import torch
    from torch import nn
    torch.manual_seed(1)
    model = nn.Sequential(nn.Conv2d(1, 32, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(32, 64, 3), nn.ReLU(), nn.MaxPool2d(2),
                          nn.Flatten(), nn.Dropout(0.25), nn.Linear(1600, 10))
    x = torch.rand(batch, 1, 28, 28)
    if channels_last:
        model = model.to(memory_format=torch.channels_last)
        x = x.to(memory_format=torch.channels_last)
    y = torch.randint(0, 10, (batch,))
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3, eps=1e-7, fused=fused)
    loss_of = nn.CrossEntropyLoss()
    times = []
    for step in range(STEPS + 10):
        start = time.perf_counter()
        optimizer.zero_grad(set_to_none=True)
        logits = model(x)
        loss = loss_of(logits, y)
        loss.backward()
        optimizer.step()
        (logits.argmax(1) == y).float().mean()  # the metric that dltrain's step has too
        if step >= 10:
            times.append(time.perf_counter() - start)
    return 1000 * statistics.median(times)


MODEL = """data:
  train: {{Synthetic: {{task: images, samples: 1024, shape: [28, 28, 1]}}}}
layers:
  - Conv2D: {{filters: 32, kernel_size: 3, activation: relu}}
  - MaxPooling2D: {{pool_size: 2}}
  - Conv2D: {{filters: 64, kernel_size: 3, activation: relu}}
  - MaxPooling2D: {{pool_size: 2}}
  - Flatten
  - Dropout: {{rate: 0.25}}
  - Dense: {{units: 10, activation: softmax}}
optimizer: {{Adam: {{learning_rate: 1e-3}}}}
loss: sparse_categorical_crossentropy
metrics: [accuracy]
fit: {{batch_size: {batch}}}
"""


def dltrain_steps(program, batch, environ):
    out = subprocess.run([program, "time", "-", "--format", "json", "--steps", str(STEPS)], input=MODEL.format(batch=batch), text=True,
                         capture_output=True, check=True, env=environ).stdout
    return 1000 * json.loads(out)["step"]


def main():
    args = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    args.add_argument("--program", default=str(SOURCE / "build" / "release" / "dltrain"))
    args.add_argument("--rounds", type=int, default=5)
    args.add_argument("--torch", nargs=3, metavar=("BATCH", "LAST", "FUSED"), help=argparse.SUPPRESS)
    args = args.parse_args()
    if args.torch:
        print(torch_steps(*map(int, args.torch)))
        return
    environ = {k: v for k, v in os.environ.items() if not k.startswith(("OPENBLAS_", "OMP_", "MKL_"))}
    for batch in (64, 128):
        ours, theirs = [], {k: [] for k in itertools.product((0, 1), (0, 1))}
        for _ in range(args.rounds):
            ours.append(dltrain_steps(args.program, batch, environ))
            for setting, times in theirs.items():
                out = subprocess.run([sys.executable, __file__, "--torch", str(batch), *map(str, setting)], text=True,
                                     capture_output=True, check=True, env=environ).stdout
                times.append(float(out))
        best = min(theirs, key=lambda k: statistics.median(theirs[k]))
        a, b = statistics.median(ours), statistics.median(theirs[best])
        print(f"batch {batch}: dltrain {a:.2f} ms, PyTorch {b:.2f} ms (channels_last={best[0]}, fused Adam={best[1]}), ratio {b / a:.2f}; "
              f"all: {[round(x, 2) for x in ours]} {({str(k): [round(x, 2) for x in v] for k, v in theirs.items()})}", flush=True)


if __name__ == "__main__":
    main()
