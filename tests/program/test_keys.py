"""Every key of every field table does something: changed to another legal value it changes the graph, what is trained, what is
written or what is said, or it is refused. A key that is read and does nothing is a bug.

The tables come from the program itself (list_tables), models that use a layer from the layer's own examples (list_examples), so
that a new kind or key is tried without a line here. For each key and a few values:
  1. the graph as it is built (`plan --dump built`) differs, or the value is refused by all values; else
  2. a run of two epochs differs: weights, logs, files, what is on the screen; else
  3. the same again beside another key of the kind that is changed too (momentum for nesterov, use_ema for ema_momentum).
A key with no effect must stand in LISTED, with the reason and the test that sees its effect; one that stands there and has an
effect is an error, too, so that the list stays true."""
import concurrent.futures
import json
import os
import pathlib
import random
import re
import secrets
import shutil
import struct
import subprocess
import sys
import threading
import unittest

import dltrain
from dltrain import TestCase, main, run

sys.path.insert(0, str(dltrain.SOURCE / "tests" / "sweeps"))
from sweep import record  # noqa: E402

TABLES = os.environ.get("DLTRAIN_TABLES", str(dltrain.BUILD / "tests" / "list_tables"))
EXAMPLES = os.environ.get("DLTRAIN_EXAMPLES", str(dltrain.BUILD / "tests" / "list_examples"))
CORPUS = dltrain.SOURCE / "tests" / "errors" / "real" / "data"
ROWS = 12  # of the data of all models
REFUSED = (2, 4, 7)  # exit codes: configuration, data, device

# (category, kind or *, key): where its effect is seen, as it is not seen here
LISTED = {
    ("", "model", "deterministic"): "GPU: the CPU has one order of sums only (test_determinism)",
    ("loss", "*", "name"): "Keras' configs carry it; nothing refers to a loss, and it is no name of a log",
    ("optimizer", "*", "name"): "Keras' configs carry it; nothing refers to it",
    ("schedule", "*", "name"): "Keras' configs carry it; nothing refers to it",
    ("callback", "ModelCheckpoint", "save_weights_only"): "what is in the file, which is not looked into here (test_callbacks)",
    ("callback", "TerminateOnNaN", "raise_error"): "in Keras: an exception or a plain stop; a command ends with code 5 either way, as its help says",
    ("layer", "Reuse", "name"): "names the call; the weights keep the name of the layer that is used again",
    ("layer", "Normalization", "trainable"): "its weights are measured and never trained (test_layers_shape)",
    ("", "model", "data.workers"): "threads that read ahead: the same batches by any number (test_data_loader, test_determinism)",
    ("", "model", "data.cache"): "folder of packed sources: the same records (test_data_cache)",
}

# ---- values ----

INTS = [3, 2, 1, 4, 5, 6, 8, 0, -1, 7, -2, 10]
FLOATS = [0.5, 0.25, 2.0, 0.9, 0.01, 0.0, 1.0, 10.0, -0.5, 0.001]
OPEN_MIN, OPEN_MAX = 1, 2

# what the type of a field cannot tell: values by the field's name
BY_NAME = {
    "monitor": ["loss", "val_loss", "val_accuracy", "accuracy"],
    "save_freq": ["1", "2", "epoch"],
    "dtype": ["int32", "float64"],
    "delimiter": ["';'", "tab", "auto"],
    "comment": ["'c'", "'0'"],
    "separator": ["';'"],
    "device": ["cuda"],
    "layer": ["first", "second"],
    "filename": ["another.csv"],
    "filepath": ["saved-{epoch}.weights.h5"],
    "label_map": ["{cat: dog}"],
    "types": ["{a: text}", "{kind: text}"],
    "class_weight": ["balanced", "{0: 2, 1: 0.5}"],
    "decay_steps": ["4", "2"],
    "schedule": ["{0: 0.1, 1: 0.001}"],
    "columns": ["[a, b]", "[c, a]"],
    "target": ["0", "a", "c", "kind", "last", "sequence"],
    "sample_weight": ["a", "c", "w", "w.npy"],
    "labels": ["w", "b.npy", "b.idx", "z", "z.npy", "z.idx"],
    "features": ["z", "z.npy", "z.idx", "{a: float}", "{b: integer_categorical}", "other"],
    "path": ["other.csv", "other.npz", "other.h5", "other.txt", str(CORPUS / "pictures")],
    "class_names": ["[elk, ape]", "[dog, cat]"],
    "missing": ["[bird]", "['0']", "['1']"],
    "boundaries": ["[2, 4]", "[1]"],
    "values": ["[0.1, 0.05, 0.02]", "[0.1, 0.01]"],
    "crosses": ["[[a, b]]"],
    "feature_names": ["[a, b]", "[b, c]"],
    "cache": ["elsewhere"],
    "save_every_min": ["1.0e-9"],
    "layers": ["[{Dense: {units: 4}}]", "[FeatureSpace, {Dense: {units: 5}}, {Dense: {units: 3, activation: softmax}}]"],
    "memory": ["1048576"],
    "target_shape": ["[6]", "[2, 3]", "[3, 2]", "[6, 1]", "[1, 6]", "[12]", "[4, 3]", "[24]", "[-1, 2]"],
    "dims": ["[1, 2]", "[2, 1]", "[1, 2, 3]", "[3, 1, 2]", "[2, 3, 1]"],
    "train": ["{CSV: {path: other.csv, target: kind}}"],
    "validation": ["{split: 0.5}"],
    "test": ["{CSV: {path: other.csv, target: kind}}"],
    "bin_boundaries": ["[1.5, 2.5]", "[3]"],
    "vocabulary": ["[0, 1, 2]"],
}


