"""Weights go from dltrain to Keras and back, and the outputs stay: run by hand, needs tests/golden/requirements.txt.

    python tests/program/keras_round_trip.py [--dltrain build/release/dltrain] [PATTERN ...]
    python tests/program/keras_round_trip.py --store      # makes the golden files of tests/golden/interop/
    python tests/program/keras_round_trip.py --list

Three families of cases; PATTERN (as the shell's: 'kinds/lstm*') chooses among them.

    kinds/...    one small model for each layer kind that carries weights, and for its options that change them
    models/...   the whole models of tests/golden/models.yaml
    configs/...  the shipped configs, smaller (CONFIGS below says how), on the excerpts in tests/data/sets or on $DLTRAIN_DATA

Of each, in one line of the table,
    to Keras     `dltrain fit` trains it; Keras loads final.weights.h5 and must give what `dltrain predict` gives for the same rows
    to dltrain   Keras saves random weights of its own; `dltrain predict MODEL --weights FILE` must give what Keras gives
    again        `dltrain fit --weights FILE` with a learning rate of 0 writes these weights: Keras loads them, same bits
The figures are the largest difference, as a part of the largest output; more than 1e-5 fails, and so does a registered
layer kind that no case contains. Ends with 1 if anything failed. dltrain predicts with its reference kernels.

--store makes tests/golden/interop/ anew: of each case of STORED the model file and the weights as Keras saved them, and in
interop.npz its data and Keras' outputs. tests/program/test_keras_files.py holds dltrain to them without Keras. Seeds: as in
families/common.py, [20260, CRC-32 of "CASE/round_trip"]; versions: tests/golden/VERSIONS, which --store insists on.
"""

import argparse
import fnmatch
import gzip
import json
import os
import re
import subprocess
import sys
import tempfile
import warnings

ROOT = os.path.abspath(os.path.join(os.path.dirname(os.path.abspath(__file__)), os.pardir, os.pardir))
GOLDEN = os.path.join(ROOT, "tests", "golden")
INTEROP = os.path.join(GOLDEN, "interop")
SETS = os.path.join(ROOT, "tests", "data", "sets")
sys.dont_write_bytecode = True
sys.path[:0] = [GOLDEN, os.path.join(ROOT, "tools")]

import make_golden  # noqa: E402

os.environ.update(make_golden.environment("jax"))
warnings.simplefilter("ignore")

import keras  # noqa: E402
import numpy as np  # noqa: E402

import dltrain_keras as dk  # noqa: E402
from families import common  # noqa: E402
from families.models import data_of  # noqa: E402

TOLERANCE = 1e-5
ROWS = 7

F, T, I = [6], [5, 4], [6, 6, 3]  # shapes of a row: features, steps, an image
IDS = {"shape": [5], "dtype": "int32", "below": 9}


def embedded(*layers, mask=True):
    return [{"Embedding": {"input_dim": 9, "output_dim": 4, "mask_zero": mask}}, *layers]


def every_cell(kind):
    """Forms of a recurrent kind: each has other weights, another order of steps, or a mask."""
    yield f"{kind}_last", T, [{kind: {"units": 3}}]
    yield f"{kind}_sequences", T, [{kind: {"units": 3, "return_sequences": True}}]
    yield f"{kind}_no_bias", T, [{kind: {"units": 3, "use_bias": False}}]
    yield f"{kind}_backwards", T, [{kind: {"units": 3, "go_backwards": True, "return_sequences": True}}]
    yield f"{kind}_mask", IDS, embedded({kind: {"units": 3, "return_sequences": True}}, {kind: {"units": 2}})
    yield f"{kind}_activations", T, [{kind: {"units": 3, "activation": "relu"}}, {"Dense": {"units": 2}}]


