"""Family featurespace: tables to vectors, by keras.utils.FeatureSpace on TensorFlow; the bare form by numpy, after dltrain's rules."""

import collections
import csv
import io

import numpy as np

from .common import Family, rng

MISSING = ("", "?")


def table(text):
    """{column: list of strings} of CSV text with a header."""
    rows = list(csv.reader(io.StringIO(text), skipinitialspace=True))
    return {name.strip(): [row[i].strip() for row in rows[1:]] for i, name in enumerate(rows[0])}


def text_of(columns):
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(zip(*columns.values()))
    return out.getvalue()


def make_table(name, rows, columns):
    """CSV text of random rows. columns: {name: how}, how a list of words, ('int', from, to) or ('float', mean, deviation)."""
    random, made = rng(name), {}
    for column, how in columns.items():
        if isinstance(how, list):
            weights = np.arange(len(how), 0, -1.0)
            made[column] = random.choice(how, rows, p=weights / weights.sum()).tolist()
        elif how[0] == "int":
            made[column] = random.integers(how[1], how[2], rows).tolist()
        else:
            made[column] = np.round(how[1] + how[2] * random.standard_normal(rows), 3).tolist()
    return text_of(made)


WORDS = ["red", "green", "blue", "dark blue", "Ünïcode", "a,b"]
COLORS, SIZES = ["red", "green", "blue", "teal", "pink"], ["S", "M", "L", "XL"]


