"""Streaming, shown: data larger than the memory that training may use.

    python3 bench/streaming.py FOLDER [--gb 4] [--dltrain build/release/dltrain]

Makes a table of so many GB as CSV in FOLDER, then one as HDF5, and of each
    trains a small network, rows in a new order each pass, with 16 MiB of records held in memory at most, and measures the
    largest resident memory (VmHWM): no more than 200 MB;
    trains it again from nothing, kills it (SIGKILL) in the middle of an epoch, and repeats the command: it must end with the
    same weights, by their hash.
Needs room for two and a half times GB in FOLDER, and gives all of it back. Standard library only. Ends with 1 if a promise
does not hold. tests/program/test_streaming.py does the same with small files.
"""

import argparse
import array
import json
import os
import pathlib
import platform
import random
import shutil
import signal
import struct
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parents[1]
MOST_MB = 200
COLUMNS = 20
HELD = 16 << 20  # bytes of records in memory

MODEL = """name: streaming
seed: 11
data:
  train: {source}
  memory: {held}
  cache: {cache}
layers:
  - Dense: {{units: 64, activation: relu}}
  - Dense: {{units: 32, activation: relu}}
  - Dense: {{units: 1}}
optimizer: {{Adam: {{learning_rate: 1e-3}}}}
loss: mse
fit: {{epochs: {epochs}, batch_size: 256, steps_per_epoch: {steps}}}
"""

# ---- made-up data: y = a fixed combination of the columns, and noise ----


def block_of_rows(count):
    """[(columns, target)] as floats of four decimals, which is how the CSV has them."""
    draw = random.Random(20260)
    weights = [draw.uniform(-1, 1) for _ in range(COLUMNS)]
    rows = []
    for _ in range(count):
        x = [round(draw.gauss(0, 1), 4) for _ in range(COLUMNS)]
        y = round(sum(w * v for w, v in zip(weights, x)) + draw.gauss(0, 0.1), 4)
        rows.append((x, y))
    return rows