def kinds():
    """(name, input, layers): input is the shape of a row, or as under `input` in the golden cases."""
    yield "dense", F, [{"Dense": {"units": 4, "activation": "tanh"}}]
    yield "dense_no_bias", F, [{"Dense": {"units": 4, "use_bias": False}}]
    yield "dense_steps", T, [{"Dense": {"units": 3}}, {"Dense": {"units": 2}}]
    yield "dense_many", F, [{"Dense": {"units": 3, "name": f"d{i}"}} for i in range(12)]  # dense_10 sorts before dense_2
    yield "conv2d", I, [{"Conv2D": {"filters": 4, "kernel_size": 3}}]
    yield "conv2d_same_strides", I, [{"Conv2D": {"filters": 4, "kernel_size": [3, 2], "strides": 2, "padding": "same"}}]
    yield "conv2d_dilation", I, [{"Conv2D": {"filters": 2, "kernel_size": 2, "dilation_rate": 2, "use_bias": False}}]
    yield "conv2d_groups", [6, 6, 4], [{"Conv2D": {"filters": 6, "kernel_size": 3, "groups": 2}}]
    yield "conv2d_wide", [9, 9, 16], [
        {"Conv2D": {"filters": 32, "kernel_size": 3, "padding": "same", "activation": "relu"}},
        {"Conv2D": {"filters": 20, "kernel_size": 3, "padding": "same"}},
        "GlobalAveragePooling2D",
    ]
    yield "conv1d", T, [{"Conv1D": {"filters": 3, "kernel_size": 2}}]
    yield "conv1d_causal", T, [{"Conv1D": {"filters": 3, "kernel_size": 2, "padding": "causal", "use_bias": False}}]
    yield "depthwise", I, [{"DepthwiseConv2D": {"kernel_size": 3, "depth_multiplier": 2}}]
    yield "depthwise_no_bias", I, [{"DepthwiseConv2D": {"kernel_size": 3, "padding": "same", "use_bias": False}}]
    yield "batch_normalization", I, [{"BatchNormalization": {"momentum": 0.5}}]
    yield "batch_normalization_no_scale", F, [{"BatchNormalization": {"scale": False}}, {"Dense": {"units": 2}}]
    yield "batch_normalization_no_center", F, [{"BatchNormalization": {"center": False}}, {"Dense": {"units": 2}}]
    yield "batch_normalization_plain", F, [{"BatchNormalization": {"center": False, "scale": False}}, {"Dense": {"units": 2}}]
    yield "batch_normalization_axis", I, [{"BatchNormalization": {"axis": 1}}]
    yield "layer_normalization", T, [{"LayerNormalization": {}}]
    yield "layer_normalization_axes", I, [{"LayerNormalization": {"axis": [1, 2], "center": False}}, {"Conv2D": {"filters": 2, "kernel_size": 1}}]
    yield "layer_normalization_no_scale", T, [{"LayerNormalization": {"scale": False}}]
    yield "embedding", IDS, embedded("Flatten", {"Dense": {"units": 2}}, mask=False)
    yield "embedding_mask", IDS, embedded("GlobalAveragePooling1D", {"Dense": {"units": 2}})
    yield "position_embedding", IDS, embedded({"PositionEmbedding": {"sequence_length": 8}}, {"Dense": {"units": 2}}, mask=False)
    yield "reversible_tied", IDS, [
        {"ReversibleEmbedding": {"input_dim": 9, "output_dim": 4, "name": "e"}},
        {"Dense": {"units": 4, "activation": "tanh"}},
        {"Reuse": {"layer": "e", "reverse": True}},
    ]
    yield "reversible_untied", IDS, [
        {"ReversibleEmbedding": {"input_dim": 9, "output_dim": 4, "tie_weights": False, "name": "e"}},
        {"Dense": {"units": 4, "activation": "tanh"}},
        {"Reuse": {"layer": "e", "reverse": True}},
    ]
    for kind in ("LSTM", "GRU", "SimpleRNN"):
        yield from every_cell(kind)
    yield "GRU_reset_before", T, [{"GRU": {"units": 3, "reset_after": False}}]
    for kind in ("LSTM", "GRU", "SimpleRNN"):
        yield f"bidirectional_{kind}", T, [{"Bidirectional": {"layer": {kind: {"units": 3, "return_sequences": True}}}}]
    for merge in ("sum", "mul", "ave"):
        yield f"bidirectional_{merge}", IDS, embedded({"Bidirectional": {"layer": {"LSTM": {"units": 3}}, "merge_mode": merge}})
    yield "bidirectional_two_layers", T, [
        {"Bidirectional": {"layer": {"LSTM": {"units": 3}}, "backward_layer": {"GRU": {"units": 2, "go_backwards": True}}}}
    ]
    yield "time_distributed", T, [{"TimeDistributed": {"layer": {"Dense": {"units": 3, "activation": "tanh"}}}}]
    yield "time_distributed_conv", [3, 5, 5, 2], [
        {"TimeDistributed": {"layer": {"Conv2D": {"filters": 2, "kernel_size": 3}}}},
        {"TimeDistributed": {"layer": "Flatten"}},
        {"TimeDistributed": {"layer": "BatchNormalization"}},
    ]
    yield "attention", T, [{"MultiHeadAttention": {"num_heads": 2, "key_dim": 3}}]
    yield "attention_causal", T, [{"MultiHeadAttention": {"num_heads": 2, "key_dim": 3, "causal": True, "use_bias": False}}]
    yield "attention_value_dim", T, [{"MultiHeadAttention": {"num_heads": 2, "key_dim": 3, "value_dim": 2, "output_shape": 5}}]
    yield "attention_mask", IDS, embedded({"MultiHeadAttention": {"num_heads": 1, "key_dim": 2}})
    yield "prelu", F, [{"Dense": {"units": 5}}, {"PReLU": {"alpha_initializer": "uniform"}}]
    yield "prelu_shared", I, [{"PReLU": {"alpha_initializer": "uniform", "shared_axes": [1, 2]}}]
    yield "normalization_given", F, [{"Normalization": {"mean": 0.5, "variance": 2.0}}, {"Dense": {"units": 2}}]
    yield "normalization_measured", F, ["Normalization", {"Dense": {"units": 2}}]
    yield "normalization_measured_axes", T, [{"Normalization": {"axis": [1, 2]}}, {"Dense": {"units": 2}}]
    yield "normalization_measured_scalar", T, [{"Normalization": {"axis": None}}, {"Dense": {"units": 2}}]
    yield "sequential", F, [
        {"Sequential": {"layers": [{"Dense": {"units": 3}}, {"Sequential": {"layers": [{"Dense": {"units": 4}}, "BatchNormalization"]}}]}},
        {"Sequential": {"layers": [{"Dense": {"units": 2}}]}},
    ]
    yield "residual", F, [
        {"Residual": {"layers": [{"Dense": {"units": 5, "activation": "tanh"}}, {"Dense": {"units": 6}}]}},
        {"Residual": {"layers": [{"Dense": {"units": 3}}], "shortcut": [{"Dense": {"units": 3, "use_bias": False}}]}},
    ]
    yield "parallel", F, [
        {"Parallel": {"merge": "concat", "branches": [[{"Dense": {"units": 2}}], [], [{"Dense": {"units": 3}}, {"Dense": {"units": 2}}]]}},
        {"Parallel": {"merge": "maximum", "branches": [[{"Dense": {"units": 2}}], [{"Dense": {"units": 2}}]]}},
    ]
    yield "repeat", F, [
        {"Repeat": {"times": 3, "layers": [{"Residual": {"layers": ["LayerNormalization", {"Dense": {"units": 6, "activation": "tanh"}}]}}]}}
    ]
    yield "repeat_in_repeat", F, [
        {"Repeat": {"times": 2, "layers": [{"Dense": {"units": 4}}, {"Repeat": {"times": 2, "layers": [{"Dense": {"units": 4}}]}}]}}
    ]
    yield "reuse", F, [{"Dense": {"units": 6, "activation": "tanh", "name": "d"}}, {"Dense": {"units": 6}}, {"Reuse": {"layer": "d"}}]
    yield "freeze", F, [{"Dense": {"units": 4, "trainable": False}}, {"BatchNormalization": {"trainable": False}}, {"Dense": {"units": 2}}]
    yield "weightless_between", I, [  # kinds without weights count in the keys, and shift those behind them
        {"ZeroPadding2D": {"padding": 1}}, {"Conv2D": {"filters": 3, "kernel_size": 3}}, {"Activation": {"activation": "relu"}},
        {"SpatialDropout2D": {"rate": 0.2}}, {"MaxPooling2D": {"pool_size": 2}}, {"Activation": {"activation": "relu"}},
        {"AveragePooling2D": {"pool_size": 2, "strides": 1}}, {"LeakyReLU": {"negative_slope": 0.2}}, {"ELU": {}}, {"ReLU": {}},
        {"Permute": {"dims": [3, 1, 2]}}, {"Rescaling": {"scale": 2.0}}, {"GaussianNoise": {"stddev": 0.1}}, "Flatten",
        {"Dropout": {"rate": 0.5}}, {"Dense": {"units": 4}}, {"ActivityRegularization": {"l2": 0.01}}, {"RepeatVector": {"n": 3}},
        {"SpatialDropout1D": {"rate": 0.1}}, {"Masking": {"mask_value": 0.0}}, {"Dense": {"units": 4}}, {"MaxPooling1D": {"pool_size": 2}},
        {"Reshape": {"target_shape": [1, 4]}}, {"AveragePooling1D": {"pool_size": 1}}, "GlobalMaxPooling1D",
        {"Dense": {"units": 3}}, {"Softmax": {}},
    ]  # fmt: skip
    yield "images", [8, 9, 3], [  # RandomCrop leaves them whole at inference
        "RandomFlip", {"RandomTranslation": {"height_factor": 0.2, "width_factor": [-0.1, 0.3]}}, {"RandomZoom": {"height_factor": 0.2}},
        {"RandomRotation": {"factor": 0.1, "fill_mode": "constant"}}, {"Conv2D": {"filters": 4, "kernel_size": 2}},
        {"RandomCrop": {"height": 5, "width": 5}}, {"Conv2D": {"filters": 4, "kernel_size": 2}}, "GlobalAveragePooling2D",
    ]  # fmt: skip
    yield "image_sizes", [8, 9, 3], [
        {"CenterCrop": {"height": 7, "width": 6}}, {"Conv2D": {"filters": 4, "kernel_size": 2}}, {"Resizing": {"height": 9, "width": 4}},
        {"Conv2D": {"filters": 4, "kernel_size": 2}}, {"Resizing": {"height": 3, "width": 3, "interpolation": "nearest"}}, "Flatten",
        {"Dense": {"units": 2}},
    ]  # fmt: skip
    yield "global_max_pooling2d", I, [{"Conv2D": {"filters": 4, "kernel_size": 3}}, "GlobalMaxPooling2D"]