class Tables:
    """The field tables: kinds by category."""

    def __init__(self):
        lines = subprocess.run([TABLES], stdout=subprocess.PIPE, check=True, text=True).stdout.splitlines()
        self.kinds = {}
        for line in lines:
            kind = json.loads(line)
            self.kinds.setdefault(kind["category"], {})[kind["kind"]] = kind

    def keys(self, kind):
        """(key, field) of each key of a kind: those of sections as section.key, three for each weight."""
        for field in kind["fields"]:
            if field["type"] == "struct":
                for inner in field["fields"]:
                    yield f"{field['name']}.{inner['name']}", inner
            elif field["type"] == "weight":
                for what in ("initializer", "regularizer", "constraint"):
                    yield f"{field['name']}_{what}", {"name": f"{field['name']}_{what}", "type": "item", "category": what,
                                                      "required": False, "min": 0, "max": 0, "flags": 0, "count": 0}
            else:
                yield field["name"], field
        if kind["named"]:
            yield "name", {"name": "name", "type": "string", "required": False, "flags": 0}
        if kind["trainable"]:
            yield "trainable", {"name": "trainable", "type": "bool", "required": False, "flags": 0}

    def item(self, category, name):
        """A kind with what it must have, as YAML."""
        kind = self.kinds[category][name]
        needed = [f"{f['name']}: {self.values(f)[0]}" for f in kind["fields"] if f["required"]]
        return f"{{{name}: {{{', '.join(needed)}}}}}" if needed else name

    def items(self, category):
        if category == "layer":  # some, for layers hold layers
            return ["{Dense: {units: 4}}", "{LSTM: {units: 3}}", "{GRU: {units: 3, return_sequences: true}}", "{Dense: {units: 3}}",
                    "Flatten", "{Conv2D: {filters: 2, kernel_size: 2}}", "{LSTM: {units: 4, go_backwards: true}}"]
        names = list(self.kinds[category])
        return [self.item(category, name) for name in names]

    def values(self, f):
        """Legal values of a field, as YAML; the first is taken where one must be given."""
        kind, own = f["type"], BY_NAME.get(f["name"], [])
        if kind in ("int", "opt_int", "float", "opt_float", "float_or_item"):
            ints = kind in ("int", "opt_int")
            low, high, flags = float(f["min"]), float(f["max"]), f["flags"]
            numbers = [v for v in (INTS if ints else FLOATS)
                       if (v > low or (v == low and not flags & OPEN_MIN)) and (v < high or (v == high and not flags & OPEN_MAX))]
            extra = self.items(f["category"])[1:3] if kind == "float_or_item" else []
            return own + [str(v) for v in numbers] + extra + (["null"] if kind.startswith("opt") else [])
        if kind == "bool":
            return ["true", "false"]
        if kind == "enum":
            return f["names"]
        if kind == "axes":
            some = [v for v in (2, 1, 3, 4) if f["min"] <= v <= f["max"]]
            return [str(v) for v in some] + [str([2, 1, 1][: f["count"]]), str([1, 2, 2][: f["count"]])]
        if kind in ("ints", "shape"):
            return own + ["[1]", "[2]", "1", "[1, 2]", "[-1]", "[2, 1]", "[4]", "[3, 4]", "[2, 3, 4]"]
        if kind == "floats":
            return own + ["0.5", "[0.5]", "[0.1, 0.2]", "2", "[0.1, 0.2, 0.3]", "[0.1, 0.2, 0.3, 0.4]", "[0.3, 0.5, 0.7]"]
        if kind in ("strings", "columns", "paths"):
            return own + ["[a]", "[b]", "other"]
        if kind == "float_map":
            return own + (f.get("names") or []) + ["{0: 0.5}"]
        if kind == "string_map":
            return own + ["{a: b}"]
        if kind == "item":
            return (own if f["category"] != "layer" else []) + self.items(f["category"])[:7] + ["null"]
        if kind == "items":
            return own + [f"[{item}]" for item in self.items(f["category"])[:8]]
        if kind == "item_lists":
            inner = self.items(f["category"])
            return own + [f"[[{item}], [{item}, {item}]]" for item in inner[:4]]
        if kind == "item_map":
            return [f"{{a: {item}}}" for item in self.items(f["category"])[:4]]
        return own + ["other"]


