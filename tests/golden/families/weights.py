"""Families regularizers, constraints, initializers: what Keras lets one say about each weight of each layer."""

import math

import numpy as np

from .common import Chain, Family, layer_case, randomise, rng

# One layer of each kind with every weight it can have, and the option prefixes of those weights.
LAYERS = {
    "dense": ("Dense", {"units": 4}, [3, 5], ["kernel", "bias"]),
    "conv2d": ("Conv2D", {"filters": 3, "kernel_size": 2}, [2, 3, 4, 2], ["kernel", "bias"]),
    "batch_normalization": ("BatchNormalization", {}, [5, 3], ["gamma", "beta"]),
    "layer_normalization": ("LayerNormalization", {}, [3, 4], ["gamma", "beta"]),
    "embedding": ("Embedding", {"input_dim": 6, "output_dim": 3}, [2, 4], ["embeddings"]),
    "reversible_embedding": (
        "ReversibleEmbedding",
        {"input_dim": 6, "output_dim": 3, "tie_weights": False},
        [2, 4],
        ["embeddings"],
    ),
    "lstm": ("LSTM", {"units": 2}, [2, 3, 3], ["kernel", "recurrent", "bias"]),
    "gru": ("GRU", {"units": 2}, [2, 3, 3], ["kernel", "recurrent", "bias"]),
    "multi_head_attention": ("MultiHeadAttention", {"num_heads": 2, "key_dim": 2}, [2, 3, 4], ["kernel", "bias"]),
}


def spec(shape, kind):
    if "Embedding" in kind:
        return {"shape": shape, "dtype": "int32", "below": 6}
    return {"shape": shape, "dtype": "float32"}