# The shipped configs on the excerpts of tests/data/sets, smaller: overrides.
TEXT = ["data.train.Text.path={sets}/shakespeare/tinyshakespeare-40000.txt", "data.train.Text.sequence_length=20"]
CONFIGS = {
    "adult": [
        "data.train.CSV.path={sets}/adult/adult-train-300.csv",
        "data.test.CSV.path={sets}/adult/adult-test-150.csv",
        "layers[1].units=16",
        "layers[3].units=8",
    ],
    "housing": ["data.train.CSV.path={sets}/housing/housing-405.csv", "layers[1].units=16", "layers[2].units=8"],
    "digits-cnn": ["layers[2].filters=8", "layers[3].filters=8", "layers[5].filters=12"],
    "mnist-cnn": [
        "data.train.IDX.features={sets}/mnist/train-images-100.gz",
        "data.train.IDX.labels={sets}/mnist/train-labels-100.gz",
        "data.test.IDX.features={sets}/mnist/t10k-images-50.gz",
        "data.test.IDX.labels={sets}/mnist/t10k-labels-50.gz",
    ],
    "shakespeare-lstm": [*TEXT, "layers[1].units=32"],
    "shakespeare-transformer": [*TEXT, "vars.width=32", "layers[2].times=2"],
}


# What --store keeps: together with tests/golden/files every kind that has weights, in few and small files.
STORED = (
    "kinds/conv2d_groups",
    "kinds/conv1d_causal",
    "kinds/depthwise",
    "kinds/batch_normalization_no_scale",
    "kinds/layer_normalization_axes",
    "kinds/bidirectional_simplernn",
    "kinds/gru_reset_before",
    "kinds/time_distributed_conv",
    "kinds/attention_value_dim",
    "kinds/prelu_shared",
    "kinds/normalization_measured_axes",
    "kinds/sequential",
    "configs/adult",
)