# ---- models ----

def npy(descr, shape, data):
    head = f"{{'descr': '{descr}', 'fortran_order': False, 'shape': {tuple(shape)}, }}"
    head += " " * (-(10 + len(head) + 1) % 64) + "\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(head)) + head.encode() + data


def floats(count, seed):
    """So many numbers of -1.5 to 1.5, without a pattern that a layer could be blind to."""
    state, out = seed * 2654435761 % 4294967296, []
    for _ in range(count):
        state = (state * 1664525 + 1013904223) % 4294967296
        out.append((state >> 8) / (1 << 24) * 3 - 1.5)
    return struct.pack(f"<{count}f", *out)


def split_top(text):
    """The entries of a YAML list in flow style: "[a, {b: [1, 2]}]" are 2."""
    depth, count = 0, 1
    for c in text.strip()[1:-1]:
        depth += (c in "[{") - (c in "]}")
        count += c == "," and depth == 0
    return count


HEAD = "optimizer: {sgd: {learning_rate: 0.1}}\nfit: {epochs: 2, batch_size: 5}\n"
TABLE = "data: {train: {CSV: {path: rows.csv, target: kind}}, validation: {split: 0.25}}\n"
NUMBERS = "data: {train: {NPY: {features: x.npy, labels: t.npy}}}\n"
CLASSES = "data: {train: {NPY: {features: x.npy, labels: y.npy}}, validation: {split: 0.25}}\n"
ONE_HOT = "data: {train: {NPY: {features: x.npy, labels: h.npy}}}\n"
BINARY = "data: {train: {NPY: {features: x.npy, labels: b.npy}}}\n"
SOURCES = {
    "CSV": "{CSV: {path: rows.csv, target: kind, columns: [a, b, c]}}",
    "HDF5": f"{{HDF5: {{path: {dltrain.SOURCE}/tests/data/h5/types.h5, features: matrix}}}}",
    "IDX": "{IDX: {features: x.idx, labels: y.idx}}",
    "ImageFolder": f"{{ImageFolder: {{path: {dltrain.SOURCE}/tests/data/images/classes, image_size: [8, 6]}}}}",
    "NPY": "{NPY: {features: x.npy, labels: y.npy}}",
    "NPZ": "{NPZ: {path: data.npz, features: x, labels: y}}",
    "Synthetic": "{Synthetic: {samples: 12, shape: [4], classes: 3}}",
    "Text": "{Text: {path: play.txt, sequence_length: 6}}",
}


