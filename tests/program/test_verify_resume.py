"""verify-resume on every shipped config and on every registered layer, optimizer, schedule, callback and metric.

The kinds are taken from the program itself. A new one is covered without being asked for; where its parameters cannot
be made up it fails here by name, and needs a row in one of the tables below.
"""

import collections
import concurrent.futures
import json
import math
import os
import random
import re
import struct
import subprocess

import dltrain

EXAMPLES = os.environ.get("DLTRAIN_EXAMPLES", str(dltrain.BUILD / "tests" / "list_examples"))

# A value for each parameter that is required somewhere, whichever kind asks for it ...
VALUES = {
    "initial_learning_rate": 0.02,
    "decay_steps": 4,
    "decay_rate": 0.5,
    "first_decay_steps": 3,
    "boundaries": [2, 5],
    "values": [0.02, 0.01, 0.005],
    "filename": "log.csv",
}
# ... and parameters with which a kind has more state, or acts within a few steps: each a model of its own beside the
# one with defaults.
MORE = {
    "callback.EarlyStopping": [{"patience": 1, "restore_best_weights": True, "monitor": "loss"},
                               {"patience": 0, "min_delta": 1000, "restore_best_weights": True}],
    "callback.ReduceLROnPlateau": [{"patience": 0, "min_delta": 1000, "factor": 0.5},
                                   {"patience": 1, "min_delta": 1000, "cooldown": 1, "monitor": "loss"}],
    "callback.LearningRateScheduler": [{"schedule": {"0": 0.02, "1": 0.01, "2": 0.005}}],
    "callback.ModelCheckpoint": [{"save_freq": "2", "filepath": "at-{epoch}-{batch}.weights.h5"},
                                 {"save_best_only": True, "save_weights_only": True, "filepath": "best.weights.h5"}],
    "callback.CSVLogger": [{"append": True, "separator": ";"}],
    "schedule.CosineDecay": [{"initial_learning_rate": 0, "warmup_target": 0.02, "warmup_steps": 3}],
    "schedule.ExponentialDecay": [{"staircase": True}],
    "schedule.PolynomialDecay": [{"cycle": True, "power": 2}],
}
# Kinds that a check of their own refuses bare, though no single parameter is required.
NEVER_BARE = {"callback.LearningRateScheduler"}
# Callbacks that cut the rate: verify-resume then stops there too.
CUTS = {"callback.ReduceLROnPlateau", "callback.LearningRateScheduler"}
# What optimizers have in common, all at once, and what some have (taken where the schema has it).
OPTIMIZER_STATE = {"use_ema": True, "ema_momentum": 0.9, "gradient_accumulation_steps": 2, "weight_decay": 0.01,
                   "global_clipnorm": 1.0}
OPTIMIZER_OWN = {"momentum": 0.9, "amsgrad": True, "nesterov": True, "centered": True}
# Layers of tables have no examples: the columns and the layer.
TABLES = {"FeatureSpace": "[FeatureSpace]"}

# Parts of files that are the same for many models.
SMALL_DATA = """  train: {Synthetic: {task: regression, samples: 30}}
  validation: {Synthetic: {task: regression, samples: 9, seed: 1}}"""
SMALL_LAYERS = "[{Dense: {units: 3}}, BatchNormalization, {Dropout: {rate: 0.3}}, {Dense: {units: 1}}]"

# Outputs that metrics may fit, with data for them.
HEADS = {
    "numbers": (SMALL_DATA, "{Dense: {units: 1}}", "mse"),
    "two": ("  train: {Synthetic: {classes: 2, samples: 30}}\n  validation: {split: 0.3}",
            "{Dense: {units: 1, activation: sigmoid}}", "binary_crossentropy"),
    "classes": ("  train: {Synthetic: {classes: 3, samples: 30}}\n  validation: {split: 0.3}",
                "{Dense: {units: 3, activation: softmax}}", "sparse_categorical_crossentropy"),
    "one-hot": ("  train: {NPY: {features: x.npy, labels: y.npy}}\n  validation: {split: 0.3}",
                "{Dense: {units: 3, activation: softmax}}", "categorical_crossentropy"),
}

# files: how many at least must be compared, history.csv and metrics.jsonl among them
Job = collections.namedtuple("Job", "name text options files", defaults=((), 2))


def model(layers, data=SMALL_DATA, optimizer="Adam", loss="mse", metrics="[]", callbacks="[]", batch=4):
    return (f"seed: 3\ndata:\n{data}\nlayers: {layers}\noptimizer: {optimizer}\nloss: {loss}\nmetrics: {metrics}\n"
            f"fit: {{epochs: 2, batch_size: {batch}, callbacks: {callbacks}}}\n")