class Failure(Exception):
    pass


class Program:
    """dltrain, in a folder of its own."""

    def __init__(self, path, folder):
        self.path, self.folder = os.path.abspath(path), folder

    def __call__(self, *arguments):
        done = subprocess.run([self.path, *map(str, arguments)], cwd=self.folder, capture_output=True, text=True)
        if done.returncode != 0:
            raise Failure(f"dltrain {arguments[0]}: {done.stderr.strip() or done.returncode}")
        return done.stdout

    def predict(self, *arguments):
        out = os.path.join(self.folder, "predicted.npy")
        self("predict", "--reference", *arguments, "--output", out)
        return np.load(out)

    def fit(self, model, *arguments):
        """The run directory."""
        run = os.path.join(self.folder, "run")
        self("fit", model, "--run", run, "--force", "--verbose", 0, *arguments)
        return run


def difference(found, wanted):
    if found.shape != wanted.shape:
        raise Failure(f"shape {found.shape} instead of {wanted.shape}")
    if not np.isfinite(wanted).all():
        raise Failure("the wanted outputs are not finite")
    largest = float(np.max(np.abs(wanted))) if wanted.size else 0.0
    return float(np.max(np.abs(found - wanted))) / max(largest, 1e-3)


class Case:
    """A dltrain model file, and the rows in both programs' form."""

    def __init__(self, name, model, rows, arguments=(), x=None, input_shape=None, input_dtype=None):
        self.name, self.model, self.rows, self.arguments = name, model, rows, list(arguments)
        self.x, self.input_shape, self.input_dtype = x, input_shape, input_dtype

    def keras(self, config, weights=None):
        keras.utils.clear_session()
        return dk.load_model(config, weights, self.input_shape, self.input_dtype, compile=False)

    def overrides(self):
        return [part for override in self.arguments for part in ("-o", override)]