class Bases:
    """Models that use a kind: (text, path of the kind for -o), the first that is good counts."""

    def __init__(self, tables, examples):
        self.tables, self.examples = tables, examples

    def of(self, category, name):
        make = {"": self.model, "layer": self.layer, "source": self.source, "validation": self.validation, "loss": self.loss,
                "metric": self.metric, "callback": self.callback, "feature": self.feature, "cross": self.cross}.get(category)
        if make is not None:
            return list(make(name))
        item = f"{{{name}: {{}}}}" if self.tables.item(category, name) == name else self.tables.item(category, name)
        places = {
            "activation": ("layers[1].activation", f"{{Reshape: {{target_shape: [2, 2]}}}}, {{Dense: {{units: 4, activation: {item}}}}}, Flatten", "0.1"),
            "initializer": ("layers[0].kernel_initializer", f"{{Dense: {{units: 5, kernel_initializer: {item}}}}}", "0.1"),
            "regularizer": ("layers[0].kernel_regularizer", f"{{Dense: {{units: 4, kernel_regularizer: {item}}}}}", "0.1"),
            "constraint": ("layers[0].kernel_constraint", f"{{Dense: {{units: 4, kernel_constraint: {item}}}}}", "0.1"),
            "schedule": ("optimizer.learning_rate", "{Dense: {units: 4}}", item),
        }
        if category == "optimizer":
            return [(f"{CLASSES}layers: [{{Dense: {{units: 4, activation: tanh}}}}, {{Dense: {{units: 3, activation: softmax}}}}]\n"
                     f"optimizer: {item}\nloss: sparse_categorical_crossentropy\nfit: {{epochs: 2, batch_size: 3}}\n", "optimizer")]
        if category not in places:
            return []  # a new category: the test fails and asks for a model
        path, layer, rate = places[category]
        return [(f"{NUMBERS}layers: [{layer}, {{Dense: {{units: 1}}}}]\nloss: mse\noptimizer: {{sgd: {{learning_rate: {rate}}}}}\n"
                 "fit: {epochs: 2, batch_size: 3}\n", path)]

    def model(self, _):
        yield (TABLE.replace("{split: 0.25}", "{CSV: {path: other.csv, target: kind}}") +
               "layers: [FeatureSpace, {Dense: {units: 3, activation: softmax}}]\noptimizer: sgd\n"
               "loss: sparse_categorical_crossentropy\nmetrics: [accuracy]\nfit: {epochs: 3, batch_size: 5}\n", "")

        yield (NUMBERS + "layers: [{Dense: {units: 1}}]\noptimizer: {sgd: {learning_rate: 1.0e+30}}\nloss: mse\n"
               "fit: {epochs: 3, batch_size: 5}\n", "")

    def layer(self, name):
        for n, e in enumerate(self.examples.get(name, [])):
            shape, rank = e["shape"], len(e["shape"])
            data, layers, at = f"example-{name}-{n}.npy", e["layers"], split_top(e["layers"]) - 1
            if e["mask"] and e["dtype"] != "int32" and rank == 3:
                layers, at = layers.replace("[", "[{Masking: {mask_value: 0}}, ", 1), at + 1
            tail = ", Flatten, {Dense: {units: 1}}]"
            if name == "RandomCrop":  # images of another size at inference
                tail = ", GlobalAveragePooling2D, {Dense: {units: 1}}]"
            yield (f"data: {{train: {{NPY: {{features: {data}, labels: t.npy}}}}}}\nlayers: {layers.strip()[:-1]}{tail}\n"
                   f"loss: mse\n{HEAD}", f"layers[{at}]")
        if name == "FeatureSpace":
            yield (TABLE + "layers: [{FeatureSpace: {features: {a: integer_categorical, b: integer_hashed, c: float_discretized}, "
                   "crosses: [[a, c]]}}, {Dense: {units: 3, activation: softmax}}]\nloss: sparse_categorical_crossentropy\n" + HEAD,
                   "layers[0]")
            yield (TABLE + "layers: [FeatureSpace, {Dense: {units: 3, activation: softmax}}]\nloss: sparse_categorical_crossentropy\n" +
                   HEAD, "layers[0]")
        if name == "ReversibleEmbedding":
            yield (f"data: {{train: {{NPY: {{features: example-{name}-0.npy, labels: t.npy}}}}}}\n"
                   f"layers: [{{{name}: {{input_dim: 9, output_dim: 2, name: tokens}}}}, {{Dense: {{units: 2}}}}, "
                   "{Reuse: {layer: tokens, reverse: true}}, Flatten, {Dense: {units: 1}}]\nloss: mse\n" + HEAD, "layers[0]")
        if name == "Input":
            yield f"{NUMBERS}layers: [{{Input: {{shape: [4]}}}}, {{Dense: {{units: 1}}}}]\nloss: mse\n{HEAD}", "layers[0]"

    def source(self, name):
        if name in SOURCES:
            first = "{Embedding: {input_dim: 40, output_dim: 3}}, " if name == "Text" else "" if name == "CSV" else "Flatten, "
            last = "{Dense: {units: 40, activation: softmax}}"
            if name == "CSV":  # blanks, comments, columns by number
                for file in ("blanks.csv", "both.csv"):
                    yield (f"data: {{train: {{CSV: {{path: {file}, target: -1}}}}}}\n"
                           f"layers: [FeatureSpace, {last}]\nloss: sparse_categorical_crossentropy\n{HEAD}", "data.train")
            if name == "Text":  # outputs for one character
                yield (f"data: {{train: {SOURCES[name]}}}\nlayers: [{first}Flatten, {last}]\nloss: {{sparse_categorical_crossentropy: {{}}}}\n"
                       f"{HEAD}".replace("6}}", "6, target: last}}"), "data.train")
            loss = "{sparse_categorical_crossentropy: {}}"
            if name == "ImageFolder":  # files that cannot be decoded
                yield (f"data: {{train: {{ImageFolder: {{path: {CORPUS}/broken, image_size: [4, 4], bad_files: skip}}}}}}\n"
                       f"layers: [{first}{last}]\nloss: {loss}\n{HEAD}", "data.train")
            if name == "HDF5":  # the same features as targets
                yield (f"data: {{train: {SOURCES[name][:-2]}, labels: types}}}}}}\n".replace("labels: types", "labels: matrix") +
                       f"layers: [{{Dense: {{units: 4}}}}]\nloss: mse\n{HEAD}", "data.train")
                return
            yield f"data: {{train: {SOURCES[name]}}}\nlayers: [{first}{last}]\nloss: {loss}\n{HEAD}", "data.train"
            yield f"data: {{train: {SOURCES[name]}}}\nlayers: [{first}{{Dense: {{units: 1}}}}]\nloss: mse\n{HEAD}", "data.train"

    def validation(self, name):
        if name == "split":
            yield (CLASSES.replace("split: 0.25", "split: {fraction: 0.25}") +
                   f"layers: [{{Dense: {{units: 3, activation: softmax}}}}]\nloss: sparse_categorical_crossentropy\n{HEAD}",
                   "data.validation")
        else:
            for text, _ in self.source(name):
                source = re.search(r"train: (.*)\}\n", text).group(1)
                yield text.replace(f"train: {source}", f"train: {source}, validation: {source}", 1), "data.validation"

    def outputs(self):
        """Data, the last layer and a loss that fit each other."""
        yield CLASSES, "{Dense: {units: 3, activation: softmax}}", "sparse_categorical_crossentropy"
        yield BINARY, "{Dense: {units: 1, activation: sigmoid}}", "binary_crossentropy"
        yield ONE_HOT, "{Dense: {units: 3, activation: softmax}}", "categorical_crossentropy"
        yield NUMBERS, "{Dense: {units: 1, activation: softplus}}", "mse"
        yield ONE_HOT, "{Reshape: {target_shape: [2, 2]}}, {Dense: {units: 3, activation: softmax}}, Flatten, " \
                       "{Dense: {units: 3, activation: sigmoid}}", "mse"

    def loss(self, name):
        for data, layer, _ in self.outputs():
            yield f"{data}layers: [{{Dense: {{units: 4}}}}, {layer}]\nloss: {{{name}: {{}}}}\n{HEAD}", "loss"

    def metric(self, name):
        for data, layer, loss in self.outputs():
            item = self.tables.item("metric", name)
            item = f"{{{name}: {{}}}}" if item == name else item
            yield f"{data}layers: [{{Dense: {{units: 4}}}}, {layer}]\nloss: {loss}\nmetrics: [{item}]\n{HEAD}", "metrics[0]"

    def callback(self, name):
        item = self.tables.item("callback", name)
        item = "LearningRateScheduler: {schedule: {0: 0.1}}" if name == "LearningRateScheduler" else item.strip("{}") + "}" * item.count("}}") if item != name else f"{name}: {{}}"
        item = "CSVLogger: {filename: log.csv}" if name == "CSVLogger" else item
        if name == "TerminateOnNaN":
            yield (f"{NUMBERS}layers: [{{Dense: {{units: 1}}}}]\nloss: mse\noptimizer: {{sgd: {{learning_rate: 1.0e+30}}}}\n"
                   f"fit: {{epochs: 4, batch_size: 3, non_finite: skip, callbacks: [{{{item}}}]}}\n", "fit.callbacks[0]")
        if name == "ModelCheckpoint":
            yield (f"{CLASSES}layers: [{{Dense: {{units: 3, activation: softmax}}}}]\nloss: sparse_categorical_crossentropy\n"
                   "fit: {epochs: 4, batch_size: 3, callbacks: [{ModelCheckpoint: {filepath: 's-{epoch}.weights.h5', "
                   "save_best_only: true}}]}\n", "fit.callbacks[0]")
        for rate in ("3", "0.05"):
            yield (f"{CLASSES}layers: [{{Dense: {{units: 3, activation: softmax}}}}]\nloss: sparse_categorical_crossentropy\n"
                   f"metrics: [accuracy]\noptimizer: {{sgd: {{learning_rate: {rate}}}}}\n"
                   f"fit: {{epochs: 8, batch_size: 3, callbacks: [{{{item}}}]}}\n", "fit.callbacks[0]")

    def feature(self, name):
        column = {"string_categorical": "kind", "string_hashed": "kind"}.get(name, "a")
        target = "c" if column == "kind" else "kind"
        yield (f"data: {{train: {{CSV: {{path: rows.csv, target: {target}}}}}}}\n"
               f"layers: [{{FeatureSpace: {{features: {{{column}: {{{name}: {{}}}}}}}}}}, {{Dense: {{units: 3, activation: softmax}}}}]\n"
               f"loss: sparse_categorical_crossentropy\n{HEAD}", f"layers[0].features.{column}")

    def cross(self, name):
        yield (f"{TABLE}layers: [{{FeatureSpace: {{features: {{a: integer_categorical, b: integer_categorical, c: integer_categorical}}, "
               f"crosses: [{{{name}: {{feature_names: [a, b]}}}}]}}}}, {{Dense: {{units: 3, activation: softmax}}}}]\n"
               f"loss: sparse_categorical_crossentropy\n{HEAD}", "layers[0].crosses[0]")


