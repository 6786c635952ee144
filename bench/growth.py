#!/usr/bin/env python3
"""How time and memory grow, as curves: bench/growth.py FOLDER [--dltrain build/release/dltrain] [--parts data,layers,checkpoint]

  data        a pass of training over a CSV table of 4 to 400 MB of which 16 MiB may be held: microseconds a record, largest resident memory
  layers      `check` and `plan` of 10 to 10,000 dense layers: seconds, largest resident memory
  checkpoint  `predict` of one record from checkpoints of 10 MB to 1 GB: seconds, beside reading the file's bytes once

Fastest of three runs; of two for what takes longer than five seconds. Tables go to bench/results/growth-DATE.json, curves to docs/growth-*.svg,
which docs/performance.md shows. Needs 3 GB in FOLDER and gives them back. Standard library only."""
import argparse
import array
import datetime
import json
import math
import os
import pathlib
import platform
import shutil
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "bench"))
from streaming import write_csv  # noqa: E402

TABLE = """name: growth
seed: 1
data:
  train: {{CSV: {{path: {path}, target: y}}}}
  memory: 16777216
  cache: {cache}
layers:
  - Dense: {{units: 64, activation: relu}}
  - Dense: {{units: 32, activation: relu}}
  - Dense: {{units: 1}}
optimizer: Adam
loss: mse
fit: {{epochs: 1, batch_size: 256}}
"""
DEEP = """name: deep
data:
  train: {Synthetic: {samples: 64, shape: [16], classes: 4}}
layers:
%s  - Dense: {units: 4, activation: softmax}
optimizer: Adam
loss: sparse_categorical_crossentropy
fit: {batch_size: 8, epochs: 1}
"""
WIDE = """name: wide
data:
  train: {{Synthetic: {{samples: 2, shape: [{width}], classes: 4}}}}
layers:
  - Dense: {{units: {width}}}
  - Dense: {{units: 4, activation: softmax}}
optimizer: SGD
loss: sparse_categorical_crossentropy
fit: {{batch_size: 1, epochs: 1, steps_per_epoch: 1}}
"""


def run(*words):
    """(seconds, largest resident MB): the high-water mark, read until the end; what wait4 tells counts this script's own memory."""
    start = time.monotonic()
    with tempfile.TemporaryFile() as said:
        child = subprocess.Popen([str(w) for w in words], stdout=subprocess.DEVNULL, stderr=said)
        memory = 0
        while child.poll() is None:
            try:
                for line in pathlib.Path(f"/proc/{child.pid}/status").read_text().splitlines():
                    memory = max(memory, int(line.split()[1]) if line.startswith("VmHWM") else 0)
            except OSError:
                pass
            time.sleep(0.001)
        seconds = time.monotonic() - start
        if child.returncode != 0:
            said.seek(0)
            raise SystemExit(f"{' '.join(map(str, words))}: {said.read().decode().strip()}")
    return seconds, memory / 1024


def fastest(make):
    best = make()
    for _ in range(1 if best[0] > 5 else 2):
        best = min(best, make())
    return best


def growth_of_data(dltrain, folder):
    rows = []
    for mb in (4, 12, 40, 120, 400):
        table, model = folder / "table.csv", folder / "table.yaml"
        records = write_csv(table, mb << 20)
        model.write_text(TABLE.format(path=table, cache=folder / "cache"))

        def once():
            shutil.rmtree(folder / "cache", ignore_errors=True)
            (folder / "cache").mkdir()
            shutil.rmtree(folder / "run", ignore_errors=True)
            return run(dltrain, "fit", model, "--run", folder / "run")

        seconds, memory = fastest(once)
        rows.append({"MB": mb, "records": records, "us a record": 1e6 * seconds / records, "resident MB": memory})
        print(rows[-1], flush=True)
    table.unlink()
    return rows


def growth_of_layers(dltrain, folder):
    rows = []
    for layers in (10, 30, 100, 300, 1000, 3000, 10000):
        model = folder / "deep.yaml"
        model.write_text(DEEP % ("  - Dense: {units: 16, activation: relu}\n" * layers))
        check, plan = fastest(lambda: run(dltrain, "check", model)), fastest(lambda: run(dltrain, "plan", model))
        rows.append({"layers": layers, "check s": check[0], "plan s": plan[0], "resident MB": plan[1]})
        print(rows[-1], flush=True)
    return rows


def write_record(path, width):
    header = f"{{'descr': '<f4', 'fortran_order': False, 'shape': (1, {width}), }}"
    header += " " * (117 - len(header)) + "\n"
    path.write_bytes(b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header.encode() + array.array("f", [0.5] * width).tobytes())