def numbers(value):
    """1/2 becomes 0.5: the writer would put quotes around it."""
    if isinstance(value, dict):
        return {key: numbers(item) for key, item in value.items()}
    return [numbers(item) for item in value] if isinstance(value, list) else dk._number(value)


def array_case(folder, name, document, data):
    """A case on arrays: train from an NPZ, predict from an NPY."""
    np.savez(os.path.join(folder, "data.npz"), **data)
    np.save(os.path.join(folder, "rows.npy"), data["x"])
    weight = {"sample_weight": "sample_weight"} if "sample_weight" in data else {}
    source = {"NPZ": {"path": "data.npz", "features": "x", "labels": "y", **weight}}
    document = {**document, "data": {**document.get("data", {}), "train": source}}
    path = os.path.join(folder, "model.yaml")
    with open(path, "w", encoding="utf-8") as file:
        file.write(common.flow(numbers(document)))
    return Case(name, path, os.path.join(folder, "rows.npy"), x=data["x"])


def kind_case(folder, name, shape, layers):
    like = shape if isinstance(shape, dict) else {"shape": shape, "dtype": "float32"}
    random = common.rng(name + "/rows")
    size = (ROWS, *like["shape"])
    if "below" in like:
        x = random.integers(1, like["below"], size).astype(np.int32)
        x[::2, -2:] = 0  # padding, where the kind masks
    else:
        x = random.standard_normal(size).astype(np.float32)
    layers = [{"Input": {"shape": like["shape"], "dtype": like["dtype"]}}, *layers]
    keras.utils.clear_session()
    y = dk.build(layers, name="m")(x).shape  # not compute_output_shape: Bidirectional's does not know two kinds of layers
    document = {
        "name": re.sub(r"[^A-Za-z0-9_-]", "_", name),
        "layers": layers,
        "optimizer": {"SGD": {"learning_rate": 0.05, "momentum": 0.5}},
        "loss": "mse",
        "fit": {"epochs": 2, "batch_size": 4},
    }
    return array_case(folder, name, document, {"x": x, "y": random.standard_normal(y).astype(np.float32)})