def write_npy(path, letter, shape, values):
    header = f"{{'descr': '<{letter}', 'fortran_order': False, 'shape': {tuple(shape)}, }}"
    header += " " * (-(len(header) + 11) % 64) + "\n"
    code = {"f4": "f", "i4": "i", "u1": "B"}[letter]
    path.write_bytes(b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header.encode() +
                     struct.pack(f"<{len(values)}{code}", *values))


class Everything(dltrain.TestCase):
    @classmethod
    def setUpClass(cls):
        result = dltrain.run("schema")
        cls.schema = json.loads(result.stdout)["definitions"]

    def kinds(self, category):
        """Names of the kinds of a category, {name: its properties, required ones first}."""
        found = {}
        for key, definition in self.schema.items():
            if key.startswith(category + "."):
                forms = definition.get("anyOf", [definition])
                mapping = next((f for f in forms if f.get("type") == "object"), {})
                found[key.partition(".")[2]] = (mapping.get("properties", {}), mapping.get("required", []))
        self.assertTrue(found, f"the schema has no {category}")
        return found

    def variants(self, category, name):
        """Parameters of a kind to try: what it requires, and what MORE adds to it."""
        required = self.kinds(category)[name][1]
        unknown = [f for f in required if f not in VALUES]
        self.assertFalse(unknown, f"{category} {name} requires {unknown}: give VALUES one of each")
        base = {field: VALUES[field] for field in required}
        more = [{**base, **params} for params in MORE.get(f"{category}.{name}", [])]
        return more if f"{category}.{name}" in NEVER_BARE else [base, *more]

    def verify(self, job):
        folder = self.folder / job.name
        folder.mkdir(exist_ok=True)
        (folder / "model.yaml").write_text(job.text)
        return job, dltrain.run("verify-resume", folder / "model.yaml", "--folder", folder, "--threads", 1,
                                *(job.options or ("--epochs", 2, "--steps", 3)))

    def verify_all(self, jobs, least_stops=5):
        """Runs the jobs, two at a time, and tells all that are not green. DLT_TEST_FEWER: one of so many, for slow builds."""
        wrong = []
        fewer = int(os.environ.get("DLT_TEST_FEWER", "1"))
        jobs = jobs[random.randrange(min(fewer, len(jobs)))::fewer] if jobs else []
        with concurrent.futures.ThreadPoolExecutor(max_workers=2) as pool:
            for job, result in pool.map(self.verify, jobs):
                proven = re.search(r"^ok: .*\((\d+) stops", result.stdout, re.MULTILINE)
                files = [int(n) for n in re.findall(r"(\d+) files$", result.stdout, re.MULTILINE)]
                if (result.returncode != dltrain.DONE or not proven or int(proven[1]) < least_stops
                        or min(files) < job.files):
                    wrong.append(f"{job.name}: exit code {result.returncode}\n{job.text}{result.stdout}{result.stderr}")
        self.assertGreater(len(jobs), 0)
        if wrong:
            self.fail(f"{len(wrong)} of {len(jobs)} are not green\n\n" + "\n".join(wrong))
        return jobs

    # ---- layers ----

    def layer_job(self, name, example):
        """A model around an example: its input from .npy files, a weight behind it, so that there is a gradient."""
        shape, layers = example["shape"], example["layers"][1:-1]
        rows = 6 * shape[0] + 1  # the last batch is not full
        each = math.prod(shape[1:])
        draw = random.Random(name)
        folder = self.folder / name
        folder.mkdir()
        letter = {"float32": "f4", "int32": "i4", "uint8": "u1"}[example["dtype"]]
        if letter == "f4":
            values = [draw.gauss(0, 1) for _ in range(rows * each)]
        else:
            values = [draw.randrange(example["high"]) for _ in range(rows * each)]
        if example["mask"] and len(shape) > 2:
            step = math.prod(shape[2:])
            for at in range(0, len(values), step):
                if draw.random() < 0.3 and at // step % shape[1] > 0:  # a sample has one step at least
                    values[at:at + step] = [0.0] * step
            layers = "{Masking: {mask_value: 0}}, " + layers
        write_npy(folder / "x.npy", letter, [rows, *shape[1:]], values)
        write_npy(folder / "y.npy", "f4", [rows, 1], [draw.gauss(0, 1) for _ in range(rows)])
        data = "  train: {NPY: {features: x.npy, labels: y.npy}}\n  validation: {split: 0.25}"
        flat = "GlobalAveragePooling2D" if example["kind"] == "RandomCrop" else "Flatten"  # of another size at inference
        return Job(name, model(f"[{layers}, {flat}, {{Dense: {{units: 1}}}}]", data=data, batch=shape[0]))

    def table_job(self, name, layers):
        draw = random.Random(name)
        folder = self.folder / name
        folder.mkdir()
        rows = ["age,colour,size,target"]
        for _ in range(40):
            age = "" if draw.random() < 0.1 else f"{draw.uniform(20, 60):.1f}"
            rows.append(f"{age},{draw.choice(['red', 'green', 'blue', ''])},{draw.randrange(9)},{draw.gauss(0, 1):.3f}")
        (folder / "rows.csv").write_text("\n".join(rows) + "\n")
        data = "  train: {CSV: {path: rows.csv, target: target}}\n  validation: {split: 0.25}"
        return Job(name, model(layers[:-1] + ", {Dense: {units: 1}}]", data=data))

    def layer_jobs(self):
        lines = subprocess.run([EXAMPLES], stdout=subprocess.PIPE, check=True, text=True).stdout.splitlines()
        examples = [json.loads(line) for line in lines]
        self.assertEqual({e["kind"] for e in examples}, set(self.kinds("layer")))
        jobs = []
        for number, example in enumerate(examples):
            kind = example["kind"]
            if "layers" in example:
                jobs.append(self.layer_job(f"{number:03d}-{kind}", example))
            else:
                self.assertIn(kind, TABLES, f"{kind} has no examples, and TABLES has no row for it")
                jobs.append(self.table_job(f"{number:03d}-{kind}", TABLES[kind]))
        return jobs

    def test_every_layer(self):
        self.verify_all(self.layer_jobs())

    def test_every_layer_in_mixed_precision(self):
        self.verify_all([job._replace(text="precision: mixed_bfloat16\n" + job.text) for job in self.layer_jobs()])

    # ---- what has state beside the weights ----

    def test_every_optimizer(self):
        jobs = []
        for name, (properties, _) in self.kinds("optimizer").items():
            state = {k: v for k, v in {**OPTIMIZER_STATE, **OPTIMIZER_OWN}.items() if k in properties}
            self.assertLessEqual(set(OPTIMIZER_STATE), set(properties), name)
            for number, more in enumerate([{}, state, {"use_ema": True, "ema_overwrite_frequency": 2}]):
                for params in self.variants("optimizer", name):
                    text = json.dumps({name: {**params, **more}})
                    jobs.append(Job(f"{name}-{number}", model(SMALL_LAYERS, optimizer=text)))
        self.verify_all(jobs)

    def test_every_schedule(self):
        jobs = []
        for name in self.kinds("schedule"):
            for number, params in enumerate(self.variants("schedule", name)):
                text = json.dumps({"Adam": {"learning_rate": {name: params}}})
                jobs.append(Job(f"{name}-{number}", model(SMALL_LAYERS, optimizer=text)))
        self.verify_all(jobs, least_stops=5)

    def test_every_callback(self):
        jobs, cutting = [], []
        for name in self.kinds("callback"):
            for number, params in enumerate(self.variants("callback", name)):
                text = json.dumps([{name: params}])
                files = 3 if {"filename", "filepath"} & set(params) else 2
                job = Job(f"{name}-{number}", model(SMALL_LAYERS, callbacks=text), ("--epochs", 4, "--steps", 3), files)
                cuts = f"callback.{name}" in CUTS and params
                (cutting if cuts else jobs).append(job)
        text = json.dumps([{name: self.variants("callback", name)[-1]} for name in self.kinds("callback")])
        jobs.append(Job("all", model(SMALL_LAYERS, callbacks=text), ("--epochs", 4, "--steps", 3)))
        self.verify_all(jobs, least_stops=4)
        self.verify_all(cutting, least_stops=6)

    def test_batches_that_are_not_finite(self):
        """They are skipped or rolled back, and a resumed run does the same."""
        jobs = []
        # records are not shuffled: three batches of four an epoch, the bad one late in the second epoch
        for name in ["skip", "rollback"]:
            folder = self.folder / name
            folder.mkdir()
            draw = random.Random(name)
            values = [draw.gauss(0, 1) for _ in range(120)]
            values[4 * 21] = math.nan
            write_npy(folder / "x.npy", "f4", [30, 4], values)
            write_npy(folder / "y.npy", "f4", [30, 1], [draw.gauss(0, 1) for _ in range(30)])
            write_npy(folder / "vx.npy", "f4", [8, 4], values[:32])
            write_npy(folder / "vy.npy", "f4", [8, 1], [1.0] * 8)
            data = ("  train: {NPY: {features: x.npy, labels: y.npy}}\n"
                    "  validation: {NPY: {features: vx.npy, labels: vy.npy}}")
            words = dltrain.overrides(fit__shuffle="false", fit__non_finite=name)
            jobs.append(Job(name, model(SMALL_LAYERS, data=data), ("--epochs", 2, "--steps", 3, *words)))
        self.verify_all(jobs)

    def test_images_in_folders(self):
        """The first run decodes them, those after it read the cache; in memory or not."""
        data = (f"  train: {{ImageFolder: {{path: {dltrain.SOURCE}/tests/data/images/classes, image_size: [150, 150]}}}}\n"
                "  validation: {split: {fraction: 0.25, shuffle: true}}\n  cache: cache")
        jobs = [Job(name, model("[{Rescaling: {scale: 1/255}}, {AveragePooling2D: {pool_size: 30}}, Flatten, "
                               "{Dense: {units: 5, activation: softmax}}]", data=data + memory,
                                loss="sparse_categorical_crossentropy")) for name, memory in (("memory", ""), ("packed", "\n  memory: 1048576"))]
        for job in self.verify_all(jobs):
            self.assertEqual(len(list((self.folder / job.name / "cache").glob("*.pack"))), 1)

    def test_every_metric(self):
        """Their sums are state in mid-epoch. A metric is tried with each head that `check` accepts it for."""
        fitting = {head: [] for head in HEADS}
        (self.folder / "one-hot").mkdir()
        one_hot = [float(i % 3 == k) for i in range(30) for k in range(3)]
        write_npy(self.folder / "one-hot" / "x.npy", "f4", [30, 4], [random.Random(1).gauss(0, 1) for _ in range(120)])
        write_npy(self.folder / "one-hot" / "y.npy", "f4", [30, 3], one_hot)

        def text_of(head, metrics):
            data, last, loss = HEADS[head]
            return model(f"[{{Dense: {{units: 3}}}}, {last}]", data=data, loss=loss, metrics=json.dumps(metrics))

        names = list(self.kinds("metric"))
        for name in names:
            for head in HEADS:
                file = self.folder / head / "check.yaml"
                file.parent.mkdir(exist_ok=True)
                file.write_text(text_of(head, [{name: {}}]))
                if dltrain.run("check", file).returncode == dltrain.DONE:
                    fitting[head].append({name: {}})
        covered = {name for metrics in fitting.values() for metric in metrics for name in metric}
        self.assertEqual(covered, set(names), "a metric fits none of HEADS")
        self.verify_all([Job(head, text_of(head, metrics)) for head, metrics in fitting.items()])


