"""Tests tools/dltrain_keras.py against the golden vectors: python test_dltrain_keras.py (or pytest). Needs requirements.txt."""

import os
import sys
import tempfile
import warnings

os.environ.update(
    {"KERAS_BACKEND": "jax", "JAX_PLATFORMS": "cpu", "CUDA_VISIBLE_DEVICES": "", "TF_CPP_MIN_LOG_LEVEL": "3"}
)
GOLDEN = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(GOLDEN, os.pardir, os.pardir, "tools"))
sys.dont_write_bytecode = True

import h5py  # noqa: E402
import keras  # noqa: E402
import numpy as np  # noqa: E402

import dltrain_keras as dk  # noqa: E402

warnings.simplefilter("ignore")


def cases(family):
    return dk.parse(os.path.join(GOLDEN, family + ".yaml")), np.load(os.path.join(GOLDEN, family + ".npz"))


# ---- the paths in the file, from the YAML alone: the rules of the format, written a second time ----------------------------

GROUPS = {
    "LSTM": "lstm",
    "GRU": "gru",
    "PositionEmbedding": "position_embedding",
    "MultiHeadAttention": "multi_head_attention",
}
GROUPS.update({"Conv2D": "conv2d", "MaxPooling2D": "max_pooling2d", "AveragePooling2D": "average_pooling2d"})
GROUPS.update({"GlobalAveragePooling2D": "global_average_pooling2d", "BatchNormalization": "batch_normalization"})
GROUPS.update({"LayerNormalization": "layer_normalization", "ReversibleEmbedding": "reversible_embedding"})
GROUPS.update({"TimeDistributed": "time_distributed"})


def variables(kind, p, path):
    """Paths of the variables of one layer at `path`."""
    bias = p.get("use_bias", True)
    own = lambda n: [f"{path}/vars/{i}" for i in range(n)]
    if kind in ("Dense", "Conv2D"):
        return own(1 + bias)
    if kind in ("Embedding", "PositionEmbedding"):
        return own(1)
    if kind == "ReversibleEmbedding":
        return own(1 if p.get("tie_weights", True) else 2)
    if kind == "LayerNormalization":
        return own(p.get("scale", True) + p.get("center", True))
    if kind == "BatchNormalization":
        return own(2 + p.get("scale", True) + p.get("center", True))
    if kind == "Normalization":
        return own(0 if "mean" in p else 3)
    if kind in ("LSTM", "GRU"):
        return [f"{path}/cell/vars/{i}" for i in range(2 + bias)]
    if kind == "Bidirectional":
        inner, q = dk.kind_of(p["layer"])
        return [v for way in ("forward_layer", "backward_layer") for v in variables(inner, q, f"{path}/{way}")]
    if kind == "TimeDistributed":
        return variables(*dk.kind_of(p["layer"]), f"{path}/layer")
    if kind == "MultiHeadAttention":
        return [
            f"{path}/{part}_dense/vars/{i}" for part in ("query", "key", "value", "output") for i in range(1 + bias)
        ]
    if kind == "Sequential":
        return paths(p["layers"], path + "/")
    if kind == "Residual":
        return paths(p["layers"], path + "/main/") + paths(p.get("shortcut") or [], path + "/shortcut/")
    if kind in ("Parallel", "Repeat"):
        lists = p["branches"] if kind == "Parallel" else [p["layers"]] * p["times"]
        where = "branches" if kind == "Parallel" else "blocks"
        names = ["sequential"] + [f"sequential_{i}" for i in range(1, len(lists))]
        return [v for name, items in zip(names, lists) for v in paths(items, f"{path}/{where}/{name}/")]
    return []  # Reuse, Activation, Flatten, Dropout, ...


def paths(items, prefix=""):
    found, count = [], {}
    for item in items:
        kind, p = dk.kind_of(item)
        if kind == "Input":
            continue
        group = GROUPS.get(kind, kind.lower())
        count[group] = count.get(group, -1) + 1
        key = group if count[group] == 0 else f"{group}_{count[group]}"
        found += variables(kind, p, f"{prefix}layers/{key}")
    return found