def model_case(folder, case):
    data = data_of(case["name"], common.rng(case["name"] + "/data"))
    document = {**case["model"], "fit": {**case["model"]["fit"], "epochs": 2}}
    return array_case(folder, case["name"], document, data)


def lines_of(path, count):
    """The first rows of a table."""
    with (gzip.open if path.endswith(".gz") else open)(path, "rt", encoding="utf-8") as file:
        return file.read().split("\n")[:count]


def config_case(program, folder, name):
    """A shipped config on its excerpt, and some of its rows as Keras takes them.

    FeatureSpace has no Keras twin: the rows of tables are encoded by dltrain, by the same config with nothing behind that layer.
    What that must give is checked elsewhere (tests/golden/featurespace.yaml).
    """
    arguments = ["fit.epochs=1", *(override.format(sets=SETS) for override in CONFIGS[name])]
    case = Case(name, os.path.join(ROOT, "configs", name + ".yaml"), os.path.join(folder, "rows"), arguments)
    source = next((a.split("=", 1)[1] for a in arguments if a.startswith("data.train.") and not a.split("=")[0].endswith("length")), None)
    rows = None
    if name in ("adult", "housing", "digits-cnn"):
        rows = lines_of(source or os.path.join(ROOT, "configs", "data", "digits.csv.gz"), 80)
    if name in ("adult", "housing"):
        write_lines(case.rows, rows)
        empty = os.path.join(folder, "empty.weights.h5")
        keras.Sequential([keras.Input((1,)), keras.layers.Identity()]).save_weights(empty)
        encoder = ["-o", "loss=null", "-o", "layers=[FeatureSpace]", "-o", "metrics=[]", "-o", "fit.callbacks=[]"]
        case.x = program.predict(case.model, "--weights", empty, "--input", case.rows, *case.overrides(), *encoder)
        case.input_shape = case.x.shape[1:]
    elif name == "digits-cnn":
        write_lines(case.rows, rows)
        case.x = np.array([[float(value) for value in row.split(",")[:-1]] for row in rows], np.float32)
        case.input_shape = (64,)
    elif name == "mnist-cnn":
        case.rows = os.path.join(SETS, "mnist", "t10k-images-50.gz")
        with gzip.open(case.rows) as file:
            case.x = np.frombuffer(file.read()[16:], np.uint8).reshape(-1, 28, 28).astype(np.float32)
        case.input_shape = (28, 28)
    else:
        with open(source, encoding="utf-8") as file:
            text = file.read()
        letters = sorted(set(text))  # Text numbers characters by code point
        write_lines(case.rows, [text[: 20 * 9]])
        case.x = np.array([letters.index(letter) for letter in text[: 20 * 9]], np.int32).reshape(9, 20)
        case.input_shape, case.input_dtype = (20,), "int32"
    return case