class Configs(dltrain.TestCase):
    """The shipped configs, on their own data."""

    SHORT = {  # overrides that make a step cheap and leave the model what it is
        "shakespeare-transformer": ["fit.batch_size=4", "vars.width=32"],
        "shakespeare-lstm": ["fit.batch_size=4", "layers[1].units=64"],
        "mnist-cnn": ["fit.batch_size=16"],
        "cifar10-resnet": ["fit.batch_size=4"],
    }

    NEEDS = {"cifar10-cnn": "cifar10", "cifar10-resnet": "cifar10"}  # a folder of DLTRAIN_DATA that has to be unpacked first

    def verify_config(self, config):
        if config.stem in self.NEEDS and not (dltrain.DATA and os.path.isdir(os.path.join(dltrain.DATA, self.NEEDS[config.stem]))):
            self.skipTest(f"{config.name} needs {self.NEEDS[config.stem]} in DLTRAIN_DATA")
        if dltrain.run("check", config).returncode == dltrain.NO_DATA and not dltrain.DATA:
            self.skipTest(f"{config.name} needs data: set DLTRAIN_DATA")
        words = [w for override in self.SHORT.get(config.stem, []) for w in ("-o", override)]
        result = dltrain.run("verify-resume", config, "--folder", self.folder, "--epochs", 3, "--steps", 4, *words)
        self.expect(result, dltrain.DONE)
        self.assertRegex(result.stdout, r"(?m)^ok: .*\([56] stops")


def add_configs():
    """One test for each file of configs/."""
    for config in sorted((dltrain.SOURCE / "configs").glob("*.yaml")):
        def test(self, config=config):
            self.verify_config(config)
        setattr(Configs, f"test_{config.stem.replace('-', '_')}", test)


add_configs()

if __name__ == "__main__":
    dltrain.main()
