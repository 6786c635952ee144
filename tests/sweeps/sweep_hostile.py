"""Mutated HDF5 files and checkpoints, half of the latter with their digests repaired: as data, as weights, as checkpoints to predict
from and to resume. Whatever they hold, the program ends with a documented exit code and a message, or with a right result; never by
a signal, within a second of its own (and of 3 for a reader, which is stopped then) and with 4 times the file's size and 64 MiB more
memory than before, each of the two.

Most files are opened by tests/tools/damage.c, many in one process (20,000 with --full); some are given to the program itself."""
import json
import os
import pathlib
import subprocess
import tempfile
import time

from sweep import Sweep  # first: it says where the others are
import tiny_models
from dltrain import BUILD, DONE, FOLDER, PROGRAM, SOURCE, run

DAMAGE = BUILD / "tests" / "damage"
CHUNK = 200
READER_KIB = (64 + 32) << 10  # what a reader may take of memory for files as small as these, and what it takes in any case
SANITIZED = b"__asan_init" in pathlib.Path(PROGRAM).read_bytes()  # they keep what is freed
DOCUMENTED = {0: "accepted", 2: "configuration", 3: "memory", 4: "data", 5: "not finite", 6: "checkpoint"}
DIED = "parent_died"  # the process that opens the files, or the program itself
SUMMED = ("files", "repaired", "refused", "accepted", "reader_died")
NONE = ("wrong", "undocumented", "silent", "large", "slow")


def hostile(sweep, folder, first, count, victims):
    """Files of these numbers; after one that ended the process it goes on with the next."""
    while count > 0:
        damage = subprocess.run([DAMAGE, "hostile", folder, str(sweep.seed), str(first), str(count), *victims],
                                stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, check=False,
                                timeout=60 + 10 * count)
        lines = damage.stdout.splitlines()
        for line in damage.stderr.splitlines():
            print(f"hostile: {line}", flush=True)
        if damage.returncode == 0:
            found = json.loads(lines[-1])
            for key in SUMMED:
                sweep.count(key, found[key])
            for key in NONE:
                if found[key] > 0:
                    sweep.lost(f"files {first} to {first + count - 1}: {found[key]} {key}")
            for name, value in (("most_mib", found["most_kib"] // 1024), ("reader_mib", found["reader_kib"] // 1024),
                                ("slowest_ms", int(found["slowest_ms"]))):
                sweep.counts[name] = max(sweep.counts.get(name, 0), value)
            if found["reader_kib"] > READER_KIB:
                sweep.lost(f"files {first} to {first + count - 1}: a reader took {found['reader_kib']} KiB")
            return
        sweep.count(DIED)
        last = int(lines[-1]) if lines and lines[-1].isdigit() else first
        sweep.count("files", last - first + 1)
        sweep.lost(f"file {last}: the process ended with {damage.returncode}: {damage.stderr[-2000:]}")
        first, count = last + 1, count - (last + 1 - first)


def measured(*words):
    """Runs the program: exit status as subprocess has it, what it said, most memory in KiB, seconds."""
    start = time.monotonic()
    with tempfile.TemporaryFile() as said:
        child = subprocess.Popen([PROGRAM, *map(str, words)], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=said)
        _, status, usage = os.wait4(child.pid, 0)
        child.returncode = os.waitstatus_to_exitcode(status)
        said.seek(0)
        return child.returncode, said.read().decode(errors="replace"), usage.ru_maxrss, time.monotonic() - start


def commands(folder, path, model, rows):
    """What is done with a file by the program."""
    if model == "-":
        return [("check", folder / "data.yaml")]
    fresh = folder / f"run-{os.urandom(4).hex()}"
    return [("predict", path, "--input", rows), ("evaluate", path, "--data", pathlib.Path(model).with_suffix(".csv")),
            ("summary", path), ("fit", model, "--weights", path, "--run", fresh, "--verbose", "0"),
            ("fit", model, "--resume", path, "--run", f"{fresh}-resumed", "--verbose", "0", "-o", "fit.epochs=4")]


def whole_program(sweep, folder, number, victims, most):
    made = subprocess.run([DAMAGE, "make", folder, str(sweep.seed), str(number), *victims], check=True, stdout=subprocess.PIPE, text=True)
    made = json.loads(made.stdout)
    (folder / "data.yaml").write_text(f"data: {{train: {{HDF5: {{path: '{made['path']}', features: x}}}}}}\n"
                                      "layers: [Dense: {units: 2}]\nloss: mse\noptimizer: SGD\n")
    for words in commands(folder, made["path"], made["model"], made["rows"]):
        code, said, memory, seconds = measured(*words)
        sweep.count("started")
        sweep.count(DIED, int(code < 0))
        what = f"file {number}: {' '.join(map(str, words))}"
        if code not in DOCUMENTED:
            sweep.lost(f"{what}: ended with {code}: {said[-1000:]}")
        elif code != DONE and not said.strip():
            sweep.lost(f"{what}: ended with {code} and said nothing")
        elif not SANITIZED and memory > most + 4 * os.path.getsize(made["path"]) // 1024:
            sweep.lost(f"{what}: took {memory} KiB, {most} expected at most")
        elif seconds > 60:
            sweep.lost(f"{what}: took {seconds:.0f} s")
        elif code == DONE:
            sweep.count("ended_well")


def main():
    sweep = Sweep("hostile", __doc__)
    if not DAMAGE.exists():
        sweep.skip(f"{DAMAGE} is not built")
    with tempfile.TemporaryDirectory(prefix="dltrain-hostile-", dir=FOLDER) as name:
        folder, victims, most = pathlib.Path(name), [], 0
        for model, rows in tiny_models.write(folder):
            trained = folder / model.stem
            if run("fit", model, "--run", trained, "--verbose", "0").returncode != DONE:
                sweep.lost(f"{model.stem} cannot be trained")
            checkpoint = trained / "checkpoints" / "last.weights.h5"
            victims += [model, rows, checkpoint]
            most = max([most] + [measured(*words)[2] for words in commands(folder, checkpoint, model, rows)])
        victims *= 2  # more checkpoints than data
        for file in ("good", "types", "chunked", "latest", "userblock", "refused"):
            victims += ["-", "/dev/null", SOURCE / "tests" / "data" / "h5" / f"{file}.h5"]
        victims = [str(v) for v in victims]
        count = sweep.drawn(500, 20000)
        for first in range(0, count, CHUNK):
            hostile(sweep, folder, first, min(CHUNK, count - first), victims)
        for _ in range(150 if sweep.full else 8):
            whole_program(sweep, folder, sweep.random.randrange(1 << 32), victims, most + (64 << 10))
    sweep.finish("refused")


main()