def write_csv(path, size):
    """About `size` bytes. Rows repeat after a while; a last column counts blocks, so that no two parts of the file are alike."""
    rows = block_of_rows(min(20000, max(500, size // 4000)))
    front = [",".join(f"{v:.4f}" for v in x) + f",{y:.4f}," for x, y in rows]
    with open(path, "w", encoding="ascii", newline="\n", buffering=1 << 20) as file:
        file.write(",".join(f"x{i}" for i in range(COLUMNS)) + ",y,block\n")
        block = 0
        while file.tell() < size:
            end = f"{block % 1000 / 1000:.3f}\n"
            file.write(end.join(front) + end)
            block += 1
    return block * len(rows)


def write_hdf5(path, size):
    """The same as data sets x (rows, columns) float32 and y (rows) float32, contiguous: the plainest HDF5 there is (superblock 0,
    one symbol table), written without libhdf5."""
    rows = block_of_rows(min(20000, max(500, size // 4000)))
    count = size // (4 * (COLUMNS + 1)) // len(rows) * len(rows)
    x = array.array("f", [v for row, _ in rows for v in row])
    y = array.array("f", [v for _, v in rows])
    undefined = 0xFFFFFFFFFFFFFFFF
    root, tree, heap, names, table, header_x, header_y, data_x = 96, 160, 704, 736, 768, 1096, 1352, 2048
    data_y = data_x + 4 * COLUMNS * count
    end = data_y + 4 * count

    def message(kind, body):
        body += bytes(-len(body) % 8)
        return struct.pack("<HHB3x", kind, len(body), 0) + body

    def object_header(messages):
        body = b"".join(messages)
        return struct.pack("<BxHII4x", 1, len(messages), 1, len(body)) + body

    def data_set(shape, at, size):
        return object_header(
            [
                message(0x0001, struct.pack("<BBB5x", 1, len(shape), 0) + struct.pack(f"<{len(shape)}Q", *shape)),
                message(0x0003, struct.pack("<B3BIHHBBBBI", 0x11, 0x20, 0x1F, 0, 4, 0, 32, 23, 8, 0, 23, 127)),
                message(0x0005, struct.pack("<BBBB", 2, 2, 2, 0)),
                message(0x0008, struct.pack("<BBQQ", 3, 1, at, size)),
            ]
        )

    def entry(name, header):
        return struct.pack("<QQII16x", name, header, 0, 0)

    parts = {
        0: b"\x89HDF\r\n\x1a\n"
        + struct.pack("<BBBxBBBxHHI", 0, 0, 0, 0, 8, 8, 4, 16, 0)
        + struct.pack("<QQQQ", 0, undefined, end, undefined)
        + struct.pack("<QQIIQQ", 0, root, 1, 0, tree, heap),
        root: object_header([message(0x0011, struct.pack("<QQ", tree, heap))]),
        tree: b"TREE" + struct.pack("<BBHQQQQQ", 0, 0, 1, undefined, undefined, 0, table, 16),
        heap: b"HEAP" + struct.pack("<B3xQQQ", 0, 24, 1, names),
        names: bytes(8) + b"x".ljust(8, b"\0") + b"y".ljust(8, b"\0"),
        table: b"SNOD" + struct.pack("<BxH", 1, 2) + entry(8, header_x) + entry(16, header_y),
        header_x: data_set((count, COLUMNS), data_x, 4 * COLUMNS * count),
        header_y: data_set((count,), data_y, 4 * count),
    }
    with open(path, "wb", buffering=1 << 20) as file:
        for at, part in parts.items():
            file.seek(at)
            file.write(part)
        file.seek(data_x)
        for values in (x, y):
            chunk = values.tobytes()
            for _ in range(count // len(rows)):
                file.write(chunk)
    return count


# ---- training ----


class Fit:
    """A process of `dltrain fit`, watched until it ends."""

    def __init__(self, program, model, run):
        self.run, self.peak, self.start = pathlib.Path(run), 0, time.monotonic()
        command = [str(program), "fit", str(model), "--run", str(run), "--verbose", "2"]
        self.log = open(str(run) + ".log", "a+", encoding="utf-8")
        self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log)

    def look(self):
        """Reads VmHWM, the process' own largest resident size; False when it is over."""
        try:
            with open(f"/proc/{self.process.pid}/status", encoding="ascii") as file:
                found = [line for line in file if line.startswith("VmHWM:")]
            self.peak = max(self.peak, int(found[0].split()[1]) * 1024 if found else 0)
        except (FileNotFoundError, ProcessLookupError):
            pass
        return self.process.poll() is None

    def finish(self):
        while self.look():
            time.sleep(0.01)
        self.seconds = time.monotonic() - self.start
        self.close()
        if self.process.returncode != 0:
            raise RuntimeError(f"dltrain fit ended with {self.process.returncode}:\n{self.said}")
        return self

    def close(self):
        self.log.seek(0)
        self.said = self.log.read()
        self.log.close()

    def epochs(self):
        """Epochs that are done, by metrics.jsonl."""
        try:
            return len((self.run / "metrics.jsonl").read_text().splitlines())
        except FileNotFoundError:
            return 0

    def kill_in_epoch(self, epoch):
        """SIGKILL once epoch number `epoch`, from 1, is under way. False if it was over before that."""
        reached = None
        while self.look():
            if self.epochs() >= epoch - 1:
                reached = reached or time.monotonic()
                if time.monotonic() - reached > 0.02:
                    self.process.send_signal(signal.SIGKILL)
                    break
            time.sleep(0.002)
        self.process.wait()
        self.close()
        return self.process.returncode == -signal.SIGKILL


def weights_of(run):
    """The hash of the final weights, from run.json."""
    info = json.loads((pathlib.Path(run) / "run.json").read_text())
    return info["weights"] if info.get("state") == "done" else None


def show(program, folder, name, source, epochs, steps, held=HELD):
    """Trains undisturbed and killed; returns what came of it."""
    model = pathlib.Path(folder) / f"{name}.yaml"
    model.write_text(MODEL.format(source=source, held=held, cache=folder, epochs=epochs, steps=steps), encoding="utf-8")
    whole = Fit(program, model, f"{folder}/{name}-whole").finish()
    killed = Fit(program, model, f"{folder}/{name}-killed")
    was_killed = killed.kill_in_epoch(epochs)
    done_before = killed.epochs()
    resumed = Fit(program, model, f"{folder}/{name}-killed").finish()
    return {
        "peak": whole.peak,
        "resumed_peak": resumed.peak,
        "seconds": whole.seconds,
        "killed": was_killed and done_before == epochs - 1,
        "resumed": "resuming" in resumed.said,
        "same": weights_of(whole.run) is not None and weights_of(whole.run) == weights_of(resumed.run),
        "weights": weights_of(whole.run),
        "said": whole.said,
    }


SOURCES = {
    "csv": (write_csv, "{{CSV: {{path: {path}, target: y}}}}"),
    "hdf5": (write_hdf5, "{{HDF5: {{path: {path}, features: x, labels: y}}}}"),
}


def show_kind(program, folder, kind, size, epochs, steps, held=HELD):
    """Makes the file, shows, removes it. Adds `rows`, `bytes`, `made` (seconds)."""
    write, source = SOURCES[kind]
    path = pathlib.Path(folder) / f"rows.{kind}"
    start = time.monotonic()
    rows = write(path, size)
    made = time.monotonic() - start
    try:
        result = show(program, folder, kind, source.format(path=path), epochs, steps, held)
        return {**result, "rows": rows, "bytes": path.stat().st_size, "made": made}
    finally:
        path.unlink()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", metavar="FOLDER")
    parser.add_argument("--gb", type=float, default=4.0, metavar="GB")
    parser.add_argument("--dltrain", default=ROOT / "build" / "release" / "dltrain", metavar="PROGRAM")
    parser.add_argument("--steps", type=int, default=4000, help="steps of an epoch")
    parser.add_argument("--kind", choices=SOURCES, action="append", help="default: all")
    arguments = parser.parse_args()
    folder = pathlib.Path(arguments.folder) / f"dltrain-streaming-{os.getpid()}"
    folder.mkdir(parents=True)
    bad = 0
    try:
        size = int(arguments.gb * 1e9)
        if shutil.disk_usage(folder).free < 2.5 * size:
            print(f"streaming.py: {folder} has less than {2.5 * arguments.gb:.0f} GB left", file=sys.stderr)
            return 1
        print(f"{time.strftime('%Y-%m-%d')}  {platform.machine()}, {os.cpu_count()} processors, {os.uname().sysname} {os.uname().release}")
        print(f"records held in memory: {HELD >> 20} MiB at most; {arguments.steps} steps of 256 rows an epoch, 3 epochs, shuffled")
        for kind in arguments.kind or SOURCES:
            r = show_kind(arguments.dltrain, folder, kind, size, 3, arguments.steps)
            promises = {
                f"resident <= {MOST_MB} MB": max(r["peak"], r["resumed_peak"]) <= MOST_MB * 1e6,
                "killed in mid-epoch": r["killed"],
                "resumed": r["resumed"],
                "same weights": r["same"],
            }
            print(f"{kind:5} {r['bytes'] / 1e9:.2f} GB, {r['rows']:,} rows, made in {r['made']:.0f} s")
            print(f"      fit {r['seconds']:.1f} s, reading the file included; resident {r['peak'] / 1e6:.0f} MB, resumed {r['resumed_peak'] / 1e6:.0f} MB")
            print(f"      weights {r['weights'][:16]}   " + ", ".join(f"{name}: {'yes' if held else 'NO'}" for name, held in promises.items()), flush=True)
            bad += not all(promises.values())
            if not all(promises.values()):
                print(r["said"])
    finally:
        shutil.rmtree(folder)
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