def regularizers():
    import dltrain_keras
    import jax

    f = Family(
        "regularizers",
        "Regularizers: penalty and gradient of one weight; and layers that have them (see Layer cases).",
    )
    singles = [
        ("l1", "L1", {}),
        ("l2", "L2", {}),
        ("l1_value", "L1", {"l1": 0.3}),
        ("l2_value", "L2", {"l2": 0.2}),
        ("l1l2_default", "L1L2", {}),
        ("l1l2", "L1L2", {"l1": 0.1, "l2": 0.05}),
    ]
    for name, kind, parameters in singles:
        for shape in ([3, 4], [5], [2, 2, 3, 2]):
            f.add(f"{name}_{'x'.join(map(str, shape))}", regularizer={kind: parameters}, shape=shape)
    for string in ("l1", "l2", "l1l2"):
        f.add(f"string_{string}", regularizer=string, shape=[3, 4])
    for name, parameters in (
        ("default", {}),
        ("rows", {"factor": 0.5, "mode": "rows"}),
        ("columns", {"factor": 0.5, "mode": "columns"}),
    ):
        for shape in ([3, 4], [4, 2]):
            f.add(
                f"orthogonal_{name}_{shape[0]}x{shape[1]}",
                regularizer={"OrthogonalRegularizer": parameters},
                shape=shape,
            )
    for case in f.cases:
        random = rng(case["name"])
        w = random.uniform(0.1, 1.5, case["shape"]) * random.choice([-1, 1], case["shape"])
        w = w.astype(np.float32)
        value, gradient = jax.jit(jax.value_and_grad(dltrain_keras.regularizer(case["regularizer"])))(w)
        f.put(f"{case['name']}/w", w)
        f.put(f"{case['name']}/value", np.asarray(value))
        f.put(f"{case['name']}/dw", np.asarray(gradient))

    penalties = [{"L2": {"l2": 0.1}}, {"L1L2": {"l1": 0.02, "l2": 0.05}}, "l2"]
    chains = []

    def add(name, case_spec, layers, **more):
        f.add(name, input=case_spec, layers=layers, **more)
        chains.append(f.cases[-1])

    for name, (kind, parameters, shape, options) in LAYERS.items():
        all_of_them = {f"{option}_regularizer": penalty for option, penalty in zip(options, penalties)}
        add(f"layer_{name}", spec(shape, kind), [{kind: {**parameters, **all_of_them}}])
    add(
        "layer_untied_reverse",
        spec([2, 4], "Embedding"),
        [
            {
                "ReversibleEmbedding": {
                    "input_dim": 6,
                    "output_dim": 3,
                    "tie_weights": False,
                    "embeddings_regularizer": "l2",
                    "name": "t",
                }
            },
            {"Reuse": {"layer": "t", "reverse": True}},
        ],
        note="the reverse weight is not regularized",
    )
    for name in ("dense", "conv2d", "lstm", "gru", "batch_normalization", "layer_normalization"):
        kind, parameters, shape, _ = LAYERS[name]
        add(
            f"activity_{name}",
            spec(shape, kind),
            [{kind: {**parameters, "activity_regularizer": {"L2": {"l2": 0.1}}}}],
            note="divided by the batch size",
        )
    add(
        "activity_embedding",
        spec([3, 4], "Embedding"),
        [{"Embedding": {"input_dim": 6, "output_dim": 3, "activity_regularizer": {"L2": {"l2": 0.1}}}}],
    )
    add(
        "activity_l1_dense_relu",
        spec([4, 5], "Dense"),
        [{"Dense": {"units": 3, "activation": "relu", "activity_regularizer": "l1"}}],
        note="taken after the activation",
    )
    add(
        "activity_sequences",
        spec([2, 3, 3], "LSTM"),
        [{"LSTM": {"units": 2, "return_sequences": True, "activity_regularizer": {"L2": {"l2": 0.1}}}}],
    )
    add(
        "frozen_dense",
        spec([3, 5], "Dense"),
        [
            {"Dense": {"units": 4, "trainable": False, "kernel_regularizer": "l2"}},
            {"Dense": {"units": 2, "kernel_regularizer": "l2"}},
        ],
        note="frozen weights are not penalised",
    )
    add(
        "in_bidirectional",
        spec([2, 3, 2], "LSTM"),
        [
            {
                "Bidirectional": {
                    "layer": {
                        "LSTM": {
                            "units": 2,
                            "kernel_regularizer": "l2",
                            "recurrent_regularizer": {"L1": {"l1": 0.03}},
                        }
                    }
                }
            }
        ],
    )
    add(
        "in_time_distributed",
        spec([2, 3, 2], "Dense"),
        [{"TimeDistributed": {"layer": {"Dense": {"units": 2, "kernel_regularizer": {"L2": {"l2": 0.1}}}}}}],
    )
    add(
        "activity_in_time_distributed",
        spec([2, 3, 2], "Dense"),
        [
            {
                "TimeDistributed": {
                    "layer": {
                        "Dense": {"units": 2, "kernel_regularizer": "l2", "activity_regularizer": {"L2": {"l2": 0.1}}}
                    }
                }
            }
        ],
        note="TimeDistributed goes past the call that would add the penalty: only the kernel counts",
    )
    add(
        "activity_in_bidirectional",
        spec([2, 3, 2], "LSTM"),
        [{"Bidirectional": {"layer": {"LSTM": {"units": 2, "activity_regularizer": {"L2": {"l2": 0.1}}}}}}],
        note="once for each direction",
    )
    add(
        "in_residual",
        spec([3, 4], "Dense"),
        [{"Residual": {"layers": [{"Dense": {"units": 4, "kernel_regularizer": {"L2": {"l2": 0.1}}}}]}}],
    )
    add(
        "in_repeat",
        spec([3, 4], "Dense"),
        [
            {
                "Repeat": {
                    "times": 2,
                    "layers": [
                        {
                            "Dense": {
                                "units": 4,
                                "kernel_regularizer": {"L2": {"l2": 0.1}},
                                "activity_regularizer": {"L1": {"l1": 0.1}},
                            }
                        }
                    ],
                }
            }
        ],
    )
    add(
        "two_layers",
        spec([3, 4], "Dense"),
        [
            {"Dense": {"units": 4, "activation": "tanh", "kernel_regularizer": {"L1": {"l1": 0.01}}}},
            {
                "Dense": {
                    "units": 2,
                    "kernel_regularizer": {"OrthogonalRegularizer": {"factor": 0.2}},
                    "bias_regularizer": "l1",
                }
            },
        ],
    )
    for case in chains:
        layer_case(f, case)
    return f


