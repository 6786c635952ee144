"""`tune: true` chooses kernels by timing them, writes its choice into the run and its checkpoints, and never chooses again for that run:
what a stopwatch says once decides about bits, what it says later does not."""
import json

import yaml
from support import Program, info, main, program, shipped, weights

DIGITS = shipped("digits-cnn.yaml")
SHORT = ("-o", "fit.epochs=2", "-o", "fit.steps_per_epoch=8")
TUNE = ("-o", "tune=true")
CONFIG = 2


def tuned(run):
    return yaml.safe_load((run / "config.yaml").read_text())["tuned"]


def chosen(plan):
    """Kernels of the training program, in its order."""
    return [k["kernel"] for k in program(plan)["kernels"]]


class Tune(Program):
    def test_writes_what_it_chose_into_the_run(self):
        run = self.fit(DIGITS, *SHORT, *TUNE)
        choice = tuned(run)
        self.assertGreater(len(choice), 2)
        self.assertTrue(all(key.split()[0] in ("conv", "conv_dx", "conv_dw", "matmul") for key in choice), choice)
        here = chosen(json.loads((run / "plan.json").read_text()))
        self.assertLessEqual(set(choice.values()), set(here))
        self.good("reproduce", run)

    def other_choice(self):
        """A choice that the rule does not make: {key: kernel} as text."""
        plan = self.plan(DIGITS)
        slower = {(k["op"], r["kernel"]) for k in program(plan)["kernels"] for r in k["rejected"] if r["why"] == "slower"}
        for key in tuned(self.fit(DIGITS, *SHORT, *TUNE)):
            for kernel in sorted(kernel for op, kernel in slower if op == key.split()[0]):
                text = json.dumps({key: kernel})
                if chosen(self.plan(DIGITS, "-o", f"tuned={text}")) != chosen(plan):
                    return key, kernel, text
        self.fail(f"none of {slower} can be taken anywhere")

    def test_a_run_keeps_what_it_began_with(self):
        key, kernel, text = self.other_choice()
        whole = self.fit(DIGITS, *SHORT, *TUNE, "-o", f"tuned={text}")
        self.assertEqual(tuned(whole), {key: kernel})
        run = self.folder / "stopped"
        self.start("fit", DIGITS, "--run", run, "--verbose", 0, *SHORT, *TUNE, "-o", f"tuned={text}", "--stop-after", 5)
        self.assertEqual(info(run)["state"], "stopped")
        self.good("fit", DIGITS, "--run", run, "--exact", *SHORT, *TUNE)  # does not say what it began with
        self.assertEqual(tuned(run), {key: kernel})
        self.assertEqual(weights(run), weights(whole))

    def test_a_run_that_began_by_rule_stays_there(self):
        whole = self.fit(DIGITS, *SHORT)
        run = self.folder / "stopped"
        self.start("fit", DIGITS, "--run", run, "--verbose", 0, *SHORT, "--stop-after", 5)
        said = self.start("fit", DIGITS, "--run", run, "--exact", *SHORT, *TUNE)
        self.assertIn("began with kernels chosen by rule", said.stdout + said.stderr)
        self.assertIsNone(tuned(run))
        self.assertEqual(weights(run), weights(whole))

    def test_stopped_runs_go_on_bit_for_bit(self):
        self.good("verify-resume", DIGITS, *TUNE, "--epochs", 2, "--steps", 6, "--random", 0)

    def test_a_kernel_that_is_not_there_is_refused(self):
        found = self.start("plan", DIGITS, "-o", "tuned={conv: conv_of_tomorrow}")
        self.assertEqual(found.returncode, CONFIG)
        self.assertIn("no kernel 'conv_of_tomorrow'", found.stderr)
        found = self.start("check", DIGITS, "-o", 'tuned={"nonsense": "conv_winograd", "conv 1": "conv_dx_winograd", "conv 2": "conv_winogard"}')
        self.assertEqual(found.returncode, CONFIG)
        for said in ("'nonsense' is no work that has kernels", "kernel 'conv_dx_winograd' does conv_dx, not conv", "did you mean 'conv_winograd'?"):
            self.assertIn(said, found.stderr)


if __name__ == "__main__":
    main()
