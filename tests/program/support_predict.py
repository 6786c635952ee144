"""Running the program with text going in, and reading what it writes: NPY, NPZ, CSV, JSON lines. Standard library only."""

import array
import csv
import json
import os
import re
import struct
import subprocess
import zipfile

import dltrain
from dltrain import CHECKPOINT, CONFIG, DATA, OUTPUT, main  # noqa: F401: for those who import this

ROOT = str(dltrain.SOURCE)
GOLDEN = os.path.join(ROOT, "tests", "golden")
SETS = os.path.join(ROOT, "tests", "data", "sets")
BAD_DATA = dltrain.NO_DATA


class Case(dltrain.TestCase):
    def path(self, name):
        return os.path.join(self.folder, name)

    def write(self, name, text):
        with open(self.path(name), "w", encoding="utf-8", newline="") as file:
            file.write(text)
        return self.path(name)

    def call(self, *arguments, stdin=None):
        return call(*arguments, stdin=stdin, cwd=self.folder)

    def run_ok(self, *arguments, **more):
        """Standard output of a command that must end well."""
        return self.expect(self.call(*arguments, **more), dltrain.DONE).stdout

    def run_fails(self, code, *arguments, **more):
        """Standard error of a command that must end with this code."""
        return self.expect(self.call(*arguments, **more), code).stderr

    def assert_close(self, found, wanted, tolerance, what=""):
        """Two flat lists, up to a part of the largest value."""
        self.assertEqual(len(found), len(wanted), what)
        room = tolerance * max([abs(w) for w in wanted] + [1e-3])
        far = [(i, f, w) for i, (f, w) in enumerate(zip(found, wanted)) if not abs(f - w) <= room]
        self.assertEqual(far[:3], [], f"{what}: {len(far)} of {len(wanted)} differ by more than {room:g}")


def call(*arguments, stdin=None, cwd=None):
    """The finished process; `stdin` is text."""
    command = dltrain.command(*arguments, program=os.path.abspath(dltrain.PROGRAM))
    return subprocess.run(command, input=stdin if stdin is not None else "", capture_output=True,
                          text=True, errors="replace", cwd=cwd, timeout=600, check=False)


# ---- NPY, CSV, JSON lines --------------------------------------------------------------------------------------------

_TYPES = {"<f4": "f", "<f8": "d", "<i4": "i", "<i8": "q", "|u1": "B"}


class Array:
    def __init__(self, shape, values):
        self.shape, self.values = shape, values

    def rows(self):
        """One list for each row."""
        width = len(self.values) // self.shape[0] if self.shape[0] else 0
        return [list(self.values[i * width : (i + 1) * width]) for i in range(self.shape[0])]


def parse_npy(data):
    if data[:6] != b"\x93NUMPY" or data[6] != 1:
        raise ValueError("not an NPY file of version 1")
    length = struct.unpack("<H", data[8:10])[0]
    header = data[10 : 10 + length].decode("latin-1")
    if header[-1] != "\n" or (10 + length) % 64 != 0 or "'fortran_order': False" not in header:
        raise ValueError(f"bad header {header!r}")
    dtype = re.search(r"'descr': '([^']+)'", header)[1]
    shape = tuple(int(n) for n in re.search(r"'shape': \(([^)]*)\)", header)[1].replace(" ", "").split(",") if n)
    values = array.array(_TYPES[dtype])
    values.frombytes(data[10 + length :])
    count = 1
    for n in shape:
        count *= n
    if len(values) != count:
        raise ValueError(f"{len(values)} values for the shape {shape}")
    return Array(shape, values)


def read_npy(path):
    with open(path, "rb") as file:
        return parse_npy(file.read())


def npy_bytes(found):
    """An Array as an NPY file."""
    dtype = next(name for name, code in _TYPES.items() if code == found.values.typecode)
    header = f"{{'descr': '{dtype}', 'fortran_order': False, 'shape': {tuple(found.shape)}, }}"
    header += " " * (-(len(header) + 11) % 64) + "\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header.encode() + found.values.tobytes()


class Npz:
    def __init__(self, path):
        self.archive = zipfile.ZipFile(path)

    def __contains__(self, key):
        return key + ".npy" in self.archive.namelist()

    def __getitem__(self, key):
        return parse_npy(self.archive.read(key + ".npy"))

    def close(self):
        self.archive.close()


def read_csv(text):
    """(header, rows)"""
    rows = list(csv.reader(text.splitlines()))
    return rows[0], rows[1:]


def read_jsonl(text):
    return [json.loads(line) for line in text.splitlines()]