def datasets(path):
    found = []
    with h5py.File(path) as file:
        file.visititems(lambda name, entry: found.append(name) if isinstance(entry, h5py.Dataset) else None)
    return found


def model_of(case, weights=None):
    keras.utils.clear_session()
    model = dk.build(case["model"]["layers"], name=case["model"]["name"])
    dk.compile_model(model, case["model"])
    return model if weights is None else dk.load_weights(model, weights)


# ---- tests -----------------------------------------------------------------------------------------------------------------


def test_paths_of_all_layer_cases():
    checked = 0
    for family in ("layers", "containers", "regularizers"):
        listed, arrays = cases(family)
        for case in listed:
            if "layers" not in case:
                continue
            stored = {key.split("/w/", 1)[1] for key in arrays.files if key.startswith(case["name"] + "/w/")}
            assert stored == set(paths(case["layers"])), (case["name"], stored ^ set(paths(case["layers"])))
            checked += 1
    assert checked > 300


def test_every_model_saves_and_reloads():
    listed, arrays = cases("models")
    assert len(listed) >= 12
    for case in listed:
        name = case["name"]
        model = model_of(case)
        assert set(dk.weight_paths(model)) == set(paths(case["model"]["layers"])), name
        for path, variable in dk.weight_paths(model).items():
            variable.assign(arrays[f"{name}/w_final/{path}"])
        x = arrays[f"{name}/x"]
        y = model.predict(x, batch_size=4, verbose=0)
        assert np.allclose(y, arrays[f"{name}/predict"], rtol=1e-5, atol=1e-6), name
        with tempfile.TemporaryDirectory() as folder:
            file = os.path.join(folder, "a.weights.h5")
            model.save_weights(file)
            written = [path for path in datasets(file) if not path.startswith("optimizer/")]
            assert sorted(written) == sorted(paths(case["model"]["layers"])), name
            with h5py.File(file, "r+") as h5:  # what dltrain adds, Keras must not mind
                h5.create_group("dltrain/preprocess")["cursor"] = np.arange(3)
            again = model_of(case, file)
            assert np.array_equal(again.predict(x, batch_size=4, verbose=0), y), name
            for a, b in zip(model.optimizer.variables, again.optimizer.variables):
                assert np.array_equal(a, b), name
            whole = os.path.join(folder, "a.keras")
            model.save(whole)
            loaded = keras.models.load_model(whole)
            assert np.array_equal(loaded.predict(x, batch_size=4, verbose=0), y), name
            assert loaded.count_params() == model.count_params(), name


def test_files_written_by_keras_after_training():
    listed, arrays = cases("models")
    files = [case for case in listed if case.get("file")]
    assert len(files) >= 6
    for case in files:
        name = case["name"]
        path = os.path.join(GOLDEN, "files", name + ".weights.h5")
        assert sorted(p for p in datasets(path) if not p.startswith("optimizer/")) == sorted(
            paths(case["model"]["layers"])
        ), name
        model = model_of(case, path)
        for where, variable in dk.weight_paths(model).items():
            assert np.array_equal(variable, arrays[f"{name}/w_final/{where}"]), (name, where)
        assert int(model.optimizer._iterations) == 20, name
        got = model.evaluate(arrays[f"{name}/x"], arrays[f"{name}/y"], batch_size=4, verbose=0, return_dict=True)
        for key, value in got.items():
            assert np.allclose(value, arrays[f"{name}/evaluate/{key}"], rtol=1e-5, atol=1e-6), (name, key)