def constraints():
    import dltrain_keras

    f = Family("constraints", "Constraints: a weight before and after; and layers that have them.")
    axes = {
        "axis0": ([3, 4], {"axis": 0}),
        "axis1": ([3, 4], {"axis": 1}),
        "default": ([3, 4], {}),
        "vector": ([4], {"axis": 0}),
        "conv": ([2, 2, 3, 2], {"axis": [0, 1, 2]}),
        "axis01": ([3, 4], {"axis": [0, 1]}),
    }
    kinds = {
        "max_norm": ("MaxNorm", [{}, {"max_value": 1.0}]),
        "unit_norm": ("UnitNorm", [{}]),
        "min_max_norm": (
            "MinMaxNorm",
            [{}, {"min_value": 0.8, "max_value": 1.2}, {"min_value": 0.8, "max_value": 1.2, "rate": 0.3}],
        ),
    }
    for name, (kind, variants) in kinds.items():
        for number, parameters in enumerate(variants):
            for tag, (shape, axis) in axes.items():
                f.add(f"{name}_{number}_{tag}", constraint={kind: {**parameters, **axis}}, shape=shape)
        f.add(f"{name}_zero_column", constraint=kind, shape=[3, 2], _zero=True)
    for shape in ([3, 4], [5]):
        f.add(f"non_neg_{'x'.join(map(str, shape))}", constraint="NonNeg", shape=shape)
    for string in ("max_norm", "non_neg", "unit_norm", "min_max_norm"):
        f.add(f"string_{string}", constraint=string, shape=[3, 4])
    for case in f.cases:
        random = rng(case["name"])
        w = (1.2 * random.standard_normal(case["shape"])).astype(np.float32)
        if case.get("_zero"):
            w[:, 0] = 0
        f.put(f"{case['name']}/w", w)
        f.put(f"{case['name']}/projected", np.asarray(dltrain_keras.constraint(case["constraint"])(w)))

    values = [{"MaxNorm": {"max_value": 0.9}}, {"MinMaxNorm": {"min_value": 0.3, "max_value": 0.6}}, "NonNeg"]
    for name, (kind, parameters, shape, options) in LAYERS.items():
        per_option = {f"{option}_constraint": value for option, value in zip(options, values)}
        if kind == "Conv2D":
            per_option["kernel_constraint"] = {"MaxNorm": {"max_value": 0.9, "axis": [0, 1, 2]}}
        f.add(f"layer_{name}", input=spec(shape, kind), layers=[{kind: {**parameters, **per_option}}])
        chain = Chain(f.cases[-1]["layers"], f.cases[-1]["input"])
        for path, value in randomise(chain.model, rng(f.cases[-1]["name"])).items():
            variable = chain.paths[path]
            after = value if variable.constraint is None else np.asarray(variable.constraint(variable.value))
            f.put(f"{f.cases[-1]['name']}/w/{path}", value)
            f.put(f"{f.cases[-1]['name']}/projected/{path}", after)
    return f


class Recorder:
    """Watches what Keras' initializers draw: the distribution with its arguments, and the fans they came from."""

    def __init__(self):
        from keras.src.initializers import random_initializers as module

        self.module, self.draws, self.fans, self.inside = module, [], None, 0
        self.random, self.compute_fans, self.orthogonal = (
            module.random,
            module.compute_fans,
            module.Orthogonal.__call__,
        )

    def __enter__(self):
        recorder, random = self, self.random

        class Random:
            def __getattr__(self, name):
                return getattr(random, name)

            def uniform(self, shape, minval, maxval, **kwargs):
                return recorder.note("uniform", [minval, maxval], random.uniform(shape, minval, maxval, **kwargs))

            def normal(self, shape, mean=0.0, stddev=1.0, **kwargs):
                return recorder.note("normal", [mean, stddev], random.normal(shape, mean, stddev, **kwargs))

            def truncated_normal(self, shape, mean, stddev, **kwargs):
                return recorder.note(
                    "truncated_normal", [mean, stddev], random.truncated_normal(shape, mean, stddev, **kwargs)
                )

        def compute_fans(*args, **kwargs):
            self.fans = self.compute_fans(*args, **kwargs)
            return self.fans

        def orthogonal(initializer, *args, **kwargs):
            self.inside += 1
            value = self.orthogonal(initializer, *args, **kwargs)
            self.inside -= 1
            return self.note("orthogonal", [initializer.gain], value)

        self.module.random, self.module.compute_fans, self.module.Orthogonal.__call__ = (
            Random(),
            compute_fans,
            orthogonal,
        )
        return self

    def __exit__(self, *_):
        self.module.random, self.module.compute_fans, self.module.Orthogonal.__call__ = (
            self.random,
            self.compute_fans,
            self.orthogonal,
        )

    def note(self, kind, arguments, value):
        if self.inside == 0:
            self.draws.append((kind, arguments, self.fans, np.asarray(value)))
            self.fans = None
        return value

    def find(self, value):
        for kind, arguments, fans, drawn in self.draws:
            if drawn.shape == value.shape and drawn.size and np.array_equal(drawn, value):
                return kind, arguments, fans
        return None