# ---- what is seen ----

TABLE_SAYS = re.compile(r"must be|unknown |takes a |expected ")  # of a value that the table itself refuses
TIMES = re.compile(r"[\d.,]+ ?(ns|us|µs|ms|s|min|h|k/s|M/s|G/s|/s)\b")


class Runner:
    """Runs of the program, each remembered."""

    def __init__(self, folder):
        self.folder, self.known, self.lock, self.runs = folder, {}, threading.Lock(), 0

    def remembered(self, what, text, words, make):
        key = (what, text, tuple(words))
        with self.lock:
            if key in self.known:
                return self.known[key]
            self.runs += 1
            number = self.runs
        result = make(number)
        with self.lock:
            self.known[key] = result
        return result

    def model(self, text, number):
        path = self.folder / f"m{number}.yaml"
        path.write_text("name: m\n" + text)
        return path

    def words(self, overrides):
        return [w for o in overrides for w in ("-o", o)]

    def graph(self, text, overrides):
        """(exit code, the graph as it is built)."""
        def make(number):
            path = self.model(text, number)
            r = run("plan", path.name, "--dump", "built", "-t", "1", *self.words(overrides), cwd=self.folder)
            path.unlink()
            return r.returncode, r.stdout if r.returncode == 0 else r.stderr
        return self.remembered("graph", text, overrides, make)

    def trained(self, text, overrides, again=0):
        """(exit code, everything that a run leaves and says, but for times, the config itself and weights files, which hold it:
        of those their names and, in run.json, the digest of the weights)."""
        def make(number):
            folder = self.folder / f"r{number}"
            folder.mkdir()
            for file in self.folder.glob("*.*"):
                if file.is_file() and file.suffix != ".yaml":
                    (folder / file.name).symlink_to(file)
            given = {f.name for f in folder.iterdir()} | {"m.yaml"}
            (folder / "log.csv").write_text("what stood there before\n")
            path = folder / "m.yaml"
            path.write_text("name: m\n" + text)
            r = run("fit", "m.yaml", "--run", "run", "-v", "2", "-t", "1", *self.words(overrides), cwd=folder,
                    environ={"XDG_CACHE_HOME": str(folder / "cache")})
            seen = {"screen": re.sub(r"[ \n]+", " ", TIMES.sub("T", r.stdout + r.stderr).replace(str(folder), ""))}
            for file in sorted(folder.rglob("*")):
                name = str(file.relative_to(folder))
                if file.is_symlink() or file.is_dir() or name in given or name.startswith("cache"):
                    continue
                if file.name in ("config.yaml", "timing.jsonl", "log.txt") or file.suffix == ".h5":
                    seen[name] = ""
                elif file.name == "run.json":
                    info = json.loads(file.read_text())
                    seen[name] = {k: info.get(k) for k in ("state", "epochs_done", "monitor", "best", "weights")}
                else:
                    seen[name] = file.read_text(errors="replace").replace(str(folder), "")
            shutil.rmtree(folder)
            return r.returncode, seen
        return self.remembered(f"fit {again}", text, overrides, make)