def test_load_model_from_text_and_from_file():
    text = "name: a\nlayers: [{Input: {shape: [4]}}, {Dense: {units: 3, activation: {leaky_relu: {negative_slope: 1/10}}}}]\n"
    model = dk.load_model(text)
    assert not model.compiled and model.name == "a"
    w = model.get_weights()
    x = np.array([[1.0, -2.0, 3.0, -4.0]], np.float32)
    z = x @ w[0] + w[1]
    assert np.allclose(model.predict(x, verbose=0), np.where(z > 0, z, 0.1 * z), atol=1e-6)
    with tempfile.TemporaryDirectory() as folder:
        file = os.path.join(folder, "m.yaml")
        with open(file, "w", encoding="utf-8") as out:
            out.write(text + "loss: mse\noptimizer: {Adam: {learning_rate: 1e-2}}\n")
        loaded = dk.load_model(file)
        assert loaded.compiled and abs(float(loaded.optimizer.learning_rate) - 0.01) < 1e-8
        loaded.save_weights(os.path.join(folder, "m.weights.h5"))
        assert np.array_equal(
            dk.load_model(file, os.path.join(folder, "m.weights.h5")).get_weights()[0], loaded.get_weights()[0]
        )


def test_feature_space_is_left_to_dltrain():
    layers = [{"FeatureSpace": {"features": {"a": "float"}}}, {"Dense": {"units": 2}}]
    refuses("FeatureSpace", lambda: dk.build(layers))
    assert set(dk.weight_paths(dk.build(layers, input_shape=[5]))) == {"layers/dense/vars/0", "layers/dense/vars/1"}


def test_unnamed_layers_are_called_as_their_group_in_the_file():
    model = dk.build(
        [
            "MaxPool2D",
            "Flatten",
            {"Dense": {"units": 2, "name": "dense_1"}},
            {"Dense": {"units": 2}},
            {"Dense": {"units": 2}},
        ],
        [4, 4, 1],
    )
    assert [layer.name for layer in model.layers] == ["max_pooling2d", "flatten", "dense_1", "dense_1_", "dense_2"]


def test_scalars_of_yaml():
    read = dk.parse("{a: 1e-3, b: no, c: true, d: 1/255, e: -7, f: .5, g: .inf, h: 0x10, i: null, j: 010}")
    assert read == {
        "a": 1e-3,
        "b": "no",
        "c": True,
        "d": "1/255",
        "e": -7,
        "f": 0.5,
        "g": float("inf"),
        "h": "0x10",
        "i": None,
        "j": 10,
    }


def refuses(words, build):
    try:
        build()
    except dk.ModelError as error:
        assert words in str(error), error
        return
    raise AssertionError(f"no complaint about '{words}'")


def test_mistakes_are_named():
    model = lambda *layers: lambda: dk.build(list(layers), input_shape=[4])
    refuses("no layer kind 'Dens'", model({"Dens": {"units": 3}}))
    refuses("not available", model({"Lambda": {"function": "x"}}))
    refuses("Dense 'dense'", model({"Dense": {"units": 3, "unitz": 1}}))
    refuses("no earlier layer 'b'", model({"Dense": {"units": 3, "name": "a"}}, {"Reuse": {"layer": "b"}}))
    refuses("no earlier layer 'a'", model({"Reuse": {"layer": "a"}}, {"Dense": {"units": 4, "name": "a"}}))
    refuses(
        "needs a ReversibleEmbedding",
        model({"Dense": {"units": 4, "name": "a"}}, {"Reuse": {"layer": "a", "reverse": True}}),
    )
    refuses("'times' is missing", model({"Repeat": {"layers": ["Flatten"]}}))
    refuses("unknown key 'layer'", model({"Residual": {"layers": [{"Dense": {"units": 4}}], "layer": 1}}))
    refuses("merge must be one of", model({"Parallel": {"branches": [["Flatten"]], "merge": "sum"}}))
    refuses("the shortcut gives", model({"Residual": {"layers": [{"Dense": {"units": 3}}]}}))
    refuses("stands twice", lambda: dk.parse("{a: 1, a: 2}"))
    refuses("shape of the input", lambda: dk.build([{"Dense": {"units": 1}}]))
    refuses("resolved by dltrain", lambda: dk.load_model("{include: [a.yaml], layers: [Flatten]}"))
    refuses("no optimizer 'Adamm'", lambda: dk.optimizer({"Adamm": {}}))


