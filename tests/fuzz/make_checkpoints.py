"""Makes the seeds of fuzz_checkpoint.c from the models of tests/sweeps/tiny_models.py. Run in this folder, after
    cmake --build ../../build/release --target dltrain checkpoint_seed"""
import pathlib
import subprocess
import sys
import tempfile

sys.path.insert(0, "../sweeps")
import tiny_models  # noqa: E402

BUILD = pathlib.Path("../../build/release").resolve()

with tempfile.TemporaryDirectory() as name:
    folder = pathlib.Path(name)
    for model, rows in tiny_models.write(folder):
        run = folder / model.stem
        subprocess.run([BUILD / "dltrain", "fit", model, "--run", run, "--verbose", "0"], check=True, cwd=folder)
        seed = subprocess.run([BUILD / "tests" / "checkpoint_seed", run / "checkpoints" / "last.weights.h5", rows],
                              check=True, stdout=subprocess.PIPE).stdout
        seed = seed.replace(name.encode(), b"/" + b"d" * (len(name) - 1))  # the same length: nothing else changes
        pathlib.Path(f"seeds/checkpoint/{model.stem}").write_bytes(seed)
