"""A run that does not fit into memory is refused before it begins, in place of being killed by the kernel in the middle."""

import re

from dltrain import DONE, TestCase, main, run

NO_MEMORY = 3
UNITS = {"B": 1, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30, "TiB": 2**40}

MODEL = """data:
  train: {{Synthetic: {{samples: 64, shape: [4096]}}}}
layers:
  - Dense: {{units: {units}}}
  - Dense: {{units: 10, activation: softmax}}
loss: sparse_categorical_crossentropy
"""


class Memory(TestCase):
    def test_a_model_that_is_too_large_is_refused(self):
        told = re.search(r"^memory\s+\S+\s+([\d.,]+) (\w+) available", run("doctor").stdout, re.M)
        if told is None:
            self.skipTest("the machine does not say how much memory it has")
        available = float(told.group(1).replace(",", "")) * UNITS[told.group(2)]
        weight = 4096 * 4 * 3  # a unit's weights, their gradients, RMSprop's averages
        model = self.folder / "model.yaml"
        model.write_text(MODEL.format(units=min(16777216, int(1.2 * available / weight))))
        self.expect(run("check", model), DONE)
        result = self.expect(run("fit", model, "--run", self.folder / "run"), NO_MEMORY)
        self.assertRegex(result.stderr, r"of memory are needed")
        self.assertNotIn("epoch", result.stdout)


if __name__ == "__main__":
    main()