def test_attention_is_that_of_keras():
    """Our one-input layer against Keras' own in a Functional model, with the same weights, with and without mask."""
    for causal in (False, True):
        for mask_zero in (False, True):
            keras.utils.clear_session()
            tokens = keras.Input((5,), dtype="int32")
            x = keras.layers.Embedding(6, 4, mask_zero=mask_zero)(tokens)
            y = keras.layers.MultiHeadAttention(2, 3)(x, x, use_causal_mask=causal)
            theirs = keras.Model(tokens, y)
            ours = dk.build(
                [
                    {"Embedding": {"input_dim": 6, "output_dim": 4, "mask_zero": mask_zero}},
                    {"MultiHeadAttention": {"num_heads": 2, "key_dim": 3, "causal": causal}},
                ],
                [5],
            )
            ours.set_weights(theirs.get_weights())
            ids = np.array([[1, 2, 3, 4, 5], [3, 2, 0, 0, 0], [0, 1, 0, 2, 0], [0, 0, 0, 0, 0]])
            assert np.allclose(ours.predict(ids, verbose=0), theirs.predict(ids, verbose=0), atol=1e-6)


def test_attention_of_unequal_widths_is_that_of_the_other_path():
    """value_dim != key_dim: Keras' path for dropout > 0 needs no padding and must agree at inference."""
    for causal in (False, True):
        make = lambda dropout: dk.build(
            [
                {
                    "MultiHeadAttention": {
                        "num_heads": 2,
                        "key_dim": 3,
                        "value_dim": 5,
                        "causal": causal,
                        "dropout": dropout,
                    }
                }
            ],
            [4, 6],
        )
        ours, theirs = make(0.0), make(0.5)
        ours.set_weights(theirs.get_weights())
        x = np.random.default_rng(0).standard_normal((2, 4, 6)).astype(np.float32)
        assert np.allclose(ours.predict(x, verbose=0), theirs.predict(x, verbose=0), atol=1e-6)


def test_residual_keeps_the_mask_of_its_input():
    from keras.src import backend

    layers = [
        {"Embedding": {"input_dim": 6, "output_dim": 4, "mask_zero": True}},
        {"Residual": {"layers": [{"MultiHeadAttention": {"num_heads": 2, "key_dim": 3}}]}},
    ]
    model = dk.build(layers, [3])
    ids = np.array([[1, 2, 0]], np.int32)
    mask = backend.get_keras_mask(model(ids))
    assert np.array_equal(mask, ids != 0)


def test_freezing_a_container_freezes_what_is_inside():
    model = dk.build(
        [
            {"Residual": {"trainable": False, "layers": ["BatchNormalization", {"Dense": {"units": 4}}]}},
            {"Dense": {"units": 1}},
        ],
        [4],
    )
    assert len(model.trainable_variables) == 2
    before = [np.array(v) for v in model.non_trainable_variables]
    model(np.ones((3, 4), np.float32), training=True)
    assert all(np.array_equal(a, b) for a, b in zip(before, model.non_trainable_variables))


def test_reuse_owns_nothing_and_shares_gradients():
    model = dk.build([{"Dense": {"units": 4, "name": "a"}}, {"Reuse": {"layer": "a"}}], [4])
    assert len(model.trainable_variables) == 2 and len(dk.weight_paths(model)) == 2
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "m.keras")
        model.save(path)
        loaded = keras.models.load_model(path)
        assert loaded.layers[1]._borrowed.layer is loaded.layers[0]


def main():
    failed = 0
    for name, test in list(globals().items()):
        if name.startswith("test_"):
            try:
                test()
                print(f"ok    {name}", flush=True)
            except Exception as error:  # noqa: BLE001
                failed += 1
                print(f"FAIL  {name}: {type(error).__name__}: {error}", flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