def cases(f):
    def add(name, parameters, train, new, **more):
        f.add(name, layers=[{"FeatureSpace": parameters}], train=train, new=new, **more)

    numbers = {
        "age": ("int", 18, 80),
        "height": ("float", 170.0, 12.0),
        "code": ("int", -3, 5),
        "color": COLORS,
        "size": SIZES,
    }
    train, new = make_table("train", 24, numbers), make_table(
        "new", 8, {**numbers, "color": [*COLORS, "black", "white"], "code": ("int", -6, 9)}
    )
    add("float", {"features": {"height": "float"}}, train, new)
    add("float_normalized", {"features": {"height": "float_normalized", "age": "float_normalized"}}, train, new)
    add(
        "float_rescaled",
        {
            "features": {
                "height": {"float_rescaled": {"scale": 0.01, "offset": -1.5}},
                "age": {"float_rescaled": {"scale": "1/80"}},
            }
        },
        train,
        new,
    )
    add(
        "float_discretized_boundaries",
        {"features": {"height": {"float_discretized": {"bin_boundaries": [160.0, 170.0, 180.0]}}}},
        train,
        new,
    )
    exact = text_of({"v": [0.0, 1.0, 2.0, 1.5, -1.0, 2.5]})
    add(
        "float_discretized_at_boundaries",
        {"features": {"v": {"float_discretized": {"bin_boundaries": [0.0, 1.0, 2.0]}}}},
        exact,
        exact,
        note="a value that equals a boundary goes up",
    )
    for bins in (2, 4, 7):
        add(
            f"float_discretized_{bins}",
            {"features": {"height": {"float_discretized": {"num_bins": bins}}}},
            train,
            new,
        )
    add("integer_categorical", {"features": {"code": "integer_categorical"}}, train, new)
    add(
        "integer_categorical_oov_3",
        {"features": {"code": {"integer_categorical": {"num_oov_indices": 3}}}},
        train,
        new,
    )
    add(
        "integer_categorical_max_tokens",
        {"features": {"code": {"integer_categorical": {"max_tokens": 4}}}},
        train,
        new,
    )
    add("string_categorical", {"features": {"color": "string_categorical"}}, train, new)
    add(
        "string_categorical_oov_2",
        {"features": {"color": {"string_categorical": {"num_oov_indices": 2}}}},
        train,
        new,
    )
    add(
        "string_categorical_no_oov",
        {"features": {"size": {"string_categorical": {"num_oov_indices": 0}}}},
        train,
        new,
    )
    add(
        "string_categorical_no_oov_unknown",
        {"features": {"color": {"string_categorical": {"num_oov_indices": 0}}}},
        train,
        new,
        note="an unknown word is an error",
    )
    empty = text_of({"w": ["a", "", "b", "", "", "a"], "n": range(6)})
    add(
        "string_categorical_empty",
        {"features": {"w": "string_categorical"}},
        empty,
        text_of({"w": ["", "a", "c"], "n": range(3)}),
        note="the empty string is a word like any other",
    )
    add(
        "string_categorical_max_tokens",
        {"features": {"color": {"string_categorical": {"max_tokens": 3}}}},
        train,
        new,
    )
    add(
        "string_categorical_max_tokens_oov_2",
        {"features": {"color": {"string_categorical": {"max_tokens": 5, "num_oov_indices": 2}}}},
        train,
        new,
    )
    ties = text_of({"w": ["b", "a", "c", "a", "b", "c", "d", "B", "ab", "Ä", "z"]})
    add(
        "string_categorical_ties",
        {"features": {"w": "string_categorical"}},
        ties,
        text_of({"w": ["a", "b", "c", "d", "e", "Ä"]}),
        note="by falling count, equal counts by falling token",
    )
    numbers_tie = text_of({"n": [3, -1, 10, 3, 10, 2, -1, 7]})
    add(
        "integer_categorical_ties",
        {"features": {"n": "integer_categorical"}},
        numbers_tie,
        text_of({"n": [10, 3, 2, 5, -1]}),
    )
    words = text_of({"w": [*WORDS, "", " x ", "x"], "n": [0, 1, -1, 42, 123456789, -2147483648, 2147483647, 7, 8]})
    for bins in (2, 5, 1000003):
        add(
            f"string_hashed_{bins}",
            {"features": {"w": {"string_hashed": {"num_bins": bins, "output_mode": "int"}}}, "output_mode": "dict"},
            words,
            words,
        )
        add(
            f"integer_hashed_{bins}",
            {"features": {"n": {"integer_hashed": {"num_bins": bins, "output_mode": "int"}}}, "output_mode": "dict"},
            words,
            words,
        )
    add("string_hashed_default", {"features": {"color": "string_hashed"}}, train, new)
    add(
        "string_hashed_dim",
        {"features": {"color": "string_hashed", "code": "integer_hashed"}, "hashing_dim": 5},
        train,
        new,
    )
    add(
        "integer_modes",
        {
            "features": {
                "color": {"string_categorical": {"output_mode": "int"}},
                "code": {"integer_categorical": {"output_mode": "int", "num_oov_indices": 2}},
                "height": {"float_discretized": {"num_bins": 4, "output_mode": "int"}},
                "size": {"string_hashed": {"num_bins": 6, "output_mode": "int"}},
            },
            "output_mode": "dict",
        },
        train,
        new,
    )
    two = {"color": "string_categorical", "size": "string_categorical"}
    add("cross", {"features": two, "crosses": [{"feature_names": ["color", "size"], "crossing_dim": 8}]}, train, new)
    add("cross_list_default_dim", {"features": two, "crosses": [["color", "size"]], "crossing_dim": 6}, train, new)
    add(
        "cross_int",
        {
            "features": two,
            "crosses": [
                {"feature_names": ["color", "size"], "crossing_dim": 1000003, "output_mode": "int"},
                {"feature_names": ["size", "color"], "crossing_dim": 1000003, "output_mode": "int"},
            ],
            "output_mode": "dict",
        },
        train,
        new,
        note="the hash is of the indices that the features were turned into, in the order of the cross",
    )
    add(
        "cross_of_hashed_and_integer",
        {
            "features": {"color": "string_hashed", "code": "integer_categorical", "size": "string_categorical"},
            "crosses": [
                {"feature_names": ["color", "code"], "crossing_dim": 1000003, "output_mode": "int"},
                {"feature_names": ["code", "size"], "crossing_dim": 1000003, "output_mode": "int"},
            ],
            "output_mode": "dict",
        },
        train,
        new,
    )
    everything = {
        "features": {
            "height": "float_normalized",
            "age": {"float_discretized": {"bin_boundaries": [30.0, 50.0]}},
            "color": "string_categorical",
            "size": {"string_hashed": {"num_bins": 4}},
            "code": {"integer_categorical": {"max_tokens": 5}},
        },
        "crosses": [
            {"feature_names": ["size", "color"], "crossing_dim": 5},
            {"feature_names": ["age", "code"], "crossing_dim": 7},
        ],
    }
    add("everything", everything, train, new, note="features by name, then crosses by name; a cross is called a_X_b")
    add(
        "defaults",
        {"features": {"height": "float_discretized", "color": "string_hashed", "code": "integer_hashed"}},
        train,
        new,
    )

    # The bare form: what each column becomes follows from the data.
    bare = 'income,job,age,children,city,score\n39.5,clerk,39,0,Rome,1.5\n?,teacher,50,1,Oslo,\n28.25,clerk,38,2,Rome,2.5\n51,,53,2,"Rome",-0.5\n33.75,nurse,28,0,Bern,\n47,clerk,37,3,Oslo,0.25\n?,nurse,49,0,?,1\n'
    bare_new = "income,job,age,children,city,score\n40,pilot,?,1,Rome,?\n?,clerk,20,8,Paris,2\n1,,61,,?,3\n"
    f.add(
        "bare",
        layers=["FeatureSpace"],
        train=bare,
        new=bare_new,
        note="not from Keras; see 'The bare FeatureSpace' in README.md",
    )
    f.add(
        "bare_no_missing",
        layers=["FeatureSpace"],
        train=train,
        new=new,
        note="not from Keras; an integer column with few values stays a number",
    )
    f.add(
        "bare_constant_column",
        layers=["FeatureSpace"],
        train="a,b\n2,x\n2,x\n2,x\n",
        new="a,b\n2,x\n5,y\n",
        note="not from Keras; a column without variance: the divisor is 1e-7",
    )


