"""For tests that run dltrain and look at what it writes: Python's standard library alone.

A test file is run as `python3 test_X.py DLTRAIN`; DLTRAIN is the program.
"""

import array
import csv
import json
import os
import re
import struct
import subprocess
import sys
import tempfile
import unittest
import zipfile

ROOT = os.path.abspath(os.path.join(os.path.dirname(os.path.abspath(__file__)), os.pardir, os.pardir))
GOLDEN = os.path.join(ROOT, "tests", "golden")
SETS = os.path.join(ROOT, "tests", "data", "sets")
DATA = os.environ.get("DLTRAIN_DATA")

PROGRAM = None

# Exit codes, as the design has them.
CONFIG, BAD_DATA, CHECKPOINT, OUTPUT = 2, 4, 6, 8


class Case(unittest.TestCase):
    """A test with a folder of its own."""

    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = folder.name

    def path(self, name):
        return os.path.join(self.folder, name)

    def write(self, name, text):
        with open(self.path(name), "w", encoding="utf-8", newline="") as file:
            file.write(text)
        return self.path(name)

    def call(self, *arguments, stdin=None, cwd=None):
        return call(*arguments, stdin=stdin, cwd=cwd or self.folder)

    def run_ok(self, *arguments, **more):
        done = self.call(*arguments, **more)
        self.assertEqual(done.returncode, 0, f"dltrain {' '.join(map(str, arguments))}\n{done.stderr}")
        return done.stdout

    def run_fails(self, code, *arguments, **more):
        """Standard error of a command that must end with this code and leave nothing on standard output."""
        done = self.call(*arguments, **more)
        self.assertEqual(done.returncode, code, done.stderr)
        return done.stderr

    def assert_close(self, found, wanted, tolerance, what=""):
        """Two flat lists, up to a part of the largest value."""
        self.assertEqual(len(found), len(wanted), what)
        room = tolerance * max([abs(w) for w in wanted] + [1e-3])
        far = [(i, f, w) for i, (f, w) in enumerate(zip(found, wanted)) if not abs(f - w) <= room]
        self.assertEqual(far[:3], [], f"{what}: {len(far)} of {len(wanted)} differ by more than {room:g}")


def call(*arguments, stdin=None, cwd=None):
    return subprocess.run([PROGRAM, *map(str, arguments)], input=stdin, capture_output=True, text=True, cwd=cwd, timeout=600)


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


def flat(value):
    return [v for item in value for v in flat(item)] if isinstance(value, list) else [value]


def main():
    global PROGRAM
    if len(sys.argv) < 2 or not os.path.exists(sys.argv[1]):
        print(f"usage: {os.path.basename(sys.argv[0])} DLTRAIN [TEST ...]", file=sys.stderr)
        sys.exit(2)
    PROGRAM = os.path.abspath(sys.argv.pop(1))
    unittest.main(verbosity=1)
