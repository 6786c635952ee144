"""Memory is refused: the Nth allocation alone, or it and every later one, for every N, in every command.

Who is refused: our allocator and libyaml in the command's process ("ours"); libhdf5 in the thread that writes checkpoints and
in predict ("hdf5"); both in the child that reads HDF5 files; our allocator in the fits that verify-resume starts. How:
tests/sweeps/fault_alloc.c, which also proves that it happened.

After each refusal: no signal, no hang; either exit code 0, and then the results are those of an undisturbed run, or exit
code 3 with exactly one error message, and then every file is as it was; of fit: only files that a run may hold, nothing
temporary, and the same command again ends in the weights, history and metrics of an undisturbed run.

    python3 tests/sweeps/sweep_alloc.py [--full] [--only CASE] [--at CASE/PROCESS:WHO:N[+]]
"""
import concurrent.futures
import hashlib
import json
import os
import pathlib
import random
import re
import shutil
import subprocess
import sys
import tempfile
import threading

import sweep
import dltrain

SECONDS = 60  # that a run may take: more is a hang
AT_ONCE = 2   # processes beside each other
BLOCK = 64    # places that one server tries
RESUMED = 0.25  # share of the failed fits of --full that are taken up again; in the gate all are
FEW = 100     # places in libhdf5 that --full tries, evenly, but in the cases that say `whole`; elsewhere every step-th
OUT_OF_MEMORY = 3
SANITIZER = {"LSAN_OPTIONS": "exitcode=98", "ASAN_OPTIONS": "exitcode=98:detect_leaks=1:allocator_may_return_null=1", "UBSAN_OPTIONS": "exitcode=98:print_stacktrace=1"}

MODEL = """
name: small
vars: {data: .}
seed: 3
data:
  train: {CSV: {path: "${vars.data}/train.csv", target: kind}}
  validation: {split: {fraction: 0.25, shuffle: true}}
layers:
  - FeatureSpace
  - Dense: {units: 6, activation: relu}
  - Dropout: {rate: 0.2}
  - Dense: {units: 3, activation: softmax}
optimizer: {Adam: {learning_rate: 0.01}}
loss: sparse_categorical_crossentropy
metrics: [accuracy]
fit:
  epochs: 3
  batch_size: 16
  callbacks:
    - EarlyStopping: {monitor: val_loss, patience: 1, restore_best_weights: true}
    - ModelCheckpoint: {save_best_only: true}
    - ModelCheckpoint: {filepath: "mine-{epoch}.weights.h5", save_weights_only: true}
    - ReduceLROnPlateau: {monitor: val_loss, factor: 0.5, patience: 1}
    - CSVLogger: {filename: log.csv}
"""
PACKED = """
name: packed
vars: {data: .}
seed: 3
data:
  train: {CSV: {path: "${vars.data}/wide.csv", header: false, target: -1}}
  validation: {split: {fraction: 0.25, shuffle: true}}
  memory: 1048576
layers:
  - Dense: {units: 4, activation: relu}
  - Dense: {units: 4, activation: relu}
  - Dense: {units: 3, activation: softmax}
optimizer: {SGD: {learning_rate: 0.01}}
loss: sparse_categorical_crossentropy
fit: {epochs: 2, batch_size: 16, steps_per_epoch: 2, validation_steps: 1}
"""
WRONG = """
name: wrong
layers:
  - Dens: {units: 6}
  - Dense: {unit: 3, activation: softmx}
fit: {epochs: 0}
"""


def make_data(folder):
    """Model files and data of all cases. Random numbers of their own: the data are the same under every seed."""
    numbers = random.Random(1)
    rows = [f"{numbers.gauss(i % 3, 1):.3f},{numbers.gauss(-(i % 3), 1):.3f},{numbers.random():.3f},{'xyz'[i % 3]}"
            for i in range(60)]
    (folder / "train.csv").write_text("\n".join(["a,b,c,kind", *rows]) + "\n")
    wide = [",".join(str(numbers.randrange(10)) for _ in range(32)) + f",{i % 3}" for i in range(12000)]
    (folder / "wide.csv").write_text("\n".join(wide) + "\n")
    for name, text in (("model", MODEL), ("packed", PACKED), ("wrong", WRONG)):
        (folder / f"{name}.yaml").write_text(text)


