"""How good the messages of this folder are, by what is expected in NAME.expected (review.sh sees that the program says it):

  - each error names its place, FILE:LINE:COLUMN or `FILE: record N` of the data, but for those in NO_PLACE, which says why;
  - of the words that meant.txt says were meant, at least 90 % are suggested;
  - there are at least 200 mistaken files.
Prints the figures; ends with 1 where one is too small. Standard library only.
"""
import pathlib
import re
import sys

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "sweeps"))
from sweep import record  # noqa: E402

LEAST_CASES, LEAST_SUGGESTED = 200, 0.90

PLACE = re.compile(r"^(error: )?(?!(error|warning|note):)[^\s:]+:(\d+:\d+| record \d+| row \d+): ")
assert PLACE.search("a.csv: record 4: no value") and not PLACE.search("error: record 4: no value")  # of which file?
# lines that are no error of their own: the excerpt under one, notes, totals, what is fine
OTHER = re.compile(r"^ *\d* \| |^exit \d+$|^\d+ (error|warning)s?\b.* in |warning: |^note: |: note: |^\S+: ok |^$")

# by case: why its error has no place
NO_PLACE = {
    "command line": "command-typo evaluate-data-file-as-run evaluate-model-without-weights evaluate-no-run evaluate-set-typo "
                    "evaluate-which-typo fit-keras-flag fit-run-holds-other-files fit-run-is-a-file flag-typo help-typo "
                    "model-is-folder model-no-file plan-limit-unit predict-format-typo predict-is-npy predict-no-file "
                    "predict-image-for-table predict-output-folder-missing resume-from-text weights-no-file",
    "the file as a whole: nothing in it can be read": "evaluate-empty predict-image-cut predict-nothing predict-npy-cut predict-npy-wider "
                                                      "resume-cut-checkpoint yaml-utf16 yaml-utf16-no-mark",
    "two runs or models are compared; what differs is named": "resume-other-model weights-of-another-model "
                                                              "weights-of-keras-other-layers",
    "a step of training; the notes below it name record or layer": "fit-ids-beyond-table fit-nan-in-data fit-rate-explodes "
                                                                   "npy-embedding-of-numbers npy-ids-negative npy-infinite "
                                                                   "shape-embedding-of-numbers",
}


def cases():
    """(name, text) of each."""
    for folder in (HERE, HERE / "real"):
        for path in sorted(folder.glob("*.expected")):
            yield path.stem, path.read_text(errors="replace")


def meant():
    """(case, found, meant) of each typo."""
    for line in (HERE / "meant.txt").read_text().splitlines():
        if line and not line.startswith("#"):
            yield line.split()


def main():
    texts = dict(cases())
    why = {name: reason for reason, names in NO_PLACE.items() for name in names.split()}
    failures = [f"{name}: in NO_PLACE, but no case" for name in why if name not in texts]
    mistaken = errors = placed = excused = 0
    for name, text in texts.items():
        lines = [line for line in text.splitlines() if not OTHER.search(line)]
        if text.rstrip().endswith("exit 0"):
            continue
        mistaken += 1
        if not lines:
            failures.append(f"{name}: ends with an error and says none")
        without = [line for line in lines if not PLACE.search(line)]
        errors += len(lines)
        placed += len(lines) - len(without)
        if without and name in why:
            excused += len(without)
        elif without:
            failures.extend(f"{name}: no place: {line}" for line in without)
        elif name in why:
            failures.append(f"{name}: in NO_PLACE, but each of its errors has a place")
    typos = list(meant())
    missed = []
    for name, found, word in typos:
        said = [line for line in texts.get(name, "").splitlines() if found in line]
        if not any(re.search(rf"(did you mean|write) ['{{]?{re.escape(word)}\b", line) for line in said):
            missed.append(f"{name}: '{found}' does not suggest '{word}'")
    share = 1 - len(missed) / len(typos)
    print("\n".join(missed + failures))
    figures = {"cases": len(texts), "mistaken": mistaken, "errors": errors, "placed": placed, "without_place": excused,
               "missing_place": errors - placed - excused, "typos": len(typos), "suggested": len(typos) - len(missed)}
    print("errors: " + " ".join(f"{k}={v}" for k, v in figures.items()) + f" ({share:.1%})")
    record("corpus", full=True, lost=len(failures), **figures)
    if mistaken < LEAST_CASES or share < LEAST_SUGGESTED or failures:
        sys.exit(1)


if __name__ == "__main__":
    main()