def expected_std(kind, arguments, shape):
    """Standard deviation of the values themselves."""
    if kind == "uniform":
        return (arguments[1] - arguments[0]) / math.sqrt(12)
    if kind == "normal":
        return arguments[1]
    if kind == "truncated_normal":
        return arguments[1] * 0.87962566103423978
    return arguments[0] / math.sqrt(max(math.prod(shape[:-1]), shape[-1]))


def check_std(kind, arguments):
    """Draws many values with Keras and compares, so that the stored std is Keras' and not only a formula's."""
    import keras

    shape = (400, 500)
    if kind == "orthogonal":
        return
    drawn = np.asarray(getattr(keras.random, kind)(shape, *arguments, seed=7))
    wanted = expected_std(kind, arguments, shape)
    if abs(drawn.std() / wanted - 1) > 0.01:
        raise ValueError(f"{kind}{arguments}: std {drawn.std()}, expected {wanted}")
    if kind == "truncated_normal" and np.max(abs(drawn - arguments[0])) > 2.0001 * arguments[1]:
        raise ValueError(f"{kind}{arguments}: not cut at 2 stddev")


def put_draw(f, name, path, found, value):
    tail = f"/{path}" if path else ""
    if found is None:
        f.put(f"{name}/exact{tail}", value)
        return
    kind, arguments, fans = found
    check_std(kind, arguments)
    f.put(f"{name}/{kind}{tail}", np.array(arguments, np.float64))
    f.put(f"{name}/std{tail}", np.float32(expected_std(kind, arguments, value.shape)))
    if fans is not None:
        f.put(f"{name}/fans{tail}", np.array(fans, np.int32))