class Keys(TestCase):
    def setUp(self):
        super().setUp()
        self.tables = Tables()
        lines = subprocess.run([EXAMPLES], stdout=subprocess.PIPE, check=True, text=True).stdout.splitlines()
        self.examples = {}
        for line in lines:
            e = json.loads(line)
            if "shape" in e:
                self.examples.setdefault(e["kind"], []).append(e)
        self.data()
        self.runner = Runner(self.folder)
        self.bases = Bases(self.tables, self.examples)
        self.broken = []

    def save(self, name, data):
        (self.folder / name).write_bytes(data)

    def data(self):
        labels = [(7 * i // 3) % 3 for i in range(ROWS)]
        self.save("x.npy", npy("<f4", (ROWS, 4), floats(ROWS * 4, 1)))
        self.save("z.npy", npy("<f4", (ROWS, 4), floats(ROWS * 4, 2)))
        self.save("y.npy", npy("<i4", (ROWS,), struct.pack(f"<{ROWS}i", *labels)))
        self.save("t.npy", npy("<f4", (ROWS,), floats(ROWS, 3)))
        self.save("w.npy", npy("<f4", (ROWS,), struct.pack(f"<{ROWS}f", *[1 + i % 3 for i in range(ROWS)])))
        self.save("b.npy", npy("<i4", (ROWS,), struct.pack(f"<{ROWS}i", *[c % 2 for c in labels])))
        self.save("h.npy", npy("<f4", (ROWS, 3), struct.pack(f"<{3 * ROWS}f", *[float(k == c) for c in labels for k in range(3)])))
        idx = struct.pack(">HBB", 0, 8, 3) + struct.pack(">III", ROWS, 2, 2)
        self.save("x.idx", idx + bytes((37 * i) % 256 for i in range(ROWS * 4)))
        self.save("z.idx", idx + bytes((91 * i + 5) % 256 for i in range(ROWS * 4)))
        self.save("b.idx", struct.pack(">HBBI", 0, 8, 1, ROWS) + bytes(c % 2 for c in labels))
        self.save("y.idx", struct.pack(">HBBI", 0, 8, 1, ROWS) + bytes(labels))
        head, rows = "a,b,c,w,kind\n", []
        for i in range(ROWS):
            rows.append(f"{(3 * i) % 5},{i % 7},{i % 2},{1 + i % 4},{('cat', 'dog', 'bird')[labels[i]]}\n")
        self.save("rows.csv", (head + "".join(rows)).encode())
        self.save("other.csv", (head + "".join(rows[3:] + rows[:2])).encode())
        blanks = [r.replace("cat", " cat") if i % 2 else r for i, r in enumerate(rows)]
        self.save("blanks.csv", (head + "".join(blanks)).encode())
        self.save("both.csv", "".join(f"{i % 3};{i % 4},{i % 2};u,{'cat' if i % 3 else 'dog'}\n" for i in range(ROWS)).encode())
        self.save("play.txt", b"to be or not to be, that is the question\n" * 2)
        self.save("other.txt", b"whether 'tis nobler in the mind to suffer\n" * 2)
        import io
        import zipfile
        for name, order in (("data.npz", "xz"), ("other.npz", "zx")):
            out = io.BytesIO()
            with zipfile.ZipFile(out, "w") as archive:
                for member, file in zip(("x", "z", "y", "w"), (f"{order[0]}.npy", f"{order[1]}.npy", "y.npy", "w.npy")):
                    archive.writestr(f"{member}.npy", (self.folder / file).read_bytes())
            self.save(name, out.getvalue())
        for name, examples in self.examples.items():
            for n, e in enumerate(examples):
                shape = [ROWS, *e["shape"][1:]]
                count = 1
                for size in shape:
                    count *= size
                if e["dtype"] in ("int32", "uint8"):
                    code, size = ("<i4", "i") if e["dtype"] == "int32" else ("|u1", "B")
                    high = max(1, e["high"] or 2)
                    data = npy(code, shape, struct.pack(f"<{count}{size}", *[(5 * i + i // 3) % high for i in range(count)]))
                else:
                    numbers = list(struct.unpack(f"<{count}f", floats(count, 7)))
                    if e["mask"] and len(shape) == 3:  # some steps of some rows are padding
                        for row in range(0, ROWS, 2):
                            at = (row * shape[1] + shape[1] - 1) * shape[2]
                            numbers[at:at + shape[2]] = [0.0] * shape[2]
                    data = npy("<f4", shape, struct.pack(f"<{count}f", *numbers))
                self.save(f"example-{name}-{n}.npy", data)

    # ---- one key ----

    def seen(self, result, what):
        """An exit code that is neither good nor a refusal is a bug of its own."""
        code, found = result
        if code != 0 and code not in REFUSED and code not in (3, 5):
            self.broken.append(f"{what}: exit {code}: {found}")
        return result

    def differs(self, base, path, value, context=()):
        """'changed', 'refused' or 'same'."""
        text, label = base, f"{path}={value} {' '.join(context)}"
        before, after = (self.runner.graph(text, list(context)), self.seen(self.runner.graph(text, [*context, f"{path}={value}"]), label))
        if before[0] != 0:
            return "refused"
        if after[0] != 0:
            return "refused"
        return "changed" if before != after else "same"

    def trains_otherwise(self, base, path, value, context=()):
        before = self.runner.trained(base, list(context))
        after = self.seen(self.runner.trained(base, [*context, f"{path}={value}"]), f"fit {path}={value}")
        if before[0] not in (0, 5):
            return "refused"
        for again in (1, 2):  # what differs by itself, on a busy machine, is no effect
            if before == after:
                break
            before = self.runner.trained(base, list(context), again)
        return "changed" if before != after else "same"

    def good_bases(self, category, name):
        return [b for b in self.bases.of(category, name) if self.seen(self.runner.graph(b[0], []), f"{category} {name}")[0] == 0]

    def effect(self, bases, prefix_key, field, others):
        """How a key shows: 'graph', 'run', 'beside KEY', 'refused', or 'none'."""
        values = list(dict.fromkeys(self.tables.values(field)))
        if len(values) == 1 and field["type"] == "enum":
            return "single"  # one legal value
        accepted, tried, first, acted = [], 0, None, None
        for base, path in bases:
            key = f"{path}.{prefix_key}" if path else prefix_key
            stands = re.search(rf"\b{field['name']}: ", base)  # then another value than that, else than the default
            for value in [v for v in values
                          if (f"{field['name']}: {v}" not in base if stands else v != field.get("default"))][:10]:
                tried += 1
                result = self.differs(base, key, value)
                if result == "changed":
                    return "graph"
                if result == "same":
                    accepted.append((base, key, path, value))
                else:
                    said = self.runner.graph(base, [f"{key}={value}"])[1]
                    first = first or said
                    if not TABLE_SAYS.search(said):
                        acted = said
        for base, key, path, value in accepted[:4]:
            if self.trains_otherwise(base, key, value) == "changed":
                return "run"
        if not accepted:
            return f"refused {first}"
        if prefix_key == "trainable" and not self.has_weights(accepted[0]):
            return "weightless"
        if prefix_key in ("name", "trainable"):
            return "none"
        for base, key, path, value in [a for a in accepted if a[0] == accepted[0][0]][:3]:
            for other, other_field in sorted(others, key=lambda o: o[1]["type"] not in ("bool", "enum")):
                if other == prefix_key or other in ("name", "trainable"):
                    continue
                for beside in self.tables.values(other_field)[:3]:
                    context = [f"{path}.{other}={beside}" if path else f"{other}={beside}"]
                    result = self.differs(base, key, value, context)
                    if result == "changed" or (result == "same" and self.trains_otherwise(base, key, value, context) == "changed"):
                        return f"beside {other}"
        return f"refused {acted}" if acted else "none"

    def has_weights(self, accepted):
        """True if a layer, under a name that nothing else has, owns a variable."""
        base, _, path, _ = accepted
        return "var zz/" in self.runner.graph(base, [f"{path}.name=zz"])[1]

    def test_every_key_does_something(self):
        jobs = []
        for category, kinds in self.tables.kinds.items():
            for name, kind in kinds.items():
                jobs.extend((category, name, key, field, list(self.tables.keys(kind))) for key, field in self.tables.keys(kind))
        only = os.environ.get("KEYS_ONLY")  # by hand: a pattern of "category kind key"
        jobs = [j for j in jobs if only is None or re.search(only, " ".join(j[:3]))]
        fewer = int(os.environ.get("DLT_TEST_FEWER", "1"))  # one key of so many, for slow builds
        if fewer > 1:
            seed = int(os.environ.get("DLT_TEST_SEED", secrets.randbits(32)))
            jobs = random.Random(seed).sample(jobs, len(jobs) // fewer)
            print(f"keys: DLT_TEST_SEED={seed}", flush=True)
        bases = {}
        counts, dead, stale, missing = {}, [], [], set()

        def one(job):
            category, name, key, field, others = job
            with self.runner.lock:
                known = bases.get((category, name))
            if known is None:
                known = bases[(category, name)] = self.good_bases(category, name)
            return job, known, self.effect(known, key, field, others) if known else "no model"

        with concurrent.futures.ThreadPoolExecutor(2) as pool:
            for (category, name, key, _, _), known, effect in pool.map(one, jobs):
                listed = LISTED.get((category, name, key)) or LISTED.get((category, "*", key))
                if effect == "no model":
                    missing.add(f"{category} {name}")
                elif effect == "none" and listed is None:
                    dead.append(f"{category} {name}: {key}")
                elif effect != "none" and listed is not None and LISTED.get((category, name, key)):
                    stale.append(f"{category} {name}: {key} ({effect})")
                counted = "listed" if effect == "none" and listed else effect.split()[0]
                counts[counted] = counts.get(counted, 0) + 1
                if os.environ.get("KEYS_SHOW"):
                    print(f"{category} {name} {key}: {effect}", flush=True)
        record("keys", full=fewer == 1, lost=len(dead), keys=len(jobs), dead=len(dead), **counts)
        print(f"keys: tried={len(jobs)} " + " ".join(f"{k}={v}" for k, v in sorted(counts.items())) + f" runs={self.runner.runs}")
        self.assertFalse(self.broken, "\n".join(["these end in another way than they should:", *self.broken[:20]]))
        self.assertFalse(missing, f"no model of this test uses these kinds: {sorted(missing)}")
        self.assertFalse(dead, "these keys do nothing:\n" + "\n".join(dead))
        self.assertFalse(stale, "these keys are in LISTED, but their effect is seen:\n" + "\n".join(stale))


if __name__ == "__main__":
    main()
