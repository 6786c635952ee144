#!/usr/bin/env python3
"""Checks the JSON Schema that `dltrain schema` writes: that it is a schema, that it takes right model files and that it
refuses wrong ones.   check_schema.py DLTRAIN FOLDER_OF_WRONG_FILES
DLTRAIN is the program over the small catalogue of the tests. Ends with 77 (skipped) where jsonschema or yaml is missing."""
import glob
import json
import os
import re
import subprocess
import sys

try:
    import jsonschema
    import yaml
except ImportError as missing:
    print("skipped:", missing)
    sys.exit(77)


class Yaml12(yaml.SafeLoader):
    """YAML 1.2's core schema: PyYAML alone reads 1e-3 as text and `no` as false."""


Yaml12.yaml_implicit_resolvers = {}
for tag, pattern, first in [
    ("null", r"^(~|null|Null|NULL|)$", ["~", "n", "N", ""]),
    ("bool", r"^(true|True|TRUE|false|False|FALSE)$", list("tTfF")),
    ("int", r"^([-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+)$", list("-+0123456789")),
    ("float", r"^([-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN))$",
     list("-+0123456789.")),
]:
    Yaml12.add_implicit_resolver("tag:yaml.org,2002:" + tag, re.compile(pattern), first)
Yaml12.add_constructor("tag:yaml.org,2002:int", lambda loader, node: int(node.value, 0) if node.value[:2] in ("0x", "0o")
                       else int(node.value))
Yaml12.add_constructor("tag:yaml.org,2002:float", lambda loader, node: float(node.value.replace(".inf", "inf").replace(".nan", "nan")))

RIGHT = [
    "layers: [Flatten]",
    "include: base.yaml",
    "include: [a.yaml, b.yaml]\nvars: {x: 1, y: {z: [1]}}\nx-note: {any: thing}",
    "layers:\n  - Input: {shape: [28, 28, 1]}\n  - Rescaling: {scale: 1/255}\n  - Rescaling: {scale: 1e-3, offset: -1}\n"
    "  - Conv2D: {filters: 32, kernel_size: 3, activation: relu}\n  - Conv2D: {filters: 32, kernel_size: [3, 5], padding: same}\n"
    "  - max_pooling2d\n  - MaxPooling2D:\n  - Flatten: {name: flat, trainable: false}\n"
    "  - Dense: {units: '${vars.n}', kernel_regularizer: l2, bias_initializer: {Constant: 0.5}}\n"
    "  - Dense: {units: 0x10, kernel_constraint: {MaxNorm: {axis: [0, 1]}}, x-why: because}\n  - x-later: yes\n    Flatten:\n"
    "  - Residual: {layers: [Flatten, {Residual: {layers: [Flatten]}}], shortcut: []}\n"
    "  - Parallel: {branches: [[Flatten], []], merge: add}\n  - '${vars.block}'\n  - Dense: ${vars.params}\n"
    "optimizer: {Adam: {learning_rate: 1e-3, clipnorm: null}}\nloss: sparse_categorical_crossentropy\nmetrics: [acc, mae]\n"
    "data: {train: {IDX: {features: a, labels: b}}, validation: {split: 0.1}, memory: auto, workers: 3, cache: null}\n"
    "fit: {epochs: 3, shuffle: true, class_weight: balanced, callbacks: [EarlyStopping, {EarlyStopping: {patience: 3}}]}",
    "layers: [Flatten]\noptimizer: {sgd: {learning_rate: {CosineDecay: {initial_learning_rate: 1/3, decay_steps: 5}}}}\n"
    "data: {validation: {split: {fraction: 0.1, shuffle: true}}, test: {CSV: {path: [a, b], target: -1, columns: [x, 3], header: false}}}\n"
    "fit: {shuffle: batch, class_weight: {a: 1, 2: 1/2}, steps_per_epoch: null}\nname: 12\nseed: 7\ndata2: null".replace("\ndata2: null", ""),
    "layers:\n  - Everything: {any: .inf, auto_count: auto, shape: [null, 3], text: 3, item: null, inner: {depth: 2}, mode: exact,\n"
    "      float_map: {a: 1e-3}, string_map: {a: true}, item_map: {a: float_normalized}, rate: 1/2, kernel_initializer: zero,\n"
    "      strings: [a, 1], columns: x, floats: 1/3, ints: [1, '${vars.i}'], path: null, maybe_ratio: 1e-3}",
]
# What one value cannot tell: names given twice, one field against another, and the like. The schema may take these.
BEYOND = {"kind-only-note", "value-bool-python", "value-float-nan",
          "value-float-quoted", "value-float-ratio-by-zero", "value-int-exponent", "value-int-point",
          "value-model-name-slash", "value-name-twice", "value-path-empty", "value-path-tilde",
          "value-path-url"}


def main():
    program, folder = sys.argv[1], sys.argv[2]
    schema = json.loads(subprocess.run([program, "schema"], check=True, capture_output=True).stdout)
    jsonschema.Draft7Validator.check_schema(schema)
    validator = jsonschema.Draft7Validator(schema)
    bad = 0
    for text in RIGHT:
        for error in validator.iter_errors(yaml.load(text, Yaml12)):
            print("refused, but right:", text, error.json_path, error.message, sep="\n  ")
            bad += 1
    wrong = 0
    for path in sorted(glob.glob(os.path.join(folder, "*.yaml"))):
        name = os.path.basename(path)[:-5]
        if not name.startswith(("key-", "kind-", "value-")):
            continue
        with open(path, encoding="utf-8") as file:
            document = yaml.load(file, Yaml12)
        try:
            errors = list(validator.iter_errors(document))
        except TypeError:  # a key that is no string: JSON has no such thing
            errors = ["key"]
        wrong += 1
        if bool(errors) == (name in BEYOND):
            print("refused, but listed as beyond the schema:" if errors else "taken, but wrong:", path)
            bad += 1
    print(f"{len(RIGHT)} right files, {wrong} wrong ones, {bad} judged otherwise")
    return 1 if bad or wrong < 80 else 0


sys.exit(main())
