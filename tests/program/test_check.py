"""`check` with the kinds of the program: mistakes of the file and of data and shapes, in one run."""

import json
import os
import re
import subprocess

from dltrain import BUILD, CONFIG, DONE, NO_DATA, TestCase, main, run

MODEL = """name: c
data: {{train: {{CSV: {{path: rows.csv, target: {target}}}}}}}
layers: [FeatureSpace, {{Dense: {{units: 2, activation: softmax}}}}, {last}]
loss: sparse_categorical_crossentropy
metrics: [{metric}]
optimizer: {optimizer}
"""


class Check(TestCase):
    def check(self, **parts):
        (self.folder / "rows.csv").write_text("a,b,y\n" + "".join(f"{i % 7},{i % 5},{i % 2}\n" for i in range(60)))
        model = self.folder / "c.yaml"
        model.write_text(MODEL.format(**{"target": "y", "last": "Flatten", "metric": "accuracy", "optimizer": "Adam", **parts}))
        return run("check", model)

    def test_a_column_that_is_missing_is_told_beside_other_mistakes(self):
        result = self.expect(self.check(target="zz", metric="acuracy", optimizer="Adm"), CONFIG)
        for told in ("no column 'zz'", "did you mean 'accuracy'?", "did you mean 'Adam'?", "3 errors in"):
            self.assertIn(told, result.stderr)

    def test_shapes_that_clash_are_told_beside_other_mistakes(self):
        result = self.expect(self.check(last="{Conv2D: {filters: 2, kernel_size: 3}}", metric="acuracy"), CONFIG)
        for told in ("Conv2D needs (N, H, W, C), got (None, 2)", "did you mean 'accuracy'?", "2 errors in"):
            self.assertIn(told, result.stderr)

    def sections(self):
        """Every key at the top, under data and under fit, of the schema: (section, key)."""
        top = json.loads(run("schema").stdout)["properties"]

        def keys(schema):
            return [name for form in schema.get("anyOf", [schema]) for name in form.get("properties", {})]

        found = [("", key) for key in top if key not in ("include", "vars")]
        for section in ("data", "fit"):
            found += [(section, key) for key in keys(top[section])]
        self.assertGreater(len(found), 30)
        return found

    GOOD = {"": {"layers": "[{Dense: {units: 10, activation: softmax}}]", "loss": "sparse_categorical_crossentropy", "optimizer": "adam"},
            "data": {"train": "Synthetic", "validation": "{split: 0.2}"},
            "fit": {"batch_size": "8"}}

    def check_with(self, section, key, name, value):
        """`check` of a good model with one more or one other line: NAME: VALUE in place of KEY, where that has a value."""
        parts = {where: dict(lines) for where, lines in self.GOOD.items()}
        parts[section].pop(key, None)
        if (section, key) == ("", "data"):
            parts["data"] = {}
        parts[section][name] = value or self.GOOD[section].get(key) or "1"
        text = "".join(f"{k}: {v}\n" for k, v in parts[""].items())
        for where in ("data", "fit"):
            if where not in parts[""] and parts[where]:
                text += f"{where}:\n" + "".join(f"  {k}: {v}\n" for k, v in parts[where].items())
        model = self.folder / "one.yaml"
        model.write_text(text)
        return run("check", model), text

    def test_one_misspelt_key_is_one_mistake(self):
        known = self.sections()
        for section, key in known:
            for name in (key + "x", key[:-1], key.upper()):
                if (section, name) in known:
                    continue
                result, text = self.check_with(section, key, name, None)
                with self.subTest(text=text):
                    self.expect(result, CONFIG)
                    self.assertIn(f"did you mean '{key}'?", result.stderr)
                    self.assertIn("\n1 error in ", result.stderr)

    def test_a_wrong_value_anywhere_is_told(self):
        for section, key in self.sections():
            for value in ("[[1], {}]", "-7", "x y", "{a: b}", "null", ".nan", "[]", "''"):
                result, text = self.check_with(section, key, key, value)
                with self.subTest(text=text):
                    self.assertIn(result.returncode, (DONE, CONFIG, NO_DATA), result.stderr)
                    self.assertEqual(result.returncode != DONE, bool(re.search(r"\n\d+ errors?(, \d+ warnings?)? in ", result.stderr)), result.stderr)

    def test_a_wrong_key_of_a_layer_is_told_and_the_rest_looked_at(self):
        """Every key of every layer that has an example, misspelt, and with a value that no key takes."""
        definitions = json.loads(run("schema").stdout)["definitions"]
        listed = subprocess.run([os.environ.get("DLTRAIN_EXAMPLES", str(BUILD / "tests" / "list_examples"))],
                                stdout=subprocess.PIPE, check=True, text=True).stdout
        model, seen = self.folder / "layer.yaml", set()
        for example in map(json.loads, listed.splitlines()):
            kind = example["kind"]
            if kind in seen or "layers" not in example or kind + ": {" not in example["layers"]:
                continue
            seen.add(kind)
            definition = definitions[f"layer.{kind}"]
            keys = [key for form in definition.get("anyOf", [definition]) for key in form.get("properties", {})]
            for key in keys:
                for words in ([f"{key}x: 1"] if key + "x" not in keys else []) + [f"{key}: [[[1]], {{}}]"]:
                    if re.search(rf"\b{key}:", example["layers"]) and not words.startswith(key + "x"):
                        continue  # it would stand twice
                    layers = example["layers"].replace(kind + ": {", f"{kind}: {{{words}, ", 1)
                    shape = json.dumps(example["shape"][1:])
                    model.write_text(f"layers: [{{Input: {{shape: {shape}, dtype: {example['dtype']}}}}}, {layers[1:-1]}, Flatten, {{Dense: {{units: 3}}}}]\n"
                                     "loss: mse\n")
                    result = run("check", model)
                    with self.subTest(text=model.read_text()):
                        self.expect(result, CONFIG)
                        self.assertRegex(result.stderr, rf"unknown key '{key}x'|{key}.*must be|takes|expected")
        self.assertGreater(len(seen), 30)

    def test_data_alone_are_told_by_their_own_code(self):
        (self.folder / "c.yaml").write_text("x")
        model = self.folder / "empty.yaml"
        (self.folder / "empty.csv").write_text("a,y\n")
        model.write_text("data: {train: {CSV: {path: empty.csv, target: y}}}\nlayers: [FeatureSpace, {Dense: {units: 2}}]\nloss: mse\n")
        result = run("check", model)
        self.assertIn(result.returncode, (CONFIG, NO_DATA), result.stderr)
        self.assertIn("error", result.stderr)


if __name__ == "__main__":
    main()
