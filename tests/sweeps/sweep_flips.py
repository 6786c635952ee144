"""Flipped bits of a checkpoint: each is found, or changes nothing that is read; and a run whose newest checkpoint has one goes on
from the next older one, to the same end.

A run of a tiny model is stopped when it has five checkpoints. Of the newest, bits are flipped: with --full every bit of every byte,
else a sample (tests/tools/damage.c). Then some of the bits that were found are flipped in copies of the run, in the newest
checkpoint or in the newest two, and the run is resumed by the program."""
import json
import pathlib
import shutil
import subprocess
import tempfile

from sweep import Sweep  # first: it says where the others are
import tiny_models
from dltrain import BUILD, DONE, FOLDER, SAVED, digest, final_weights, run

DAMAGE = BUILD / "tests" / "damage"
OPTIONS = ("--verbose", "0", "-o", "fit.epochs=6", "-o", "fit.keep=6")


def checkpoints(folder):
    return sorted((folder / "checkpoints").glob("step-*.weights.h5"))


def flip(path, bit):
    data = bytearray(path.read_bytes())
    data[bit // 8] ^= 1 << bit % 8
    path.write_bytes(data)


def resume(sweep, model, stopped, bits, whole, spare):
    """A copy of the run with flipped bits in its newest checkpoints goes on to the same end."""
    copy = spare / "copy"
    shutil.copytree(stopped, copy, symlinks=True)
    names = [c.name for c in checkpoints(copy)[-len(bits):]]
    for name, bit in zip(names, bits):
        flip(copy / "checkpoints" / name, bit)
    what = f"resume after flips of {', '.join(f'bit {b} of {n}' for n, b in zip(names, bits))}"
    result = run("fit", model, "--run", copy, *OPTIONS, timeout=120)
    said = result.stdout + result.stderr
    sweep.count("resumed")
    if result.returncode != DONE:
        sweep.lost(f"{what}: ended with {result.returncode}: {said}")
    elif digest(final_weights(copy)) != whole:
        sweep.lost(f"{what}: other final weights")
    elif any(name not in said for name in names):
        sweep.lost(f"{what}: not told: {said}")
    elif any(not (copy / "checkpoints" / f"{name}.damaged").exists() for name in names):
        sweep.lost(f"{what}: the damaged file was not set aside")
    shutil.rmtree(copy)


def main():
    sweep = Sweep("flips", __doc__)
    if not DAMAGE.exists():
        sweep.skip(f"{DAMAGE} is not built")
    with tempfile.TemporaryDirectory(prefix="dltrain-flips-", dir=FOLDER) as name:
        folder = pathlib.Path(name)
        model = next(m for m, _ in tiny_models.write(folder) if m.stem == "vectors")
        stopped = folder / "stopped"
        if run("fit", model, "--run", stopped, "--stop-after", "15", *OPTIONS).returncode != SAVED or len(checkpoints(stopped)) < 3:
            sweep.lost("the run cannot be made")
            sweep.finish("refused")
        whole = folder / "whole"
        shutil.copytree(stopped, whole, symlinks=True)
        if run("fit", model, "--run", whole, *OPTIONS).returncode != DONE:
            sweep.lost("the undisturbed run does not end")
        newest = checkpoints(stopped)[-1]
        count = 0 if sweep.full and not sweep.arguments.count else sweep.drawn(3000, 0)
        damage = subprocess.run([DAMAGE, "flips", newest, folder, str(sweep.seed), str(count)], stdout=subprocess.PIPE,
                                stderr=subprocess.PIPE, text=True, check=False)
        if damage.returncode != 0:
            sweep.lost(f"damage ended with {damage.returncode}: {damage.stderr}")
            sweep.finish("refused")
        found = json.loads(damage.stdout)
        refused = found.pop("first_refused")
        for key, value in found.items():
            sweep.count(key, value)
        for line in damage.stderr.splitlines():
            if line.startswith("bit "):  # the rest is what libhdf5 said when it killed a worker: counted as died
                sweep.lost(line)
        if found["flips"] != found["refused"] + found["same"] + found["died"]:
            sweep.lost(f"of {found['flips']} flips {found['wrong']} were missed and {found['silent']} refused without a message")
        end = digest(final_weights(whole))
        for i in range(100 if sweep.full else 6):
            bits = [sweep.random.choice(refused) for _ in range(2 if i % 3 == 2 else 1)]
            resume(sweep, model, stopped, bits, end, folder)
    sweep.finish("refused")


main()