def write_lines(path, lines):
    with open(path, "w", encoding="utf-8") as file:
        file.write("\n".join(lines) + "\n")


def round_trip(program, case, folder):
    """(to Keras, to dltrain): the two differences; `again` has no figure, it holds or not."""
    run = program.fit(case.model, *case.overrides())
    config = os.path.join(run, "config.yaml")
    final = os.path.join(run, "checkpoints", "final.weights.h5")
    ours = program.predict(run, "--input", case.rows)
    model = case.keras(config, final)
    to_keras = difference(ours, model.predict(case.x, verbose=0))

    saved = os.path.join(folder, "keras.weights.h5")
    model = case.keras(config)
    common.randomise(model, common.rng(case.name + "/round_trip"))
    model.save_weights(saved)
    model = case.keras(config, saved)  # a Normalization takes its weights to heart when they are loaded
    wanted = model.predict(case.x, verbose=0)
    given = program.predict(case.model, "--weights", saved, "--input", case.rows, *case.overrides())
    to_dltrain = max(
        difference(given, wanted),
        difference(program.predict(run, "--weights", saved, "--input", case.rows), wanted),
    )

    if constrained(dk.parse(config)):
        return to_keras, to_dltrain  # constraints change weights at any rate
    still = ["-o", "optimizer={SGD: {learning_rate: 0}}", "-o", "fit.epochs=1", "-o", "fit.callbacks=[]"]
    again = program.fit(case.model, "--weights", saved, *case.overrides(), *still)
    back = case.keras(config, os.path.join(again, "checkpoints", "final.weights.h5"))
    changed = [
        path
        for (path, there), here in zip(dk.weight_paths(back).items(), dk.weight_paths(model).values())
        if "moving" not in there.name and not np.array_equal(there.numpy(), here.numpy())
    ]
    if changed:
        raise Failure(f"fit --weights at a learning rate of 0 changed {changed[0]}")
    return to_keras, to_dltrain


def store(program, cases, folder):
    """Writes tests/golden/interop/."""
    arrays = {}
    for name, make_case, _ in cases:
        place, base = os.path.join(folder, name.replace("/", "_")), name.split("/")[1]
        os.makedirs(place)
        case = make_case(place)
        run = program(place).fit(case.model, *case.overrides())
        config, weights = os.path.join(run, "config.yaml"), os.path.join(INTEROP, base + ".weights.h5")
        model = case.keras(config)
        common.randomise(model, common.rng(case.name + "/round_trip"))
        model.save_weights(weights)
        model = case.keras(config, weights)  # a Normalization takes its weights to heart when they are loaded
        arrays[f"{base}/predict"] = model.predict(case.x, verbose=0)
        if name.startswith("configs/"):
            continue  # model file and rows are in the repository
        document = dk.parse(case.model)
        with np.load(os.path.join(place, "data.npz")) as data:
            arrays.update({f"{base}/{key}": data[key] for key in data})
        document["data"]["train"]["NPZ"].update(path="interop.npz", features=f"{base}/x", labels=f"{base}/y")
        with open(os.path.join(INTEROP, base + ".yaml"), "w", encoding="utf-8") as file:
            file.write("".join(f"{key}: {common.flow(value)}\n" for key, value in document.items()))
    common.write_npz(os.path.join(INTEROP, "interop.npz"), arrays)
    sizes = sum(os.path.getsize(os.path.join(INTEROP, name)) for name in os.listdir(INTEROP))
    print(f"{len(cases)} cases, {sizes} bytes in {INTEROP}")