def growth_of_checkpoints(dltrain, folder):
    rows = []
    for mb in (10, 100, 1000):
        width = int(math.sqrt(mb * 1e6 / 4))
        model, record = folder / "wide.yaml", folder / "record.npy"
        model.write_text(WIDE.format(width=width))
        write_record(record, width)
        shutil.rmtree(folder / "run", ignore_errors=True)
        run(dltrain, "fit", model, "--run", folder / "run")
        checkpoint = max((folder / "run" / "checkpoints").glob("*.h5"), key=lambda p: p.stat().st_size)

        def read():
            start = time.monotonic()
            with open(checkpoint, "rb", buffering=0) as file:
                while file.read(1 << 22):
                    pass
            return (time.monotonic() - start, 0)

        predict = fastest(lambda: run(dltrain, "predict", checkpoint, "--input", record, "--output", folder / "prediction.csv"))
        size = checkpoint.stat().st_size
        rows.append({"MB": size / 1e6, "predict s": predict[0], "read s": fastest(read)[0], "resident MB": predict[1]})
        print(rows[-1], flush=True)
        shutil.rmtree(folder / "run")
    return rows


# ---- curves ----

COLOURS = ("#1b6ca8", "#c8553d", "#588157")


def curves(path, title, across, up, x, lines):
    """One chart, both axes logarithmic. lines: {name: values}."""
    width, height, left, top, right, bottom = 560, 320, 64, 40, 130, 48
    every = [v for values in lines.values() for v in values]
    low, high = math.floor(math.log10(min(every))), math.ceil(math.log10(max(every)))
    high = max(high, low + 1)
    first, last = math.log10(x[0]), math.log10(x[-1])

    def place(a, b):
        return (
            left + (math.log10(a) - first) / (last - first) * (width - left - right),
            top + (high - math.log10(b)) / (high - low) * (height - top - bottom),
        )

    out = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" font-family="sans-serif" font-size="12">',
        f'<rect width="{width}" height="{height}" fill="white"/>',
        f'<text x="{left}" y="22" font-size="14">{title}</text>',
    ]
    for power in range(low, high + 1):
        y = place(x[0], 10.0**power)[1]
        out.append(f'<line x1="{left}" x2="{width - right}" y1="{y:.1f}" y2="{y:.1f}" stroke="#ddd"/>')
        out.append(f'<text x="{left - 6}" y="{y + 4:.1f}" text-anchor="end">{10.0**power:g}</text>')
    for value in x:
        at = place(value, 10.0**low)[0]
        out.append(f'<text x="{at:.1f}" y="{height - bottom + 16}" text-anchor="middle">{value:,.0f}</text>')
    out.append(f'<text x="{(left + width - right) / 2}" y="{height - 10}" text-anchor="middle">{across}</text>')
    out.append(f'<text x="16" y="{(top + height - bottom) / 2}" text-anchor="middle" transform="rotate(-90 16 {(top + height - bottom) / 2})">{up}</text>')
    for colour, (name, values) in zip(COLOURS, lines.items()):
        points = [place(a, b) for a, b in zip(x, values)]
        text = " ".join(f"{a:.1f},{b:.1f}" for a, b in points)
        out.append(f'<polyline points="{text}" fill="none" stroke="{colour}" stroke-width="2"/>')
        out += [f'<circle cx="{a:.1f}" cy="{b:.1f}" r="3" fill="{colour}"/>' for a, b in points]
        out.append(f'<text x="{points[-1][0] + 8:.1f}" y="{points[-1][1] + 4:.1f}" fill="{colour}">{name}</text>')
    out.append("</svg>\n")
    path.write_text("\n".join(out))


def column(rows, name):
    return [row[name] for row in rows]


def draw(parts):
    docs = ROOT / "docs"
    if "data" in parts:
        rows = parts["data"]
        lines = {"µs a record": column(rows, "us a record"), "resident MB": column(rows, "resident MB")}
        curves(docs / "growth-data.svg", "A pass over a table that is streamed", "MB of CSV", "", column(rows, "MB"), lines)
    if "layers" in parts:
        rows = parts["layers"]
        lines = {"check": column(rows, "check s"), "plan": column(rows, "plan s")}
        curves(docs / "growth-layers.svg", "check and plan", "dense layers", "seconds", column(rows, "layers"), lines)
    if "checkpoint" in parts:
        rows = parts["checkpoint"]
        lines = {"predict": column(rows, "predict s"), "reading the file": column(rows, "read s")}
        curves(docs / "growth-checkpoint.svg", "predict of one record, from start to end", "MB of checkpoint", "seconds", column(rows, "MB"), lines)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("--dltrain", type=pathlib.Path, default=ROOT / "build/release/dltrain")
    parser.add_argument("--parts", default="data,layers,checkpoint")
    options = parser.parse_args()
    folder = options.folder.resolve() / "growth"
    folder.mkdir(parents=True)
    makers = {"data": growth_of_data, "layers": growth_of_layers, "checkpoint": growth_of_checkpoints}
    try:
        parts = {name: makers[name](options.dltrain.resolve(), folder) for name in options.parts.split(",")}
    finally:
        shutil.rmtree(folder)
    result = {"date": datetime.date.today().isoformat(), "machine": platform.processor() or platform.machine(), "processors": os.cpu_count()} | parts
    (ROOT / "bench" / "results" / f"growth-{result['date']}.json").write_text(json.dumps(result, indent=1) + "\n")
    draw(parts)


if __name__ == "__main__":
    main()