class Case:
    """A command under sweep: `words` behind the program's name; {base} is the folder of make_data, the work folder is here."""

    def __init__(self, name, words, who=("ours",), prepare=None, code=0, normal=None, fits=False, resumes=False, sample=12, step=1,
                 whole=False, base=None):
        self.name, self.base, self.prepare, self.code, self.fits = name, base, prepare, code, fits
        self.words = [w.replace("{base}", str(base)) for w in words.split()]
        self.resumes = resumes  # a run that was stopped lies in the work folder
        self.normal = normal or (lambda text: text)
        self.sample, self.step = sample, step  # places of each kind in the gate; in --full every step-th
        self.whole = whole  # libhdf5 in the child is tried at every place too: it does there what it does in other cases
        who = [w if ":" in w else f"{self.words[0]}:{w}" for w in who]
        self.who = [w for w in who if not (w.endswith(":hdf5") and sanitized())]  # there malloc is the sanitizer's
        self.reference = None


def sanitized():
    cache = dltrain.BUILD / "CMakeCache.txt"
    return cache.exists() and "DLT_SANITIZE:STRING=OFF" not in cache.read_text()


def no_numbers(text):
    """Nor units of time: 0.1 s may be 98.7 ms the next time."""
    return re.sub(r"[\d.]+( (us|ms|s)\b)?", "#", text)


def first_words(text):
    """Of a table of times, whose lines are sorted by them."""
    return sorted({line.split()[0] for line in text.splitlines() if line.strip()})


def cases(base):
    """Every command, and those that read and write much in several ways."""
    def case(name, words, *who, **more):
        return Case(name, words, who or ("ours",), base=base, **more)

    def old_file(name):
        return lambda folder: (folder / name).write_text("old\n")

    child = ("--h5-child:ours", "--h5-child:hdf5")
    return [
        case("check", "check {base}/model.yaml"),
        case("check-show", "check --show {base}/model.yaml"),
        case("check-wrong", "check {base}/wrong.yaml", code=2),
        case("check-json", "check --format json {base}/wrong.yaml", code=2),
        case("plan", "plan {base}/model.yaml --kernels"),
        case("plan-solve", "plan {base}/model.yaml --format json --limit 4MiB --solve batch"),
        case("plan-dump", "plan {base}/model.yaml --dump passed-dot"),
        case("summary", "summary {base}/model.yaml"),
        case("fit", "fit model.yaml --run run", "ours", "hdf5", *child, fits=True, sample=40),
        case("fit-resume", "fit model.yaml --run run", "ours", "hdf5", *child, fits=True, sample=40, resumes=True),
        case("fit-packed", "fit packed.yaml --run run", fits=True, step=2),
        case("evaluate", "evaluate {base}/run --format json", "ours", *child, whole=True),
        case("evaluate-text", "evaluate {base}/run", normal=no_numbers),
        case("predict", "predict {base}/run --input {base}/train.csv --output out.csv", "ours", *child, prepare=old_file("out.csv")),
        case("predict-hdf5", "predict {base}/run --input {base}/train.csv --output out.h5", "ours", "hdf5", prepare=old_file("out.h5"), whole=True),
        case("predict-npy", "predict {base}/run --input {base}/train.csv --output out.npy"),
        case("predict-stdout", "predict {base}/run --input {base}/train.csv --format jsonl"),
        case("verify-resume", "verify-resume {base}/model.yaml --epochs 1 --steps 2 --folder .", "ours", "fit:ours",
             normal=no_numbers, sample=3, step=20),
        case("reproduce", "reproduce {base}/run", normal=no_numbers, sample=4, step=3),
        case("gradcheck", "gradcheck {base}/model.yaml --elements 1 --batch 2"),
        case("time", "time {base}/model.yaml --steps 1", normal=first_words),
        case("debug", "debug {base}/model.yaml"),
        case("debug-run", "debug {base}/run --step 8", "ours", *child),
        case("help", "help"),
        case("help-layer", "help Dense"),
        case("help-key", "help fit.batch_size"),
        case("init", "init --kind table --data {base}/train.csv --output new.yaml"),
        case("doctor", "doctor --folder .", "ours", "--h5-child:hdf5", normal=first_words, whole=True),
        case("completion", "completion bash"),
        case("man", "man"),
        case("schema", "schema --output schema.json", prepare=old_file("schema.json")),
        case("schema-stdout", "schema", step=20),
    ]


