"""Counts: a steady step allocates nothing and makes no system call (decisions 21); the plan's bytes are the bytes that are taken;
checking a model makes no weights."""
import collections
import json
import os
import pathlib
import re
import shutil
import subprocess
import unittest

import dltrain
from support import Program, main, program, shipped
from test_determinism import LSTM, TABLE, TRANSFORMER, table

STEPS = 40
FUTEX = "futex"  # the one call that a thread may make whose spin ran out


def sanitized():
    """The program brings an allocator of its own, and calls of its own."""
    return re.search(r"lib[at]san", subprocess.run(["ldd", dltrain.PROGRAM], text=True, stdout=subprocess.PIPE, check=False).stdout)


class Counts(Program):
    def models(self):
        """Name, file, words: data in memory, all kinds of layers. No validation: what is counted is the steps."""
        self.file("table.csv", table(300))
        steady = ("-o", "data.validation=null", "-o", "fit.epochs=1")
        yield "digits-cnn", shipped("digits-cnn.yaml"), (*steady, "-o", "fit.callbacks=[]")
        for name, text in (("lstm", LSTM), ("transformer", TRANSFORMER), ("table", TABLE)):
            yield name, self.file(name + ".yaml", text), steady

    # ---- allocations ----

    def counted(self, command, *words):
        """What the C library was asked for by a run of the program."""
        library, counts = self.folder / "count.so", self.folder / "count.json"
        if sanitized():
            self.skipTest("a sanitizer has an allocator of its own")
        if not library.exists():
            compiler = os.environ.get("CC") or shutil.which("cc")
            if compiler is None:
                self.skipTest("no C compiler")
            subprocess.run([compiler, "-O2", "-shared", "-fPIC", "-o", library, pathlib.Path(__file__).with_name("count.c")],
                           check=True)
        counts.unlink(missing_ok=True)
        self.good(command, *words, LD_PRELOAD=str(library), COUNT_FILE=str(counts), COUNT_COMMAND=command)
        return json.loads(counts.read_text())

    def trained(self, model, words, steps):
        run = self.folder / "run"
        shutil.rmtree(run, ignore_errors=True)
        return self.counted("fit", model, "--run", run, "-v", 2, *words, "-o", f"fit.steps_per_epoch={steps}")

    def test_a_step_allocates_nothing(self):
        """In no thread, the C library's own calls included: a run of twice the steps allocates as often."""
        for name, model, words in self.models():
            once, twice = (self.trained(model, words, steps) for steps in (STEPS, 2 * STEPS))
            self.assertGreater(once["allocations"], 100, "nothing was counted")
            self.assertEqual(once["allocations"], twice["allocations"], f"{name}: allocations in {STEPS} and {2 * STEPS} steps")
            self.assertEqual(once["mapped"], twice["mapped"], name)

    def test_time_says_so(self):
        for name, model, words in self.models():
            timing = json.loads(self.good("time", model, "--steps", 20, "--format", "json", *words))
            self.assertEqual(timing["allocations"], 0, name)
            self.assertEqual(timing["steps"], 20)
            self.assertGreaterEqual(timing["launches"], 1)
            alone = json.loads(self.good("time", model, "--steps", 20, "--threads", 1, "--format", "json", *words))
            self.assertEqual(alone["futex_calls"], 0, name + ": one thread waits for nobody")

    # ---- system calls ----

    def calls(self, model, words, steps):
        """Calls by name, of all threads and processes of a run."""
        counts, run = self.folder / "calls", self.folder / "run"
        shutil.rmtree(run, ignore_errors=True)
        self.good("fit", model, "--run", run, "-v", 2, *words, "-o", f"fit.steps_per_epoch={steps}",
                  before=("strace", "-f", "-c", "-U", "name,calls", "-o", counts), LC_ALL="C")
        return collections.Counter({name: int(n) for name, n in re.findall(r"^ *(\w+) +(\d+)$", counts.read_text(), re.M)
                                    if name != "total"})

    def trace_or_skip(self):
        if shutil.which("strace") is None:
            self.skipTest("no strace")
        if subprocess.run(["strace", "-f", "-o", "/dev/null", "true"], stderr=subprocess.DEVNULL, check=False).returncode != 0:
            self.skipTest("tracing is not permitted here")
        if sanitized():
            self.skipTest("a sanitizer makes calls of its own")

    def test_a_step_makes_no_system_call(self):
        self.trace_or_skip()
        for name, model, words in self.models():
            # glibc gives and takes a few pages as threads happen to end: the least of some runs is what there must be
            more = []
            for _ in range(5):
                once, twice = (self.calls(model, words, steps) for steps in (STEPS, 2 * STEPS))
                self.assertGreater(once["openat"], 0, "nothing was counted")
                more.append({c: twice[c] - once[c] for c in {*once, *twice} - {FUTEX} if twice[c] > once[c]})
                if not more[-1]:
                    break
            self.assertEqual(more[-1], {}, f"{name}: calls that {STEPS} steps more made, in each of 5 trials: {more}")

    def test_records_in_a_file_are_read_in_each_step(self):
        """The counter to the test above: calls that are made are seen."""
        self.trace_or_skip()
        self.file("table.csv", table(30000))
        words = ("-o", "data.validation=null", "-o", "fit.epochs=1", "-o", "data.memory=1048576")
        model = self.file("table.yaml", TABLE)
        self.calls(model, words, 1)  # the cache file is made
        once, twice = (self.calls(model, words, steps) for steps in (STEPS, 2 * STEPS))
        self.assertGreaterEqual(twice["pread64"] - once["pread64"], STEPS)

    # ---- growth ----

    def instructions(self, command, layers):
        """What the program executes for a model of so many layers: the same in each run, whatever else the machine does."""
        dense = "  - Dense: {units: 16, activation: relu}\n"
        model = self.file("deep.yaml", f"name: deep\nlayers:\n  - Input: {{shape: [16]}}\n{dense * layers}"
                          "optimizer: Adam\nloss: mse\nfit: {batch_size: 8, epochs: 1}\n")
        done = self.start(command, model, "--no-data", DLTRAIN_ISA="avx2",  # valgrind's processor has no AVX-512
                          before=("valgrind", "--tool=callgrind", f"--callgrind-out-file={self.folder}/callgrind"))
        self.expect(done, dltrain.DONE)
        return int(re.search(r"Collected : (\d+)", done.stderr).group(1))

    def test_work_grows_with_the_layers_and_not_faster(self):
        """Ten times the layers take ten times the instructions to check and to plan; a hundred times would be quadratic."""
        if shutil.which("valgrind") is None:
            self.skipTest("no valgrind")
        if sanitized():
            self.skipTest("valgrind does not run what a sanitizer built")
        if "avx2" not in self.instruction_sets():
            self.skipTest("no AVX2")
        for command in ("check", "plan"):
            few, many = (self.instructions(command, layers) for layers in (300, 3000))
            self.assertLess(many, 12 * few, command)

    # ---- memory ----

    def test_the_plan_is_what_is_taken(self):
        """`plan` says to the byte what fit maps, in one piece, whatever the model and the number of threads."""
        for threads in (1, 3):
            for name, model, words in self.models():
                words = (*words, "--threads", threads)
                planned = self.plan(model, *words)
                taken = self.trained(model, words, 2)["mapped"]
                self.assertEqual(taken.count(planned["bytes"]), 1, f"{name}: {planned['bytes']} bytes are planned, {taken} taken")
                storage, pages = planned["storage"], lambda size: -(-size // 4096) * 4096
                least = sum(pages(storage[part]) for part in ("parameters", "gradients", "state", "activations"))
                self.assertGreaterEqual(planned["bytes"], least + storage["input_slots"] * pages(storage["input"]))
                self.assertGreaterEqual(storage["activations"], program(planned)["transient_bytes"])
                others = [size for size in taken if size > planned["bytes"]]
                self.assertLessEqual(sum(others), 64 << 20, f"{name}: mapped beside the plan: {others}")

    def hundred_layers(self):
        """A model of 100 layers with 105 MB of weights."""
        layers = "".join(f"  - Dense: {{units: 512, activation: relu, name: layer_{i}}}\n" for i in range(100))
        return self.file("hundred.yaml", f"name: hundred\nlayers:\n  - Input: {{shape: [512]}}\n{layers}")

    def test_a_check_makes_no_weights(self):
        model = self.hundred_layers()
        for command, words in (("check", ()), ("summary", ()), ("plan", ("--threads", 1))):
            asked = self.counted(command, "--no-data", *words, model)
            self.assertLess(asked["allocated"] + sum(asked["mapped"]), 24 << 20, f"{command} of a model with 105 MB of weights")
        self.assertIn("26,265,600 parameters", self.good("check", "--no-data", model))


if __name__ == "__main__":
    main()