def initializers():
    import dltrain_keras
    import keras

    f = Family(
        "initializers",
        "Initializers: exact values, or the distribution and its arguments; alone and as each layer uses them.",
    )
    exact = [
        ("zeros", "zeros", [2, 3]),
        ("Zeros", "Zeros", [4]),
        ("ones", "ones", [2, 3]),
        ("constant", {"Constant": {"value": 0.3}}, [2, 2]),
        ("constant_default", {"Constant": {}}, [3]),
        ("identity", "identity", [3, 3]),
        ("identity_wide", {"Identity": {"gain": 1.5}}, [2, 4]),
        ("identity_tall", {"Identity": {"gain": -1.0}}, [4, 2]),
    ]
    for name, item, shape in exact:
        f.add(name, initializer=item, shape=shape)
    shapes = {
        "scalar": [],
        "vector": [7],
        "matrix": [6, 10],
        "conv1d": [3, 4, 8],
        "conv2d": [3, 5, 4, 8],
        "rank5": [2, 3, 2, 4, 6],
    }
    for item in ("glorot_uniform", "glorot_normal", "he_uniform", "he_normal", "lecun_uniform", "lecun_normal"):
        for tag, shape in shapes.items():
            f.add(f"{item}_{tag}", initializer=item, shape=shape)
    for mode in ("fan_in", "fan_out", "fan_avg"):
        for distribution in ("truncated_normal", "untruncated_normal", "uniform", "normal"):
            f.add(
                f"variance_scaling_{mode}_{distribution}",
                initializer={"VarianceScaling": {"scale": 0.5, "mode": mode, "distribution": distribution}},
                shape=[3, 4, 8],
            )
    f.add("variance_scaling_default", initializer="VarianceScaling", shape=[6, 10])
    for name, item in (
        ("random_normal", "random_normal"),
        ("random_normal_values", {"RandomNormal": {"mean": 0.5, "stddev": 0.2}}),
        ("random_uniform", "uniform"),
        ("random_uniform_values", {"RandomUniform": {"minval": -0.2, "maxval": 0.7}}),
        ("truncated_normal", "truncated_normal"),
        ("truncated_normal_values", {"TruncatedNormal": {"mean": 1.0, "stddev": 0.3}}),
    ):
        f.add(name, initializer=item, shape=[6, 10])
    for tag, shape in (
        ("square", [5, 5]),
        ("tall", [7, 3]),
        ("wide", [3, 7]),
        ("conv2d", [2, 2, 3, 5]),
        ("lstm", [4, 16]),
    ):
        f.add(f"orthogonal_{tag}", initializer="orthogonal", shape=shape)
    f.add("orthogonal_gain", initializer={"Orthogonal": {"gain": 2.0}}, shape=[4, 6])
    for case in f.cases:
        values = []
        with Recorder() as recorder:
            for _ in range(2):
                values.append(
                    np.asarray(dltrain_keras.initializer(case["initializer"])(tuple(case["shape"]), "float32"))
                )
            found = recorder.find(values[0])
        if found is None and not np.array_equal(*values):
            raise ValueError(f"{case['name']}: random, but nobody drew it")
        put_draw(f, case["name"], "", found, values[0])

    def add(name, case_spec, *layers):
        f.add("layer_" + name, input=case_spec, layers=list(layers))

    for name, (kind, parameters, shape, options) in LAYERS.items():
        add(name, spec(shape, kind), {kind: parameters})
    x = lambda *shape: spec(list(shape), "")
    add("dense_rank4", x(2, 2, 2, 5), {"Dense": {"units": 4}})
    add(
        "dense_options",
        x(2, 5),
        {"Dense": {"units": 4, "kernel_initializer": "he_normal", "bias_initializer": {"Constant": {"value": 0.1}}}},
    )
    add("conv2d_groups", x(2, 4, 4, 6), {"Conv2D": {"filters": 9, "kernel_size": [3, 2], "groups": 3}})
    add("conv2d_he", x(2, 4, 4, 3), {"Conv2D": {"filters": 8, "kernel_size": 3, "kernel_initializer": "he_uniform"}})
    add(
        "batch_normalization_options",
        x(5, 3),
        {
            "BatchNormalization": {
                "gamma_initializer": {"Constant": {"value": 0.5}},
                "beta_initializer": "ones",
                "moving_mean_initializer": {"Constant": {"value": 2.0}},
                "moving_variance_initializer": {"Constant": {"value": 3.0}},
            }
        },
    )
    add(
        "layer_normalization_options",
        x(3, 4),
        {"LayerNormalization": {"gamma_initializer": "zeros", "beta_initializer": "ones"}},
    )
    add(
        "embedding_options",
        spec([2, 4], "Embedding"),
        {"Embedding": {"input_dim": 6, "output_dim": 3, "embeddings_initializer": "normal"}},
    )
    add("position_embedding", x(2, 4, 6), {"PositionEmbedding": {"sequence_length": 10}})
    add(
        "position_embedding_options",
        x(2, 4, 6),
        {"PositionEmbedding": {"sequence_length": 10, "initializer": "zeros"}},
    )
    add("lstm_no_forget_bias", x(2, 3, 3), {"LSTM": {"units": 2, "unit_forget_bias": False}})
    add(
        "lstm_options",
        x(2, 3, 3),
        {
            "LSTM": {
                "units": 2,
                "kernel_initializer": "he_normal",
                "recurrent_initializer": "glorot_uniform",
                "bias_initializer": {"Constant": {"value": 0.2}},
            }
        },
    )
    add("gru_reset_before", x(2, 3, 3), {"GRU": {"units": 2, "reset_after": False}})
    add("bidirectional", x(2, 3, 3), {"Bidirectional": {"layer": {"LSTM": {"units": 2}}}})
    add("time_distributed", x(2, 3, 5), {"TimeDistributed": {"layer": {"Dense": {"units": 4}}}})
    add("multi_head_attention_wide", x(2, 3, 64), {"MultiHeadAttention": {"num_heads": 8, "key_dim": 16}})
    add(
        "multi_head_attention_value_dim_output",
        x(2, 3, 6),
        {"MultiHeadAttention": {"num_heads": 3, "key_dim": 2, "value_dim": 5, "output_shape": 7}},
    )
    add(
        "multi_head_attention_he_normal",
        x(2, 3, 6),
        {
            "MultiHeadAttention": {
                "num_heads": 3,
                "key_dim": 2,
                "kernel_initializer": "he_normal",
                "bias_initializer": "ones",
            }
        },
    )
    add("repeat", x(2, 4), {"Repeat": {"times": 2, "layers": [{"Dense": {"units": 4}}]}})
    add("normalization", x(2, 4), "Normalization")
    for case in f.cases:
        if "layers" not in case:
            continue
        runs = []
        for seed in (1, 2):
            keras.utils.set_random_seed(seed)
            with Recorder() as recorder:
                chain = Chain(case["layers"], case["input"])
            runs.append({path: np.asarray(v.value) for path, v in chain.paths.items()})
        for path, value in runs[1].items():
            found = recorder.find(value)
            if found is None and not np.array_equal(value, runs[0][path]):
                raise ValueError(f"{case['name']}: {path} is random, but nobody drew it")
            put_draw(f, case["name"], path, found, value)
    return f


FAMILIES = {"regularizers": regularizers, "constraints": constraints, "initializers": initializers}
