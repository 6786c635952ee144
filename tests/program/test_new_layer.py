"""docs/adding-a-layer.md, followed to the letter: one new file, one new row, and the program has the layer. Only what that touches
is compiled; the rest comes from the build folder. The layer is there in help, schema, check, fit, gradcheck and in the tests."""
import json
import pathlib
import re
import shlex
import shutil
import subprocess

import dltrain
from support import Program, main

MODEL = """
name: scaled
data: {train: {Synthetic: {task: regression, samples: 40, shape: [6]}}}
layers:
  - Dense: {units: 5, activation: tanh}
  - ScaleShift: {activation: sigmoid, scale_regularizer: {L2: {l2: 0.1}}}
  - ScaleShift: {use_shift: false}
  - Dense: {units: 1}
optimizer: SGD
loss: mean_squared_error
fit: {epochs: 2, batch_size: 8}
"""


def block(page, path):
    """The code block below the line that names a file."""
    found = re.search(rf"^`{re.escape(path)}`[^\n]*\n\n```c\n(.*?)^```$", page, re.M | re.S)
    if found is None:
        raise AssertionError(f"docs/adding-a-layer.md has no block for {path}")
    return found.group(1)


class NewLayer(Program):
    def setUp(self):
        super().setUp()
        commands = dltrain.BUILD / "compile_commands.json"
        if not commands.exists():
            self.skipTest("no compile_commands.json in " + str(dltrain.BUILD))
        self.commands = {c["file"]: shlex.split(c["command"]) for c in json.loads(commands.read_text())}

    def shell(self, words):
        done = subprocess.run(list(map(str, words)), cwd=dltrain.BUILD, text=True, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, check=False)
        self.assertEqual(done.returncode, 0, " ".join(map(str, words)) + "\n" + done.stdout)
        return done.stdout

    def compile(self, source, like):
        """An object of a source, with the command of one that the build folder knows; the copied headers come first."""
        words = list(self.commands[str(dltrain.SOURCE / like)])
        target = self.folder / (pathlib.Path(source).stem + ".o")
        words[words.index("-o") + 1], words[words.index("-c") + 1] = target, source
        self.shell([words[0], f"-I{self.folder}", *words[1:]])
        return target

    def link(self, target, objects, instead_of=None):
        """A program of the build folder, linked again with more objects before its libraries."""
        if (dltrain.BUILD / "build.ninja").exists():
            text = self.shell(["ninja", "-t", "commands", target]).splitlines()[-1]
        else:
            folder, name = pathlib.Path(target).parent, pathlib.Path(target).name
            text = (dltrain.BUILD / folder / "CMakeFiles" / (name + ".dir") / "link.txt").read_text()
        words = [w for w in shlex.split(text) if w not in (":", "&&")]
        result = self.folder / ("new-" + pathlib.Path(target).name)
        at = words.index("-o")
        words[at + 1] = result
        words = [w for w in words if instead_of is None or not str(w).endswith(instead_of)]
        at = words.index("-o")
        self.shell([*words[:at], *objects, *words[at:]])
        return result

    def test_one_file_and_one_row(self):
        if (dltrain.BUILD / "build.ninja").exists() and shutil.which("ninja") is None:
            self.skipTest("no ninja")
        page = (dltrain.SOURCE / "docs" / "adding-a-layer.md").read_text()
        layers, tests = self.folder / "layers", self.folder / "tests" / "unit"
        layers.mkdir()
        tests.mkdir(parents=True)
        (layers / "scale_shift.c").write_text(block(page, "layers/scale_shift.c"))
        (tests / "test_scale_shift.c").write_text(block(page, "tests/unit/test_scale_shift.c"))
        rows = (dltrain.SOURCE / "layers" / "layers.def").read_text()
        row = block(page, "layers/layers.def")
        self.assertEqual(len(row.splitlines()), 1)
        (layers / "layers.def").write_text(rows + row)

        registry = [self.compile(layers / "scale_shift.c", "layers/dense.c"),
                    self.compile(dltrain.SOURCE / "layers" / "layer.c", "layers/layer.c")]
        program = self.link("dltrain", registry)

        def good(*words):
            return self.expect(dltrain.run(*words, program=program, cwd=self.folder), dltrain.DONE).stdout

        self.assertIn("a learned factor and offset for each channel", good("help", "ScaleShift"))
        self.assertIn('"ScaleShift"', good("schema"))
        model = self.file("model.yaml", MODEL)
        good("check", model)
        self.assertRegex(good("summary", model), r"scale_shift +ScaleShift +\(5,\) +10 ")
        text = good("gradcheck", model)
        for weight in ("scale_shift/scale", "scale_shift/shift", "scale_shift_1/scale"):
            self.assertRegex(text, rf"(?m)^{weight}\b")
        self.assertNotIn("scale_shift_1/shift", text)
        good("fit", model, "--run", self.folder / "run")
        wrong = self.file("wrong.yaml", MODEL.replace("use_shift: false", "use_shfit: false"))
        self.assertIn("use_shift", self.expect(dltrain.run("check", wrong, program=program), dltrain.CONFIG).stderr)
        self.expect(dltrain.run("check", model), dltrain.CONFIG)  # the program without the row

        unit = self.compile(tests / "test_scale_shift.c", "tests/unit/test_layers_examples.c")
        tests_of = {"new layer": self.link("tests/test_layers_examples", [unit, *registry], "test_layers_examples.c.o"),
                    "examples": self.link("tests/test_layers_examples", registry)}
        for name, test in tests_of.items():
            with self.subTest(name):
                done = subprocess.run([test], cwd=dltrain.SOURCE, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                                      timeout=600, check=False)
                self.assertEqual(done.returncode, 0, done.stdout)


if __name__ == "__main__":
    main()
