"""Runs that are stopped and resumed, by `dltrain verify-resume`: at the ends of epochs, in validation, by a kill after a save, and
twice at random steps. Every byte of weights, optimizer, state, progress and logs must be that of a run without a stop. In full: all
model files in configs/ whose data are here, with many random chains each."""
import re
import tempfile

from sweep import Sweep, dltrain

# The two whose steps are long make fewer of them.
WORDS = {"shakespeare-lstm": ["--epochs", 2, "--steps", 3, "-o", "fit.batch_size=8"],
         "shakespeare-transformer": ["--epochs", 2, "--steps", 3, "-o", "fit.batch_size=4"]}


def main():
    sweep = Sweep("resume", __doc__)
    models = sorted((dltrain.SOURCE / "configs").glob("*.yaml")) if sweep.full else [dltrain.SOURCE / "configs/digits-cnn.yaml"]
    chains = sweep.drawn(3, 12)
    for model in models:
        with tempfile.TemporaryDirectory(prefix="dltrain-sweep-", dir=dltrain.FOLDER) as folder:
            result = dltrain.run("verify-resume", model, "--folder", folder, "--random", chains, "--seed",
                                 sweep.random.getrandbits(31), *WORDS.get(model.stem, []), timeout=1200)
        if result.returncode == dltrain.CONFIG and "DLTRAIN_DATA" in result.stderr:
            print(f"resume: {model.stem}: its data are not here")
            continue
        sweep.count("models")
        proven = re.search(r"^ok: .*\((\d+) stops", result.stdout, re.MULTILINE)
        told = re.findall(r"^(?:stopped|killed) .*?  +(equal|DIFFERS) ", result.stdout, re.MULTILINE)
        sweep.count("stops", sum(2 if " and " in line and "at random" in line else 1
                                 for line in result.stdout.splitlines() if re.match("stopped|killed", line)))
        sweep.count("chains", len(told))
        if result.returncode != dltrain.DONE or not proven or "DIFFERS" in told:
            sweep.lost(f"{model.stem}: {result.stdout}{result.stderr}")
    sweep.finish("chains")


if __name__ == "__main__":
    main()