def feature_of(FeatureSpace, item):
    import dltrain_keras

    kind, parameters = dltrain_keras.kind_of(item)
    if not parameters:
        return kind
    if "bin_boundaries" in parameters:
        # FeatureSpace in 3.15.1 cannot use the boundaries it accepts: it adapts the layer, which refuses, and finds no number of
        # bins for the one-hot code. The layer itself can.
        import keras

        layer = keras.layers.Discretization(bin_boundaries=parameters["bin_boundaries"])
        layer.num_bins = len(parameters["bin_boundaries"]) + 1
        layer.adapt = lambda data: None
        return FeatureSpace.feature("float32", layer, parameters.get("output_mode", "one_hot"))
    return getattr(FeatureSpace, kind)(**{key: dltrain_keras._number(value) for key, value in parameters.items()})


DTYPES = {"float": np.float32, "integer": np.int32, "string": str}


def keras_case(f, case):
    import dltrain_keras
    import keras
    import tensorflow as tf

    keras.utils.clear_session()
    FeatureSpace = keras.utils.FeatureSpace
    _, parameters = dltrain_keras.kind_of(case["layers"][0])
    features = {name: feature_of(FeatureSpace, item) for name, item in parameters["features"].items()}
    crosses = [
        FeatureSpace.cross(**cross) if isinstance(cross, dict) else tuple(cross)
        for cross in parameters.get("crosses", [])
    ]
    rest = {key: value for key, value in parameters.items() if key not in ("features", "crosses")}
    space = FeatureSpace(features, crosses=crosses or None, **rest)

    def columns(text):
        out, raw = {}, table(text)
        for name in features:
            kind = dltrain_keras.kind_of(parameters["features"][name])[0].split("_")[0]
            values = raw[name]
            out[name] = (
                tf.constant(values)
                if kind == "string"
                else tf.constant(np.array([float(v) for v in values]).astype(DTYPES[kind]))
            )
        return out

    space.adapt(tf.data.Dataset.from_tensor_slices(columns(case["train"])))
    layout = []
    for tag in ("train", "new"):
        try:
            encoded = space(columns(case[tag]))
        except Exception as error:  # noqa: BLE001: an unknown word without an OOV slot is an error of TensorFlow
            if "OOV" not in str(error) and "out-of-vocabulary" not in str(error):
                raise
            case["new_is_error"] = True
            continue
        if isinstance(encoded, dict):
            for name in sorted(encoded):
                f.put(f"{case['name']}/{tag}/{name}", np.asarray(encoded[name]))
        else:
            f.put(f"{case['name']}/{tag}", np.asarray(encoded))
    vocabulary = {}
    for name in sorted(space.preprocessors):
        layer = space.preprocessors[name]
        width = 1
        if hasattr(layer, "get_vocabulary"):
            tokens = layer.get_vocabulary()
            vocabulary[name] = [token if isinstance(token, str) else int(token) for token in tokens]
            width = len(tokens)
        elif hasattr(layer, "bin_boundaries"):
            f.put(f"{case['name']}/boundaries/{name}", np.array(layer.bin_boundaries, np.float64))
            width = layer.num_bins  # with few rows the quantiles coincide, and there are fewer boundaries than bins
        elif hasattr(layer, "adapt_mean"):
            f.put(f"{case['name']}/mean/{name}", np.asarray(layer.adapt_mean).reshape(()))
            f.put(f"{case['name']}/variance/{name}", np.asarray(layer.adapt_variance).reshape(()))
        elif hasattr(layer, "num_bins"):
            width = layer.num_bins
        layout.append([name, width if space.features[name].output_mode == "one_hot" else 1])
    for cross in sorted(space.crosses, key=lambda cross: cross.name):
        layout.append([cross.name, cross.crossing_dim if cross.output_mode == "one_hot" else 1])
    case["columns"] = layout
    if f"{case['name']}/train" in f.arrays and f.arrays[f"{case['name']}/train"].shape[1] != sum(
        width for _, width in layout
    ):
        raise ValueError(f"{case['name']}: the layout {layout} does not fit")
    if vocabulary:
        case["vocabulary"] = vocabulary