class Server:
    """dltrain_faults, started once, forking a process for each fault."""

    def __init__(self, case, place):
        self.place = place
        place.mkdir()
        environ = {**os.environ, **SANITIZER, "DLTRAIN_FAULT_SERVE": str(SECONDS), "DLTRAIN_FAULT_ALLOC_PROOF": str(place / "proof"),
                   "XDG_CACHE_HOME": str(place / "work" / "cache"), "TMPDIR": str(place / "work")}
        self.process = subprocess.Popen(dltrain.command(*case.words, program=sweep.FAULTS), stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE, env=environ, text=True)
        self.work, self.stopped = place / "work", place / "stopped"
        self.case = case

    def fresh(self):
        shutil.rmtree(self.work, ignore_errors=True)
        if self.stopped.exists():
            shutil.copytree(self.stopped, self.work, symlinks=True)
            return
        self.work.mkdir()
        if self.case.prepare:
            self.case.prepare(self.work)
        if self.case.fits:  # the files of callbacks lie beside the model file: each server has one
            for name in ("model.yaml", "packed.yaml"):
                (self.work / name).write_text((self.case.base / name).read_text().replace("{data: .}", f"{{data: {self.case.base}}}"))
        if self.case.resumes:
            result = dltrain.run(*self.case.words, "--stop-after", 5, cwd=self.work)
            if result.returncode != dltrain.SAVED:
                raise RuntimeError(result.stderr)
            shutil.copytree(self.work, self.stopped, symlinks=True)

    def run(self, fault):
        """One run in the work folder: exit code (negative: signal), allocations, refused, refused to libyaml."""
        self.process.stdin.write(f"{fault}\t{self.work}\n")
        self.process.stdin.flush()
        answer = self.process.stdout.readline().split()
        if len(answer) != 4:
            raise RuntimeError(f"the server of {self.case.name} ended")
        status, calls, refused, yaml = map(int, answer)
        return os.waitstatus_to_exitcode(status), calls, refused, yaml

    def text(self, stream):
        return pathlib.Path(f"{self.work}.{stream}").read_text(errors="replace")

    def close(self):
        self.process.stdin.close()
        self.process.wait()
        self.process.stdout.close()


def tree(folder):
    """name -> digest of everything in a folder."""
    return {str(p.relative_to(folder)): hashlib.sha256(p.read_bytes()).hexdigest() if p.is_file() else "folder"
            for p in sorted(folder.rglob("*"))}


FIT_OUTCOME = ("run/history.csv", "run/metrics.jsonl", "log.csv", "mine-1.weights.h5", "mine-2.weights.h5")
FIT_MAY_HOLD = re.compile(r"run(/checkpoints(/(step-\d{12}|best|final|last)\.weights\.h5)?|/(config\.yaml|history\.csv|log\.txt|metrics\.jsonl|"
                          r"plan\.json|run\.json|timing\.jsonl))?|log\.csv|mine-\d\.weights\.h5|(model|packed)\.yaml|cache(/dltrain(/[^/]*\.pack)?)?")


def results(case, server):
    """What an undisturbed run leaves, as far as it is the same each time."""
    left = tree(server.work)
    if case.fits:
        weights = dltrain.info(server.work / "run").get("weights") if "run/run.json" in left else None
        final = "run/checkpoints/final.weights.h5" in left  # the run's place is in it: its bytes are not the same everywhere
        return {"weights": weights, "final": final, **{name: left.get(name) for name in FIT_OUTCOME}}
    if case.words[0] == "verify-resume":
        left = {}
    return {"stdout": case.normal(server.text("out")), "files": left}


def is_told(case, server, seen):
    """Whether results differ only by a callback's checkpoint, which was not written, and was said not to be: training goes on."""
    if "not saved, training goes on" not in server.text("err"):
        return False
    return all(seen[name] == digest or (seen[name] is None and name.startswith("mine-"))
               for name, digest in case.reference.items())


def is_verdict(case, server):
    """Whether verify-resume says rightly that a run, one of whose fits was refused memory, lacks a callback's checkpoint."""
    lines = [line for line in server.text("out").splitlines() if line.startswith("  ")]
    return case.words[0] == "verify-resume" and lines and all(
        re.fullmatch(r"  2-mine-\d\.weights\.h5: only one run wrote it", line) for line in lines)