def constrained(node):
    if isinstance(node, dict):
        return any((key.endswith("constraint") and item is not None) or constrained(item) for key, item in node.items())
    return isinstance(node, list) and any(constrained(item) for item in node)


def registered(program):
    """Layer kinds that dltrain knows, from its schema."""
    schema = json.loads(program("schema"))
    names = set()

    def walk(node):
        if isinstance(node, dict):
            for key in node.get("properties", {}):
                if hasattr(dk, key) or getattr(getattr(keras.layers, key, None), "__name__", None) == key:
                    names.add(key)  # by its own name, not by an alias
            for value in node.values():
                walk(value)
        elif isinstance(node, list):
            for value in node:
                walk(value)

    walk(schema)
    return {name for name in names if name[0].isupper() and not hasattr(keras.initializers, name)}


def kinds_in(node, found):
    if isinstance(node, str):
        found.add(node)
    elif isinstance(node, dict):
        for key, value in node.items():
            found.add(key)
            kinds_in(value, found)
    elif isinstance(node, list):
        for value in node:
            kinds_in(value, found)
    return found


def all_cases(program, patterns):
    """(name, function that makes the case in a folder, layers)"""
    models = dk.parse(os.path.join(GOLDEN, "models.yaml"))
    every = [(f"kinds/{n.lower()}", lambda d, n=n, s=s, l=l: kind_case(d, n, s, l), l) for n, s, l in kinds()]
    every += [(f"models/{c['name']}", lambda d, c=c: model_case(d, c), c["model"]["layers"]) for c in models]
    every += [
        (f"configs/{n}", lambda d, n=n: config_case(program(d), d, n), dk.parse(os.path.join(ROOT, "configs", n + ".yaml"))["layers"])
        for n in CONFIGS
    ]  # fmt: skip
    return [case for case in every if not patterns or any(fnmatch.fnmatch(case[0], p) for p in patterns)]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("patterns", nargs="*", metavar="PATTERN", help="cases to run; default: all")
    parser.add_argument("--dltrain", default=os.path.join(ROOT, "build", "release", "dltrain"), metavar="PROGRAM")
    parser.add_argument("--store", action="store_true", help="make tests/golden/interop anew")
    parser.add_argument("--list", action="store_true", help="print the names of the cases")
    arguments = parser.parse_args()
    make = lambda folder: Program(arguments.dltrain, folder)  # noqa: E731
    cases = all_cases(make, arguments.patterns)
    if arguments.list:
        print("\n".join(name for name, _, _ in cases))
        return 0
    if arguments.store:
        if not make_golden.check_versions(False):
            return 2
        os.makedirs(INTEROP, exist_ok=True)
        with tempfile.TemporaryDirectory() as folder:
            store(make, [case for case in cases if case[0] in STORED], folder)
        return 0
    bad, worst = 0, [0.0, 0.0]
    print(f"{'case':44} {'to Keras':>9} {'to dltrain':>10}", flush=True)
    for name, make_case, _ in cases:
        with tempfile.TemporaryDirectory() as folder:
            program = make(folder)
            try:
                found = round_trip(program, make_case(folder), folder)
            except (Failure, dk.ModelError, ValueError) as error:
                bad += 1
                print(f"{name:44} FAILED: {error}", flush=True)
                continue
        failed = max(found) > TOLERANCE
        bad += failed
        worst = [max(a, b) for a, b in zip(worst, found)]
        print(f"{name:44} {found[0]:9.1e} {found[1]:10.1e}{'   TOO FAR' if failed else ''}", flush=True)
    if not arguments.patterns:
        with tempfile.TemporaryDirectory() as folder:
            missing = registered(make(folder)) - kinds_in([layers for _, _, layers in cases], set())
        if missing:
            bad += 1
            print(f"no case contains: {', '.join(sorted(missing))}")
    print(f"{len(cases)} cases, {bad} failed; largest difference {worst[0]:.1e} to Keras, {worst[1]:.1e} to dltrain")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