def is_number(text):
    try:
        return np.isfinite(float(text))
    except ValueError:
        return False


def bare_case(f, case):
    """dltrain's bare FeatureSpace, written down as plainly as possible; in float64."""
    train = table(case["train"])
    case["columns"], case["vocabulary"] = [], {}
    parts = {"train": [], "new": []}
    for name in sorted(train):
        present = [value for value in train[name] if value not in MISSING]
        if all(is_number(value) for value in present):
            values = np.array([float(value) for value in present])
            mean, deviation = values.mean(), max(np.sqrt(values.var()), 1e-7)
            indicator = len(present) < len(train[name])
            for tag in parts:
                column = table(case[tag])[name]
                missing = np.array([value in MISSING for value in column])
                numbers = np.array([mean if gone else float(value) for gone, value in zip(missing, column)])
                parts[tag].append(((numbers - mean) / deviation)[:, None])
                if indicator:
                    parts[tag].append(missing.astype(float)[:, None])
            case["columns"].append([name, 2 if indicator else 1])
            f.put(f"{case['name']}/mean/{name}", np.float32(mean))
            f.put(f"{case['name']}/variance/{name}", np.float32(values.var()))
        else:
            counts = collections.Counter(present)
            tokens = sorted(
                sorted(counts, key=lambda token: token.encode(), reverse=True), key=lambda token: -counts[token]
            )
            for tag in parts:
                one_hot = np.zeros((len(table(case[tag])[name]), 1 + len(tokens)))
                for row, value in enumerate(table(case[tag])[name]):
                    one_hot[row, 1 + tokens.index(value) if value in tokens else 0] = 1
                parts[tag].append(one_hot)
            case["columns"].append([name, 1 + len(tokens)])
            case["vocabulary"][name] = ["[UNK]", *tokens]
    for tag, arrays in parts.items():
        f.put(f"{case['name']}/{tag}", np.concatenate(arrays, 1).astype(np.float32))


def featurespace():
    f = Family(
        "featurespace",
        "FeatureSpace: rows of a table to vectors; see README.md. `columns` is the layout of a vector.",
    )
    cases(f)
    for case in f.cases:
        if case["layers"] == ["FeatureSpace"]:
            bare_case(f, case)
        else:
            keras_case(f, case)
    return f


FAMILIES = {"featurespace": featurespace}