def error_lines(case, server):
    """What says that something is wrong: lines of standard error, and of check's JSON on standard output."""
    lines = [line for line in server.text("err").splitlines() if re.match(r"error: |[^ ]*\.yaml:\d+:\d+: ", line)]
    lines = [line for line in lines if "warning: " not in line and "note: " not in line]
    if case.name == "check-json":
        told = [json.loads(line) for line in server.text("out").splitlines()]
        lines = [f"error: {m['text']}" for m in told if m["severity"] == "error"] + lines
    return lines


class Alloc(sweep.Sweep):
    def __init__(self):
        self.lock = threading.Lock()
        self.table = {}
        self.steps = []  # of --full: who is not tried at every place, and the step
        self.numbers = iter(range(1 << 30))
        super().__init__("alloc", __doc__.splitlines()[0], self.add_arguments)

    @staticmethod
    def add_arguments(parser):
        parser.add_argument("--every", type=int, default=1, help="of --full: only every Nth place, from one drawn")
        parser.add_argument("--whole", action="store_true", help="with --full: at every place of our allocator, in the cases too that try some only; half an hour more")
        parser.add_argument("--only", help="these cases, separated by commas")
        parser.add_argument("--at", metavar="CASE/PROCESS:WHO:N[+]", help="this one place, as a message names it")

    def server(self, case):
        with self.lock:
            number = next(self.numbers)
        return Server(case, self.base / f"server-{number}")

    def note(self, key, code, refused, yaml):
        with self.lock:
            self.count("places" if refused else "not_reached")
            self.count("refused", refused)
            self.count("refused_yaml", yaml)
            row = self.table.setdefault(key, {"places": 0, "refused": 0, "codes": {}})
            row["places"] += refused > 0
            row["refused"] += refused
            row["codes"][code] = row["codes"].get(code, 0) + (refused > 0)

    def complain(self, case, fault, what, server):
        with self.lock:
            shown = "".join(f"\n    | {line}" for line in server.text("err").splitlines()[:40])
            self.lost(f"--at {case.name}/{fault}: {what}{shown}")

    def learn(self, case):
        """The undisturbed run: its results, and how often each of `who` allocates."""
        server = self.server(case)
        counts = {}
        for who in case.who:
            server.fresh()
            code, calls, _, _ = server.run(f"{who}:0")
            if code != case.code:
                raise RuntimeError(f"{case.name} undisturbed ends with {code}: {server.text('err')}")
            seen = results(case, server)
            if case.reference is not None and seen != case.reference:
                raise RuntimeError(f"{case.name} undisturbed is not the same twice")
            case.reference, counts[who] = seen, calls
        case.reference_errors = error_lines(case, server)
        server.close()
        return counts

    def judge(self, case, server, fault, before, code, refused):
        """Whether what was left is as promised."""
        errors = error_lines(case, server)
        if code < 0:
            return f"no end after {SECONDS} s" if code == -14 else f"died of signal {-code}"
        if code == case.code:
            if errors != case.reference_errors:
                return f"ends with {code} and says {errors}"
            seen = results(case, server)
            if seen != case.reference and not (case.fits and is_told(case, server, seen)):
                return f"ends with {code}, and its results are others"
            return None
        if refused == 0:
            return f"ends with {code} although nothing was refused"
        if code == dltrain.FAILED and fault.startswith("fit:") and is_verdict(case, server):
            return None
        if code != OUT_OF_MEMORY:
            return f"ends with {code}"
        shows_more = case.code or case.words[0] in ("verify-resume", "reproduce")  # mistakes of a file; what a fit of its own said
        last = errors[-1] if errors else ""
        if len(errors) != 1 and not (shows_more and last.startswith(("error: out of memory", "error: fit ended with 3"))):
            return f"{len(errors)} error messages"
        left = tree(server.work)
        if not case.fits:
            if case.words[0] == "reproduce":  # keeps the run that it made, to look at
                left = {name: digest for name, digest in left.items() if not name.startswith("dltrain-reproduce-")}
            return None if left == before else f"files changed: {sorted(set(left.items()) ^ set(before.items()))}"
        strange = [name for name in left if not FIT_MAY_HOLD.fullmatch(name)]
        if strange:
            return f"leaves {strange}"
        if self.full and self.random.random() > RESUMED:
            return None
        again = server.run(f"{case.who[0]}:0")[0]
        if again != 0:
            return f"the same command again ends with {again}: {server.text('err')}"
        seen = results(case, server)
        if seen != case.reference:
            return f"the same command again ends elsewhere: {sorted(k for k in seen if seen[k] != case.reference[k])}"
        with self.lock:
            self.count("resumed")
        return None

    def attempt(self, case, server, who, nth, later):
        fault = f"{who}:{nth}{'+' if later else ''}"
        server.fresh()
        before = tree(server.work)
        code, _, refused, yaml = server.run(fault)
        self.note((case.name, who, later), code, refused, yaml)
        said = server.text("err")
        wrong = self.judge(case, server, fault, before, code, refused)
        if wrong:
            pathlib.Path(f"{server.work}.err").write_text(said)
            self.complain(case, fault, wrong, server)
        return refused

    def block(self, case, who, places, beyond):
        """Tries these (N, later), and then, if `beyond`, further until nothing is refused any more."""
        server = self.server(case)
        try:
            for nth, later in places:
                self.attempt(case, server, who, nth, later)
            if beyond:
                nth, later = places[-1]
                while self.attempt(case, server, who, nth := nth + 1, later):
                    pass
        finally:
            server.close()
            shutil.rmtree(server.place, ignore_errors=True)

    def tasks(self, case, counts):
        for who, calls in counts.items():
            if calls == 0:
                self.lost(f"{case.name}: {who} does not allocate: nothing is swept")
                continue
            if not self.full:
                drawn = [(self.random.randint(1, calls), self.random.random() < 0.5) for _ in range(self.arguments.count or self.sample(case.sample))]
                yield case, who, drawn, False
                continue
            whole = case.whole or (who.endswith(":ours") and "child" not in who)
            step = (1 if whole and self.arguments.whole else case.step if whole else max(1, calls // FEW)) * self.arguments.every
            self.count("allocators")
            if step == 1:
                self.count("at_every_place")
            else:
                self.steps.append(f"{case.name} {who} {step}")
            for later in (False, True):
                first = self.random.randint(1, step)
                places = [(n, later) for n in range(first, calls + 1, step)]
                for at in range(0, len(places), BLOCK):
                    yield case, who, places[at:at + BLOCK], step == 1 and at + BLOCK >= len(places)

    def run(self):
        only = self.arguments.only
        chosen = [c for c in cases(self.base) if only is None or c.name in only.split(",")]
        if self.arguments.at:
            name, fault = self.arguments.at.split("/", 1)
            chosen = [c for c in cases(self.base) if c.name == name]
        tasks = []
        for case in chosen:
            counts = self.learn(case)
            print(f"alloc: {case.name}: " + ", ".join(f"{who} {calls}" for who, calls in counts.items()), flush=True)
            if self.arguments.at:
                who, number = fault.rsplit(":", 1)
                tasks.append((case, who, [(int(number.rstrip("+")), number.endswith("+"))], False))
            else:
                tasks.extend(self.tasks(case, counts))
        if self.arguments.whole:
            self.name = "alloc_whole"
            self.counts["cases"] = ", ".join(case.name for case in chosen)
        if self.full:
            self.counts["steps"] = ", ".join(self.steps) or "none"
        with concurrent.futures.ThreadPoolExecutor(AT_ONCE) as pool:
            for future in [pool.submit(self.block, *task) for task in tasks]:
                future.result()
        for (name, who, later), row in sorted(self.table.items()):
            codes = " ".join(f"{code}:{count}" for code, count in sorted(row["codes"].items()) if count)
            print(f"alloc: {name:15} {who:15} {'from N on' if later else 'once':9} places {row['places']:6} refused {row['refused']:8}  "
                  f"exit codes {codes}")

    def main(self):
        with tempfile.TemporaryDirectory(prefix="dltrain-alloc-", dir=dltrain.FOLDER) as folder:
            self.base = pathlib.Path(folder)
            make_data(self.base)
            result = dltrain.run("fit", self.base / "model.yaml", "--run", self.base / "run")
            if result.returncode != dltrain.DONE:
                raise RuntimeError(result.stderr)
            kept = tree(self.base / "run")
            self.run()
            if tree(self.base / "run") != kept:
                self.lost("a run that was only to be read has changed")


if __name__ == "__main__":
    a = Alloc()
    a.main()
    a.finish("refused")
