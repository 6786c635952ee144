"""Screens that people read: 80 columns do, and the figures agree with those that machines read."""
import json
import re
import shutil

import dltrain
from support import Program, main, shipped
from test_determinism import LSTM, TABLE, TRANSFORMER, table


class Screens(Program):
    def models(self):
        self.file("table.csv", table(200))
        yield shipped("digits-cnn.yaml")
        for name, text in (("lstm", LSTM), ("transformer", TRANSFORMER), ("table", TABLE)):
            yield self.file(name + ".yaml", text)

    def narrow(self, text):
        for line in text.splitlines():
            self.assertLessEqual(len(line), 80, text)
            self.assertEqual(line, line.rstrip(), "blanks at the end of a line")
        return text

    def test_eighty_columns_do(self):
        for model in self.models():
            for words in (["plan"], ["plan", "--kernels"], ["summary"], ["time", "--steps", 2], ["debug"], ["debug", "--nodes"]):
                with self.subTest(words, model=str(model)):
                    self.narrow(self.good(words[0], model, *words[1:]))

    def test_summary_shows_containers_and_copies_once(self):
        model = self.file("m.yaml", """
name: m
layers:
  - Input: {shape: [6]}
  - Repeat:
      times: 3
      layers:
        - Residual: {layers: [Dense: {units: 6}]}
  - Dense: {units: 2, trainable: false}
""")
        rows = [line.split() for line in self.good("summary", "--no-data", model).splitlines()]
        names = [row[0] for row in rows[1:-3]]
        self.assertEqual(names[-4:], ["repeat", "residual", "dense", "dense"])
        self.assertIn("126", rows[names.index("repeat") + 1])  # 3 (6 6 + 6)
        self.assertEqual(rows[len(names)][-1], "frozen")
        told = json.loads(self.good("summary", "--no-data", "--format", "json", model))
        self.assertEqual((told["parameters"], told["trainable"]), (140, 126))

    def test_fit_tells_what_lies_in_memory(self):
        """The records are a line of their own: in memory, and where they do not fit."""
        self.file("table.csv", table(30000))
        model = self.file("table.yaml", TABLE)
        for memory, place in ((None, r"[0-9.]+ [KM]iB in memory$"), (1 << 20, r"0 B in memory; train's: cache file .+")):
            words = ["-o", "fit.epochs=1", "-o", "fit.steps_per_epoch=2", *(["-o", f"data.memory={memory}"] if memory else [])]
            done = self.expect(self.start("fit", model, "--run", self.folder / "run", *words), dltrain.DONE)
            self.assertRegex(done.stderr, re.compile(r"^records +" + place, re.M))
            shutil.rmtree(self.folder / "run")

    def test_libraries_of_the_working_directory_are_left_alone(self):
        """A run path with an empty part would load them."""
        for name in ("libz.so.1", "libc.so.6", "libyaml-0.so.2", "libzip.so.4"):
            self.file(name, "not a library")
        self.good("--version")


if __name__ == "__main__":
    main()
