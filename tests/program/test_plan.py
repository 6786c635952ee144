"""What `plan` says of the shipped models, and that it is true: fused programs, one convolution chain in blocks of channels, kernels
with their rivals; without the fusion pass there are more kernels and the same bits."""
import json
import os
import re

from support import Program, info, main, program, shipped, weights

PHASES = ("forward", "backward", "update")
CONVOLUTIONS = ("conv", "conv_dx", "conv_dw")
# Shapes of the shipped data, where the data are not at hand.
MADE_UP = {
    "digits-cnn": (),
    "mnist-cnn": ("-o", "data.train={Synthetic: {task: images, samples: 1280}}", "-o", "data.test=null"),
    "shakespeare-transformer": ("-o", "data.train={Synthetic: {task: sequence, samples: 640, shape: [64], classes: 65}}"),
}


def words_for(name):
    return () if "DLTRAIN_DATA" in os.environ else MADE_UP[name]


def fused(kernel):
    """Two or more elementwise operations or reductions in one kernel, or any that a product does on its way out."""
    return kernel.get("operations", 0) >= 2 or kernel.get("epilogue_operations", 0) >= 1


class Plan(Program):
    def setUp(self):
        super().setUp()
        self.plans = {name: self.plan(shipped(name + ".yaml"), *words_for(name)) for name in MADE_UP}

    def kernels(self, name):
        return program(self.plans[name])["kernels"]

    def test_mixed_precision_says_what_it_gains(self):
        for isa in self.instruction_sets():
            words = (*words_for("shakespeare-transformer"), "-o", "precision=mixed_bfloat16")
            text = self.good("plan", shipped("shakespeare-transformer.yaml"), "--isa", isa, *words)
            low, products = (int(n) for n in re.search(r"precision +mixed_bfloat16: (\d+) of (\d+) products", text).groups())
            self.assertGreater(products, 20)
            self.assertEqual(low, products if isa == "avx512_bf16" else 0, isa)
            self.assertEqual("no faster than float32" in text, low == 0)

    def test_programs_are_fused_in_each_phase(self):
        for name in MADE_UP:
            for phase in PHASES:
                of_phase = [k for k in self.kernels(name) if k["phase"] == phase]
                programs = [k for k in of_phase if fused(k)]
                self.assertGreaterEqual(len(programs), 3, f"{name}, {phase}")
                self.assertEqual(program(self.plans[name])[phase]["fused"], len(programs), f"{name}, {phase}: as counted")
                self.assertEqual(program(self.plans[name])[phase]["kernels"], len(of_phase), f"{name}, {phase}: as counted")

    def test_one_chain_of_convolutions_lies_in_blocks_of_channels(self):
        for name in ("digits-cnn", "mnist-cnn"):
            kernels = self.kernels(name)
            layout = {o["value"]: o["layout"] for k in kernels for o in k["outputs"]}
            blocked = {v for v, text in layout.items() if text.startswith("blocked")}
            self.assertEqual({layout[v] for v in blocked}.__len__(), 1, "one layout for the whole chain")
            convolutions = [k for k in kernels if k["op"] in CONVOLUTIONS]
            self.assertGreaterEqual(len(convolutions), 5)
            for k in convolutions:
                touched = [layout.get(v, "") for v in k["inputs"]] + [o["layout"] for o in k["outputs"]]
                self.assertTrue(any(t.startswith("blocked") for t in touched), f"{name}: {k['layer']} {k['op']} is outside")
            # All blocked values hang together: kernels that read or write them join them into one chain.
            chain, before = {min(blocked)}, set()
            while chain != before:
                before = set(chain)
                for k in kernels:
                    near = blocked & ({*k["inputs"]} | {o["value"] for o in k["outputs"]})
                    if near & chain:
                        chain |= near
            self.assertEqual(chain, blocked, name + ": more than one chain")
            # Reorders stand at its ends: one where the forward pass leaves it, one where the backward pass enters it.
            reorders = [k for k in kernels if k["op"] == "reorder"]
            ways = sorted((k["phase"], k["inputs"][0] in blocked, k["outputs"][0]["value"] in blocked) for k in reorders)
            self.assertEqual(ways, [("backward", False, True), ("forward", True, False)], name)

    def test_products_and_convolutions_have_rivals(self):
        for name in MADE_UP:
            products = [k for k in self.kernels(name) if k["op"] in ("matmul", *CONVOLUTIONS)]
            self.assertTrue(products)
            for k in products:
                own = [r for r in k["rejected"] if not r["kernel"].endswith("_reference")]
                self.assertGreaterEqual(len(own), 1, f"{name}: {k['layer']} {k['op']} had no choice but {k['kernel']}")
                for r in k["rejected"]:
                    self.assertNotEqual(r["kernel"], k["kernel"])
                    self.assertTrue(r["why"], f"{name}: no reason why not {r['kernel']}")

    def test_people_are_told_the_same(self):
        for name in MADE_UP:
            text = self.good("plan", shipped(name + ".yaml"), *words_for(name))
            for phase in PHASES:
                self.assertRegex(text, rf"{phase} +{program(self.plans[name])[phase]['kernels']} kernels")
            self.assertIn(f"{self.plans[name]['bytes']:,} bytes", text)
            self.assertLessEqual(max(map(len, text.splitlines())), 80, text)
        self.assertRegex(self.good("plan", shipped("digits-cnn.yaml")), r"not gemm_openblas \(.+\)")

    def test_fusion_changes_the_number_of_kernels_and_no_bit(self):
        short = ("-o", "fit.epochs=1", "-o", "fit.steps_per_epoch=6", "-o", "data.validation=null", "-o", "data.test=null",
                 "-o", "fit.callbacks=[]", "-o", "fit.batch_size=16")
        for name in MADE_UP:
            made_up = MADE_UP[name]  # always: the bits do not depend on whose data they are
            with_it = self.fit(shipped(name + ".yaml"), *made_up, *short)
            without = self.fit(shipped(name + ".yaml"), *made_up, *short, "--no-fusion")
            counts = []
            for run in (with_it, without):
                plan = program(json.loads((run / "plan.json").read_text()))
                counts.append([plan[phase]["kernels"] for phase in PHASES])
            for phase, few, many in zip(PHASES, *counts):
                self.assertLess(few, many, f"{name}, {phase}: kernels with and without fusion")
            self.assertEqual(weights(with_it), weights(without), name)
            self.assertEqual((with_it / "metrics.jsonl").read_bytes(), (without / "metrics.jsonl").read_bytes(), name)

    def test_the_run_keeps_its_plan(self):
        run = self.fit(shipped("digits-cnn.yaml"), "-o", "fit.epochs=1")
        self.assertEqual(json.loads((run / "plan.json").read_text()), self.plans["digits-cnn"])
        self.assertEqual(info(run)["state"], "done")

    def test_dumps(self):
        model = shipped("digits-cnn.yaml")
        built, passed = (self.good("plan", model, "--dump", stage) for stage in ("built", "passed"))
        self.assertNotIn("expr", built)
        self.assertIn("blocked16", passed)
        self.assertTrue(self.good("plan", model, "--dump", "passed-dot").startswith("digraph"))
        nodes = [int(re.search(r"(\d+) nodes", text).group(1)) for text in (built, passed)]
        self.assertLess(nodes[1], nodes[0])


if __name__ == "__main__":
    main()
