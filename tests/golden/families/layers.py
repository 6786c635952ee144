"""Families activations, layers, masks, containers: chains of layers, forward and backward."""

import warnings

import numpy as np

from .common import Chain, Family, input_array, layer_case, rng

# Token rows for (4, 6): no padding, padding on the right, padding inside and on the left, nothing but padding.
TOKENS = np.array([[3, 1, 4, 1, 5, 2], [2, 6, 5, 0, 0, 0], [0, 5, 0, 3, 0, 6], [0, 0, 0, 0, 0, 0]], np.int32)
IDS = {"shape": [4, 6], "dtype": "int32", "below": 7}
MASKED = {"Embedding": {"input_dim": 7, "output_dim": 3, "mask_zero": True}}


def floats(*shape):
    return {"shape": list(shape), "dtype": "float32"}


def finish(family):
    for case in family.cases:
        layer_case(family, case)
    return family


def activations():
    f = Family("activations", "Activation functions by Keras' names, and with parameters, as the layer Activation.")
    names = (
        """linear relu relu6 leaky_relu elu selu celu gelu glu silu swish hard_silu hard_swish sigmoid hard_sigmoid
        log_sigmoid sparse_sigmoid tanh tanh_shrink hard_tanh hard_shrink soft_shrink softplus softsign squareplus sparse_plus
        mish exponential softmax log_softmax sparsemax""".split()
    )
    grid = np.array([-18.5, -7.3, -3.4, -2.6, -1.7, -1.2, -0.83, -0.61, -0.37, -0.12, -0.013, 0.002], np.float32)
    grid = np.concatenate([grid, -grid[::-1] * np.float32(0.97)]).reshape(4, 6)
    small = {"exponential": 0.4, "softmax": 0.5, "log_softmax": 0.5, "sparsemax": 0.5}
    for name in names:
        f.add(
            name,
            input=floats(4, 6),
            layers=[{"Activation": {"activation": name}}],
            _x=grid * np.float32(small.get(name, 1)),
        )
    # `threshold` is the 32nd; it has no defaults. sparsemax: see 'Differences found' in README.md.
    with_parameters = [
        ("threshold", {"threshold": 0.5, "default_value": -1.5}),
        ("threshold", {"threshold": -0.9, "default_value": 0.25}),
        ("relu", {"negative_slope": 0.1}),
        ("relu", {"max_value": 2.0}),
        ("relu", {"threshold": 0.7}),
        ("relu", {"negative_slope": 0.2, "max_value": 1.5, "threshold": 0.4}),
        ("leaky_relu", {"negative_slope": 0.1}),
        ("elu", {"alpha": 0.6}),
        ("celu", {"alpha": 1.7}),
        ("gelu", {"approximate": True}),
        ("gelu", {"approximate": False}),
        ("hard_shrink", {"threshold": 1.0}),
        ("soft_shrink", {"threshold": 0.9}),
        ("squareplus", {"b": 0.5}),
    ]
    for i, (name, parameters) in enumerate(with_parameters):
        layers = [{"Activation": {"activation": {name: parameters}}}]
        f.add(f"{name}_with_{'_'.join(parameters)}_{i}", input=floats(4, 6), layers=layers, _x=grid)
    for name in ("softmax", "log_softmax", "sparsemax", "glu"):
        f.add(f"{name}_rank3", input=floats(2, 3, 4), layers=[{"Activation": {"activation": name}}])
        f.add(f"{name}_axis1", input=floats(2, 4, 3), layers=[{"Activation": {"activation": {name: {"axis": 1}}}}])
    large = np.array([[80.0, -90.0, 3.0, 79.5], [-120.0, -121.0, -119.5, -300.0]], np.float32)
    for name in (
        "softmax",
        "log_softmax",
        "sigmoid",
        "log_sigmoid",
        "softplus",
        "tanh",
        "mish",
        "silu",
        "gelu",
        "elu",
        "softsign",
    ):
        f.add(f"{name}_large", input=floats(2, 4), layers=[{"Activation": {"activation": name}}], _x=large)
    f.add(
        "sparsemax_support1",
        input=floats(1, 5),
        layers=[{"Activation": {"activation": "sparsemax"}}],
        _x=np.array([[4.0, 0.5, -1.0, 2.0, 0.1]], np.float32),
    )
    f.add(
        "sparsemax_all",
        input=floats(1, 5),
        layers=[{"Activation": {"activation": "sparsemax"}}],
        _x=np.array([[0.1, 0.13, 0.05, 0.2, 0.16]], np.float32),
    )
    return finish(f)


def add_dense(f):
    f.add("dense_relu", input=floats(3, 5), layers=[{"Dense": {"units": 4, "activation": "relu"}}])
    f.add("dense_linear", input=floats(3, 5), layers=[{"Dense": {"units": 4}}])
    f.add(
        "dense_no_bias", input=floats(3, 5), layers=[{"Dense": {"units": 4, "use_bias": False, "activation": "tanh"}}]
    )
    f.add("dense_rank3", input=floats(2, 3, 4), layers=[{"Dense": {"units": 3, "activation": "sigmoid"}}])
    f.add("dense_rank4", input=floats(2, 2, 3, 4), layers=[{"Dense": {"units": 2, "activation": "gelu"}}])
    f.add(
        "dense_rank4_softmax_no_bias",
        input=floats(2, 2, 3, 4),
        layers=[{"Dense": {"units": 3, "use_bias": False, "activation": "softmax"}}],
    )
    f.add("dense_one_to_one", input=floats(1, 1), layers=[{"Dense": {"units": 1}}])
    f.add("dense_17_to_33", input=floats(2, 17), layers=[{"Dense": {"units": 33, "activation": "selu"}}])
    f.add(
        "dense_leaky",
        input=floats(3, 5),
        layers=[{"Dense": {"units": 4, "activation": {"leaky_relu": {"negative_slope": 0.1}}}}],
    )
    f.add(
        "dense_frozen",
        input=floats(3, 5),
        layers=[{"Dense": {"units": 4, "trainable": False}}, {"Dense": {"units": 2}}],
    )
    f.add(
        "dense_softmax_after_relu",
        input=floats(4, 6),
        layers=[{"Dense": {"units": 8, "activation": "relu"}}, {"Dense": {"units": 3, "activation": "softmax"}}],
    )
    f.add("dropout_rate_0", input=floats(3, 5), layers=[{"Dropout": {"rate": 0.0}}, {"Dense": {"units": 2}}])
    f.add(
        "dropout_inference",
        input=floats(3, 5),
        layers=[{"Dropout": {"rate": 0.5}}, {"Dense": {"units": 2}}],
        train=False,
    )


def add_shape(f):
    f.add("flatten_rank2", input=floats(3, 4), layers=["Flatten"])
    f.add("flatten_rank3", input=floats(2, 3, 4), layers=["Flatten"])
    f.add("flatten_rank4", input=floats(2, 3, 2, 2), layers=["Flatten", {"Dense": {"units": 2}}])
    for i, (shape, target) in enumerate(
        [([6], [2, 3]), ([2, 6], [3, -1]), ([2, 6], [-1]), ([3, 4], [-1, 2, 2]), ([4], [4, 1]), ([2, 3, 2], [6, 2])]
    ):
        f.add(f"reshape_{i}", input=floats(2, *shape), layers=[{"Reshape": {"target_shape": target}}])


def add_conv(f):
    """Every combination of padding, stride, dilation and kernel that Keras allows, on sizes that make padding uneven."""
    # (input channels, filters, groups, use_bias), taken in turn
    channels = [
        (2, 3, 1, True),
        (1, 2, 1, True),
        (4, 6, 2, True),
        (3, 2, 1, False),
        (3, 3, 3, True),
        (4, 2, 2, False),
    ]
    turn = 0
    for padding in ("valid", "same"):
        for strides, dilation in ((1, 1), (2, 1), ([2, 1], 1), (1, 2)):
            for kernel in (1, 2, 3, [3, 5]):
                if dilation == 2 and kernel == 1:
                    continue
                c, filters, groups, bias = channels[turn % len(channels)]
                turn += 1
                height, width = (5, 6) if turn % 2 else (6, 5)
                if kernel == [3, 5]:
                    height, width = (5, 10) if dilation == 2 else (5, 7)
                elif kernel == 3 and dilation == 2:
                    height, width = 6, 7
                parameters = {"filters": filters, "kernel_size": kernel}
                for key, value, default in (
                    ("strides", strides, 1),
                    ("padding", padding, "valid"),
                    ("dilation_rate", dilation, 1),
                    ("groups", groups, 1),
                    ("use_bias", bias, True),
                ):
                    if value != default:
                        parameters[key] = value
                text = lambda v: "x".join(map(str, v)) if isinstance(v, list) else str(v)
                name = f"conv2d_{padding}_k{text(kernel)}_s{text(strides)}_d{dilation}_c{c}_f{filters}_g{groups}" + (
                    "" if bias else "_nobias"
                )
                f.add(name, input=floats(2, height, width, c), layers=[{"Conv2D": parameters}])
    f.add(
        "conv2d_dilation_1x2",
        input=floats(1, 5, 7, 2),
        layers=[{"Conv2D": {"filters": 2, "kernel_size": 3, "dilation_rate": [1, 2], "padding": "same"}}],
    )
    f.add(
        "conv2d_relu",
        input=floats(2, 5, 5, 2),
        layers=[{"Conv2D": {"filters": 3, "kernel_size": 3, "padding": "same", "activation": "relu"}}],
    )
    f.add(
        "conv2d_no_bias_tanh",
        input=floats(2, 5, 5, 2),
        layers=[{"Conv2D": {"filters": 3, "kernel_size": 3, "use_bias": False, "activation": "tanh"}}],
    )
    f.add(
        "conv2d_kernel_is_image", input=floats(2, 4, 3, 2), layers=[{"Conv2D": {"filters": 2, "kernel_size": [4, 3]}}]
    )
    f.add(
        "conv2d_kernel_larger_than_image_same",
        input=floats(2, 2, 3, 2),
        layers=[{"Conv2D": {"filters": 2, "kernel_size": 5, "padding": "same"}}],
    )
    f.add(
        "conv2d_stride_larger_than_kernel",
        input=floats(2, 7, 8, 2),
        layers=[{"Conv2D": {"filters": 2, "kernel_size": 2, "strides": 3}}],
    )
    f.add(
        "conv2d_stride_3_same",
        input=floats(2, 7, 8, 2),
        layers=[{"Conv2D": {"filters": 2, "kernel_size": 3, "strides": 3, "padding": "same"}}],
    )
    for c, filters, kernel, groups in (
        (1, 17, 3, 1),
        (3, 16, 3, 1),
        (16, 3, 3, 1),
        (16, 16, 1, 1),
        (17, 5, 2, 1),
        (17, 17, 1, 1),
        (16, 16, 3, 16),
        (16, 8, 3, 4),
        (3, 3, [3, 5], 1),
    ):
        text = "3x5" if kernel == [3, 5] else kernel
        parameters = {"filters": filters, "kernel_size": kernel, "padding": "same"}
        if groups > 1:
            parameters["groups"] = groups
        f.add(
            f"conv2d_channels_{c}_to_{filters}_k{text}_g{groups}",
            input=floats(1, 4, 5, c),
            layers=[{"Conv2D": parameters}],
        )


def add_pooling(f):
    for kind, short in (("MaxPooling2D", "max"), ("AveragePooling2D", "average")):
        for padding in ("valid", "same"):
            for pool in (2, 3, [2, 3]):
                for strides in (None, 1, 2):
                    parameters = {"pool_size": pool}
                    if strides is not None:
                        parameters["strides"] = strides
                    if padding != "valid":
                        parameters["padding"] = padding
                    text = "2x3" if pool == [2, 3] else pool
                    f.add(
                        f"{short}_pooling_{padding}_p{text}_s{strides or 'pool'}",
                        input=floats(2, 5, 6, 2),
                        layers=[{kind: parameters}],
                    )
        f.add(
            f"{short}_pooling_strides_2x1_odd",
            input=floats(1, 7, 5, 3),
            layers=[{kind: {"pool_size": 2, "strides": [2, 1], "padding": "same"}}],
        )
        f.add(f"{short}_pooling_gaps", input=floats(1, 7, 8, 1), layers=[{kind: {"pool_size": 2, "strides": 3}}])
    f.add("max_pooling_default", input=floats(2, 5, 4, 2), layers=["MaxPooling2D"])
    negative = -1.0 - np.abs(rng("max_pooling_negative").standard_normal((2, 3, 3, 2))).astype(np.float32)
    f.add(
        "max_pooling_same_all_negative",
        input=floats(2, 3, 3, 2),
        layers=[{"MaxPooling2D": {"pool_size": 2, "padding": "same"}}],
        _x=negative,
    )
    f.add("global_average_pooling", input=floats(2, 3, 4, 3), layers=["GlobalAveragePooling2D"])
    f.add(
        "global_average_pooling_keepdims",
        input=floats(2, 3, 4, 3),
        layers=[{"GlobalAveragePooling2D": {"keepdims": True}}],
    )


def add_normalization(f):
    def bn(name, shape, **parameters):
        f.add("batch_normalization_" + name, input=floats(*shape), layers=[{"BatchNormalization": parameters}])

    bn("rank2", [5, 3])
    bn("rank3", [3, 4, 2])
    bn("rank4", [2, 3, 3, 2])
    bn("axis1_rank3", [3, 4, 2], axis=1)
    bn("axis1_rank4", [2, 3, 2, 2], axis=1)
    bn("axis2_rank4", [2, 3, 2, 2], axis=2)
    bn("no_center", [5, 3], center=False)
    bn("no_scale", [5, 3], scale=False)
    bn("no_center_no_scale", [4, 2, 3], center=False, scale=False)
    bn("momentum_05", [5, 3], momentum=0.5)
    bn("momentum_0", [5, 3], momentum=0.0)
    bn("epsilon_01", [2, 3, 3, 2], epsilon=0.1, momentum=0.9)
    bn("frozen_rank2", [5, 3], trainable=False)
    bn("frozen_rank4", [2, 3, 3, 2], trainable=False)
    far = (100.0 + rng("bn_far").standard_normal((6, 2))).astype(np.float32)
    f.add(
        "batch_normalization_large_mean",
        input=floats(6, 2),
        layers=["BatchNormalization"],
        _x=far,
        tolerance=3e-5,
        note="mean 100, deviation 1: the variance must not be lost to cancellation",
    )
    f.add(
        "batch_normalization_in_chain",
        input=floats(5, 3),
        layers=[
            {"Dense": {"units": 4}},
            "BatchNormalization",
            {"Activation": {"activation": "tanh"}},
            {"Dense": {"units": 2}},
        ],
    )
    f.add("batch_normalization_batch_of_1_spatial", input=floats(1, 3, 2, 2), layers=["BatchNormalization"])
    f.add(
        "batch_normalization_masked", input=IDS, layers=[MASKED, {"BatchNormalization": {"momentum": 0.8}}], _x=TOKENS
    )

    def ln(name, shape, **parameters):
        f.add("layer_normalization_" + name, input=floats(*shape), layers=[{"LayerNormalization": parameters}])

    ln("rank2", [3, 5])
    ln("rank3", [2, 3, 4])
    ln("rank4", [2, 2, 3, 4])
    ln("axis12", [2, 3, 4], axis=[1, 2])
    ln("axis1", [2, 3, 4], axis=1)
    ln("axis23_rank4", [2, 2, 3, 4], axis=[2, 3])
    ln("axis_last_two_negative", [2, 3, 4], axis=[-1, -2])
    ln("no_center", [2, 3, 4], center=False)
    ln("no_scale", [2, 3, 4], scale=False)
    ln("no_center_no_scale", [2, 3, 4], center=False, scale=False)
    ln("epsilon_01", [2, 3, 4], epsilon=0.1)
    ln("epsilon_1e_6", [3, 5], epsilon=1e-6)
    f.add(
        "layer_normalization_large_mean",
        input=floats(4, 5),
        layers=["LayerNormalization"],
        tolerance=3e-5,
        _x=(50.0 + rng("ln_far").standard_normal((4, 5))).astype(np.float32),
    )


def add_embedding(f):
    ids = {"shape": [3, 4], "dtype": "int32", "below": 6}
    f.add("embedding", input=ids, layers=[{"Embedding": {"input_dim": 6, "output_dim": 3}}])
    f.add(
        "embedding_mask_zero", input=ids, layers=[{"Embedding": {"input_dim": 6, "output_dim": 3, "mask_zero": True}}]
    )
    f.add(
        "embedding_repeated_ids",
        input={"shape": [2, 5], "dtype": "int32", "below": 3},
        layers=[{"Embedding": {"input_dim": 6, "output_dim": 2}}, {"Dense": {"units": 2}}],
    )
    f.add(
        "embedding_rank3_ids",
        input={"shape": [2, 2, 3], "dtype": "int32", "below": 5},
        layers=[{"Embedding": {"input_dim": 5, "output_dim": 2}}],
    )
    f.add(
        "embedding_one_id",
        input={"shape": [4, 1], "dtype": "int32", "below": 5},
        layers=[{"Embedding": {"input_dim": 5, "output_dim": 2}}, "Flatten", {"Dense": {"units": 1}}],
    )
    f.add("position_embedding", input=floats(2, 4, 3), layers=[{"PositionEmbedding": {"sequence_length": 4}}])
    f.add("position_embedding_shorter", input=floats(2, 4, 3), layers=[{"PositionEmbedding": {"sequence_length": 7}}])
    f.add(
        "position_embedding_rank4", input=floats(2, 2, 3, 2), layers=[{"PositionEmbedding": {"sequence_length": 5}}]
    )
    f.add(
        "position_embedding_after_embedding",
        input=IDS,
        layers=[MASKED, {"PositionEmbedding": {"sequence_length": 8}}],
        _x=TOKENS,
    )
    embedding = {"input_dim": 6, "output_dim": 3, "name": "tokens"}
    for name, more in (
        ("tied", {}),
        ("untied", {"tie_weights": False}),
        ("tied_soft_cap", {"logit_soft_cap": 1.5}),
        ("untied_soft_cap", {"tie_weights": False, "logit_soft_cap": 0.7}),
    ):
        layers = [
            {"ReversibleEmbedding": {**embedding, **more}},
            {"Dense": {"units": 3, "activation": "tanh"}},
            {"Reuse": {"layer": "tokens", "reverse": True}},
        ]
        f.add(f"reversible_embedding_{name}_reverse", input=ids, layers=layers)
    f.add(
        "reversible_embedding_forward", input=ids, layers=[{"ReversibleEmbedding": {"input_dim": 6, "output_dim": 3}}]
    )
    f.add(
        "reversible_embedding_untied_forward",
        input=ids,
        layers=[{"ReversibleEmbedding": {"input_dim": 6, "output_dim": 3, "tie_weights": False}}],
    )
    f.add(
        "reversible_embedding_rank2_reverse",
        input={"shape": [4, 1], "dtype": "int32", "below": 6},
        layers=[{"ReversibleEmbedding": embedding}, "Flatten", {"Reuse": {"layer": "tokens", "reverse": True}}],
    )


def add_recurrent(f):
    x = floats(3, 5, 2)
    variants = [
        ("default", {}),
        ("sequences", {"return_sequences": True}),
        ("backwards", {"go_backwards": True}),
        ("backwards_sequences", {"go_backwards": True, "return_sequences": True}),
        ("no_bias", {"use_bias": False, "return_sequences": True}),
        (
            "relu_hard_sigmoid",
            {"activation": "relu", "recurrent_activation": "hard_sigmoid", "return_sequences": True},
        ),
        ("softsign_tanh", {"activation": "softsign", "recurrent_activation": "tanh"}),
        ("linear", {"activation": "linear", "return_sequences": True}),
        ("elu_parameter", {"activation": {"elu": {"alpha": 0.5}}, "recurrent_activation": "hard_silu"}),
    ]
    for kind in ("LSTM", "GRU"):
        low = kind.lower()
        for name, parameters in variants:
            f.add(f"{low}_{name}", input=x, layers=[{kind: {"units": 3, **parameters}}])
        f.add(f"{low}_one_step", input=floats(2, 1, 3), layers=[{kind: {"units": 2}}])
        f.add(
            f"{low}_one_unit_one_feature",
            input=floats(2, 4, 1),
            layers=[{kind: {"units": 1, "return_sequences": True}}],
        )
        f.add(f"{low}_17_units", input=floats(2, 3, 5), layers=[{kind: {"units": 17}}])
        f.add(f"{low}_long", input=floats(2, 24, 2), layers=[{kind: {"units": 3}}])
        f.add(f"{low}_frozen", input=x, layers=[{kind: {"units": 3, "trainable": False}}, {"Dense": {"units": 1}}])
        f.add(
            f"{low}_stacked",
            input=x,
            layers=[
                {kind: {"units": 3, "return_sequences": True}},
                {kind: {"units": 2, "return_sequences": True}},
                {kind: {"units": 2}},
            ],
        )
        for name, parameters in (
            ("", {}),
            ("_sequences", {"return_sequences": True}),
            ("_backwards", {"go_backwards": True}),
            ("_backwards_sequences", {"go_backwards": True, "return_sequences": True}),
            ("_no_bias", {"use_bias": False}),
        ):
            f.add(f"{low}_masked{name}", input=IDS, layers=[MASKED, {kind: {"units": 3, **parameters}}], _x=TOKENS)
        f.add(
            f"{low}_masked_stacked",
            input=IDS,
            layers=[
                MASKED,
                {kind: {"units": 3, "return_sequences": True}},
                {"Dense": {"units": 2, "activation": "tanh"}},
                {kind: {"units": 2}},
            ],
            _x=TOKENS,
        )
    f.add("lstm_unit_forget_bias_false", input=x, layers=[{"LSTM": {"units": 3, "unit_forget_bias": False}}])
    for name, parameters in variants[:7]:
        f.add(f"gru_reset_before_{name}", input=x, layers=[{"GRU": {"units": 3, "reset_after": False, **parameters}}])
    f.add(
        "gru_reset_before_masked",
        input=IDS,
        layers=[MASKED, {"GRU": {"units": 3, "reset_after": False, "return_sequences": True}}],
        _x=TOKENS,
    )
    f.add(
        "gru_then_lstm_masked",
        input=IDS,
        layers=[MASKED, {"GRU": {"units": 2, "return_sequences": True}}, {"LSTM": {"units": 2}}],
        _x=TOKENS,
    )

    for kind in ("LSTM", "GRU"):
        low = kind.lower()
        for merge in ("concat", "sum", "ave", "mul"):
            for sequences in (False, True):
                inner = {kind: {"units": 2, **({"return_sequences": True} if sequences else {})}}
                name = f"bidirectional_{low}_{merge}" + ("_sequences" if sequences else "")
                f.add(name, input=floats(2, 4, 2), layers=[{"Bidirectional": {"layer": inner, "merge_mode": merge}}])
                f.add(
                    name + "_masked",
                    input=IDS,
                    layers=[MASKED, {"Bidirectional": {"layer": inner, "merge_mode": merge}}],
                    _x=TOKENS,
                )
    f.add(
        "bidirectional_default", input=floats(2, 4, 2), layers=[{"Bidirectional": {"layer": {"LSTM": {"units": 2}}}}]
    )
    f.add(
        "bidirectional_options",
        input=floats(2, 4, 2),
        layers=[
            {
                "Bidirectional": {
                    "layer": {
                        "GRU": {
                            "units": 2,
                            "use_bias": False,
                            "reset_after": False,
                            "activation": "softsign",
                            "return_sequences": True,
                        }
                    }
                }
            }
        ],
    )
    stack = [
        {"Bidirectional": {"layer": {"LSTM": {"units": 2, "return_sequences": True}}}},
        {"Bidirectional": {"layer": {"GRU": {"units": 2}}}},
    ]
    f.add("bidirectional_stacked", input=floats(2, 4, 2), layers=stack)
    f.add("bidirectional_stacked_masked", input=IDS, layers=[MASKED, *stack], _x=TOKENS)

    f.add(
        "time_distributed_dense",
        input=floats(2, 3, 4),
        layers=[{"TimeDistributed": {"layer": {"Dense": {"units": 2, "activation": "tanh"}}}}],
    )
    f.add(
        "time_distributed_dense_masked",
        input=IDS,
        layers=[MASKED, {"TimeDistributed": {"layer": {"Dense": {"units": 2}}}}, {"LSTM": {"units": 2}}],
        _x=TOKENS,
    )
    f.add(
        "time_distributed_conv2d",
        input=floats(2, 3, 4, 4, 2),
        layers=[
            {
                "TimeDistributed": {
                    "layer": {"Conv2D": {"filters": 2, "kernel_size": 3, "padding": "same", "strides": 2}}
                }
            }
        ],
    )
    f.add(
        "time_distributed_pooling_flatten",
        input=floats(2, 3, 4, 4, 1),
        layers=[
            {"TimeDistributed": {"layer": {"AveragePooling2D": {"pool_size": 2}}}},
            {"TimeDistributed": {"layer": "Flatten"}},
            {"LSTM": {"units": 2}},
        ],
    )
    f.add(
        "time_distributed_lstm",
        input=floats(2, 3, 4, 2),
        layers=[{"TimeDistributed": {"layer": {"LSTM": {"units": 2}}}}],
    )
    f.add(
        "time_distributed_lstm_sequences",
        input=floats(2, 2, 3, 2),
        layers=[{"TimeDistributed": {"layer": {"LSTM": {"units": 2, "return_sequences": True}}}}],
    )
    tokens = np.array([[[1, 2, 0], [3, 0, 0]], [[0, 2, 1], [0, 0, 0]]], np.int32)
    f.add(
        "time_distributed_gru_masked",
        input={"shape": [2, 2, 3], "dtype": "int32", "below": 4},
        layers=[
            {"Embedding": {"input_dim": 4, "output_dim": 2, "mask_zero": True}},
            {"TimeDistributed": {"layer": {"GRU": {"units": 2}}}},
        ],
        _x=tokens,
    )
    f.add(
        "time_distributed_batch_normalization",
        input=floats(3, 2, 2),
        layers=[{"TimeDistributed": {"layer": {"BatchNormalization": {"momentum": 0.7}}}}],
        note="one call of the inner layer a step: statistics per step, moving statistics updated once a step, in order",
    )


def add_attention(f):
    x = floats(2, 4, 6)

    def mha(name, shape=x, **parameters):
        f.add(
            "multi_head_attention_" + name,
            input=shape,
            layers=[{"MultiHeadAttention": {"num_heads": 2, "key_dim": 3, **parameters}}],
        )

    def masked(name, **parameters):
        layers = [
            {"Embedding": {"input_dim": 7, "output_dim": 4, "mask_zero": True}},
            {"MultiHeadAttention": {"num_heads": 2, "key_dim": 2, **parameters}},
        ]
        f.add("multi_head_attention_masked" + name, input=IDS, layers=layers, _x=TOKENS)

    mha("default")
    mha("causal", causal=True)
    mha("value_dim", value_dim=5)
    mha("no_bias", use_bias=False)
    mha("no_bias_causal_value_dim", use_bias=False, causal=True, value_dim=1)
    mha("output_shape", output_shape=5)
    mha("output_shape_list", output_shape=[3])
    mha("one_head", num_heads=1, key_dim=6)
    mha("three_heads_of_1", num_heads=3, key_dim=1)
    mha("one_step", shape=floats(3, 1, 4))
    mha("one_step_causal", shape=floats(3, 1, 4), causal=True)
    mha("17_steps_causal", shape=floats(1, 17, 4), causal=True)
    masked("")
    masked("_causal", causal=True)
    masked("_value_dim_no_bias", value_dim=3, use_bias=False)
    masked("_output_shape", output_shape=3, causal=True)
    layers = [
        {"Embedding": {"input_dim": 7, "output_dim": 4, "mask_zero": True}},
        {"MultiHeadAttention": {"num_heads": 2, "key_dim": 2, "dropout": 0.3}},
    ]
    f.add(
        "multi_head_attention_dropout_inference_masked",
        input=IDS,
        layers=layers,
        _x=TOKENS,
        train=False,
        note="with dropout > 0 Keras takes its other code path: a query without any valid key gets 0 instead of the mean of all values",
    )
    f.add(
        "multi_head_attention_dropout_inference_causal",
        input=x,
        layers=[{"MultiHeadAttention": {"num_heads": 2, "key_dim": 3, "dropout": 0.3, "causal": True}}],
        train=False,
    )
    f.add(
        "multi_head_attention_then_lstm_masked",
        input=IDS,
        layers=[MASKED, {"MultiHeadAttention": {"num_heads": 1, "key_dim": 2}}, {"LSTM": {"units": 2}}],
        _x=TOKENS,
    )


def add_scaling(f):
    f.add("rescaling", input=floats(2, 3), layers=[{"Rescaling": {"scale": 0.25}}])
    f.add("rescaling_offset", input=floats(2, 3), layers=[{"Rescaling": {"scale": 2.0, "offset": -1.5}}])
    f.add(
        "rescaling_list",
        input=floats(2, 2, 2, 3),
        layers=[{"Rescaling": {"scale": [0.5, 2.0, -1.0], "offset": [0.0, 1.0, -2.0]}}],
    )
    f.add(
        "rescaling_list_scale_only",
        input=floats(2, 3),
        layers=[{"Rescaling": {"scale": [0.5, 2.0, -1.0], "offset": 0.5}}],
    )
    f.add(
        "rescaling_ratio_uint8",
        input={"shape": [2, 3, 3, 1], "dtype": "uint8", "below": 256},
        layers=[{"Rescaling": {"scale": "1/255"}}],
    )
    f.add(
        "rescaling_int32",
        input={"shape": [2, 3], "dtype": "int32", "below": 100, "from": -100},
        layers=[{"Rescaling": {"scale": 0.1, "offset": 3}}],
    )

    def given(name, shape, **parameters):
        f.add("normalization_" + name, input=floats(*shape), layers=[{"Normalization": parameters}])

    given("given", [3, 4], mean=[0.5, -1.0, 2.0, 0.0], variance=[1.0, 4.0, 0.25, 2.0])
    given("given_scalar", [3, 4], axis=None, mean=1.5, variance=4.0)
    given("given_scalar_last_axis", [2, 2, 3], mean=0.5, variance=2.0)
    given("given_rank4", [2, 2, 2, 3], mean=[0.1, 0.2, 0.3], variance=[1.0, 2.0, 3.0])
    given("given_axis1", [2, 3, 2], axis=1, mean=[0.1, 0.2, 0.3], variance=[1.0, 2.0, 3.0])
    given("given_invert", [3, 2], mean=[0.5, -1.0], variance=[4.0, 0.25], invert=True)
    given("given_zero_variance", [3, 2], mean=[0.5, -1.0], variance=[0.0, 1.0])

    def adapted(name, shape, rows, **parameters):
        f.add(
            "normalization_adapted_" + name,
            input={**floats(*shape), "like_data": True},
            adapt={"shape": [rows, *shape[1:]]},
            layers=[{"Normalization": parameters}],
        )

    adapted("default", [3, 4], 11)
    adapted("rank3", [2, 3, 2], 7)
    adapted("rank4", [2, 2, 2, 3], 5)
    adapted("axis_none", [3, 4], 9, axis=None)
    adapted("axis1", [2, 3, 2], 7, axis=1)
    adapted("axis12", [2, 3, 2], 7, axis=[1, 2])
    adapted("invert", [3, 4], 11, invert=True)
    adapted("one_row", [3, 2], 1)


def layers():
    f = Family(
        "layers", "Layers, alone and in short chains: inference, training mode, gradients, changed statistics."
    )
    for add in (
        add_dense,
        add_shape,
        add_conv,
        add_pooling,
        add_normalization,
        add_embedding,
        add_recurrent,
        add_attention,
        add_scaling,
    ):
        add(f)
    return finish(f)


def containers():
    f = Family(
        "containers", "Sequential, Residual, Parallel, Repeat and Reuse, and the paths of their weights in the file."
    )
    d = lambda units, **more: {"Dense": {"units": units, **more}}
    tanh = {"activation": "tanh"}
    f.add("sequential", input=floats(3, 4), layers=[{"Sequential": {"layers": [d(3, **tanh), d(2)]}}, d(2)])
    f.add(
        "sequential_in_sequential",
        input=floats(3, 4),
        layers=[
            {"Sequential": {"layers": [d(3, **tanh), {"Sequential": {"layers": [d(3), d(2)]}}]}},
            {"Sequential": {"layers": [d(2)]}},
        ],
    )
    f.add(
        "sequential_frozen",
        input=floats(3, 4),
        layers=[{"Sequential": {"trainable": False, "layers": [d(3, **tanh), "BatchNormalization"]}}, d(2)],
    )
    f.add(
        "residual_frozen",
        input=floats(5, 4),
        layers=[{"Residual": {"trainable": False, "layers": [d(4, **tanh), "BatchNormalization"]}}, d(2)],
    )
    f.add("residual", input=floats(3, 4), layers=[{"Residual": {"layers": [d(5, **tanh), d(4)]}}])
    f.add(
        "residual_shortcut",
        input=floats(3, 4),
        layers=[{"Residual": {"layers": [d(5, **tanh), d(3)], "shortcut": [d(3, use_bias=False)]}}, d(2)],
    )
    f.add(
        "residual_twice",
        input=floats(3, 4),
        layers=[{"Residual": {"layers": [d(4, **tanh)]}}, {"Residual": {"layers": [d(4, **tanh)]}}],
    )
    f.add(
        "residual_nested",
        input=floats(3, 4),
        layers=[{"Residual": {"layers": [d(4, **tanh), {"Residual": {"layers": [d(4)], "shortcut": [d(4)]}}]}}],
    )
    conv = lambda filters, kernel=3, **more: {
        "Conv2D": {"filters": filters, "kernel_size": kernel, "padding": "same", **more}
    }
    block = {
        "layers": [
            conv(3, strides=2, use_bias=False),
            "BatchNormalization",
            {"Activation": {"activation": "swish"}},
            conv(3),
            "BatchNormalization",
        ],
        "shortcut": [conv(3, 1, strides=2), "BatchNormalization"],
    }
    f.add(
        "residual_conv_block",
        input=floats(2, 4, 4, 2),
        layers=[{"Residual": block}, {"Activation": {"activation": "tanh"}}],
    )
    branches = [[d(3, **tanh)], [d(4, **tanh), d(3)], [d(3, use_bias=False)]]
    for merge in ("concat", "add", "multiply", "average", "maximum"):
        f.add(
            f"parallel_{merge}",
            input=floats(3, 4),
            layers=[{"Parallel": {"branches": branches, "merge": merge}}, d(2)],
        )
    f.add("parallel_default_is_concat", input=floats(3, 4), layers=[{"Parallel": {"branches": [[d(2)], [d(3)]]}}])
    f.add(
        "parallel_empty_branch",
        input=floats(3, 4),
        layers=[{"Parallel": {"branches": [[], [d(2)]], "merge": "concat"}}],
    )
    f.add(
        "parallel_empty_branch_multiply",
        input=floats(3, 4),
        layers=[{"Parallel": {"branches": [[d(4, activation="sigmoid")], []], "merge": "multiply"}}],
        note="a gate",
    )
    f.add(
        "parallel_one_branch", input=floats(3, 4), layers=[{"Parallel": {"branches": [[d(2)]], "merge": "average"}}]
    )
    inception = [
        [conv(2, 1)],
        [conv(2, 1, activation="tanh"), conv(3, 3)],
        [{"AveragePooling2D": {"pool_size": 3, "strides": 1, "padding": "same"}}, conv(2, 1)],
    ]
    f.add("parallel_inception", input=floats(2, 3, 4, 2), layers=[{"Parallel": {"branches": inception}}])
    f.add(
        "parallel_in_residual",
        input=floats(3, 4),
        layers=[{"Residual": {"layers": [{"Parallel": {"branches": [[d(2, **tanh)], [d(2)]]}}]}}],
    )
    f.add(
        "parallel_rank3_concat",
        input=floats(2, 3, 2),
        layers=[{"Parallel": {"branches": [[{"LSTM": {"units": 2, "return_sequences": True}}], [d(3)]]}}],
    )
    f.add("repeat", input=floats(3, 4), layers=[{"Repeat": {"times": 3, "layers": [d(4, **tanh)]}}])
    f.add("repeat_once", input=floats(3, 4), layers=[{"Repeat": {"times": 1, "layers": [d(4, **tanh), d(4)]}}])
    f.add(
        "repeat_changing_width",
        input=floats(3, 4),
        layers=[{"Repeat": {"times": 2, "layers": [d(3, **tanh), d(5)]}}],
        note="the first copy sees width 4, the second width 5",
    )
    f.add(
        "repeat_residual",
        input=floats(3, 4),
        layers=[
            {
                "Repeat": {
                    "times": 2,
                    "layers": [{"Residual": {"layers": ["LayerNormalization", d(4, activation="gelu")]}}],
                }
            }
        ],
    )
    f.add(
        "repeat_nested",
        input=floats(3, 4),
        layers=[{"Repeat": {"times": 2, "layers": [d(4, **tanh), {"Repeat": {"times": 2, "layers": [d(4)]}}]}}],
    )
    f.add(
        "repeat_batch_normalization",
        input=floats(5, 3),
        layers=[{"Repeat": {"times": 2, "layers": [d(3), "BatchNormalization"]}}],
    )
    transformer = [
        {
            "Residual": {
                "layers": [
                    "LayerNormalization",
                    {"MultiHeadAttention": {"num_heads": 2, "key_dim": 2, "causal": True}},
                ]
            }
        },
        {"Residual": {"layers": ["LayerNormalization", d(6, activation="gelu"), d(4)]}},
    ]
    f.add(
        "repeat_transformer",
        input=floats(2, 4, 4),
        layers=[{"Repeat": {"times": 2, "layers": transformer}}, "LayerNormalization"],
    )
    masked = {"Embedding": {"input_dim": 7, "output_dim": 4, "mask_zero": True}}
    f.add(
        "repeat_transformer_masked",
        input=IDS,
        layers=[
            masked,
            {"PositionEmbedding": {"sequence_length": 6}},
            {"Repeat": {"times": 2, "layers": transformer}},
            {"LSTM": {"units": 2}},
        ],
        _x=TOKENS,
    )
    f.add(
        "residual_recurrent_masked",
        input=IDS,
        layers=[
            masked,
            {"Residual": {"layers": [{"Bidirectional": {"layer": {"GRU": {"units": 2, "return_sequences": True}}}}]}},
            {"LSTM": {"units": 2}},
        ],
        _x=TOKENS,
    )
    f.add(
        "parallel_masked_concat",
        input=IDS,
        layers=[
            masked,
            {"Parallel": {"branches": [[{"LSTM": {"units": 2, "return_sequences": True}}], [d(2)]]}},
            {"GRU": {"units": 2}},
        ],
        _x=TOKENS,
    )
    f.add(
        "parallel_masked_add",
        input=IDS,
        layers=[
            masked,
            {"Parallel": {"merge": "add", "branches": [[{"LSTM": {"units": 2, "return_sequences": True}}], [d(2)]]}},
            {"GRU": {"units": 2}},
        ],
        _x=TOKENS,
    )
    f.add(
        "reuse",
        input=floats(3, 4),
        layers=[d(4, name="shared", **tanh), d(4), {"Reuse": {"layer": "shared"}}],
        note="the gradient is the sum over both calls",
    )
    f.add(
        "reuse_three_times",
        input=floats(3, 4),
        layers=[d(4, name="shared", **tanh), {"Reuse": {"layer": "shared"}}, {"Reuse": {"layer": "shared"}}],
    )
    f.add(
        "reuse_from_container",
        input=floats(3, 4),
        layers=[
            d(4, name="shared", **tanh),
            {"Residual": {"layers": [d(4, **tanh), {"Reuse": {"layer": "shared"}}]}},
        ],
    )
    f.add(
        "reuse_inner_name_first",
        input=floats(3, 4),
        layers=[
            d(4, name="a", **tanh),
            {"Sequential": {"layers": [d(4, name="a"), {"Reuse": {"layer": "a"}}]}},
            {"Reuse": {"layer": "a"}},
        ],
        note="inside Sequential `a` is the inner layer, after it the outer one",
    )
    f.add(
        "reuse_container",
        input=floats(3, 4),
        layers=[{"Residual": {"name": "block", "layers": [d(4, **tanh)]}}, d(4), {"Reuse": {"layer": "block"}}],
    )
    f.add(
        "reuse_in_repeat",
        input=floats(3, 4),
        layers=[{"Repeat": {"times": 2, "layers": [d(4, name="a", **tanh), {"Reuse": {"layer": "a"}}]}}],
        note="each copy reuses its own layer",
    )
    f.add(
        "reuse_outer_in_repeat",
        input=floats(3, 4),
        layers=[d(4, name="a", **tanh), {"Repeat": {"times": 2, "layers": [d(4), {"Reuse": {"layer": "a"}}]}}],
    )
    f.add(
        "reuse_batch_normalization",
        input=floats(5, 3),
        layers=[{"BatchNormalization": {"name": "bn", "momentum": 0.6}}, d(3), {"Reuse": {"layer": "bn"}}],
        note="the moving statistics are updated twice, in the order of the list",
    )
    f.add(
        "reuse_lstm",
        input=floats(2, 3, 2),
        layers=[{"LSTM": {"units": 2, "return_sequences": True, "name": "rnn"}}, {"Reuse": {"layer": "rnn"}}],
    )
    f.add(
        "reuse_regularized",
        input=floats(3, 4),
        layers=[d(4, name="a", kernel_regularizer={"L2": {"l2": 0.1}}), {"Reuse": {"layer": "a"}}],
        note="the weight counts once in the penalty",
    )
    f.add(
        "reuse_activity_regularized",
        input=floats(3, 4),
        layers=[d(4, name="a", activity_regularizer={"L2": {"l2": 0.1}}), {"Reuse": {"layer": "a"}}],
        note="both outputs count in the penalty, each divided by the batch size",
    )
    f.add(
        "tied_logits",
        input={"shape": [3, 4], "dtype": "int32", "below": 6},
        layers=[
            {"ReversibleEmbedding": {"input_dim": 6, "output_dim": 3, "name": "tokens"}},
            {"Residual": {"layers": [d(3, **tanh)]}},
            {"Reuse": {"layer": "tokens", "reverse": True}},
        ],
    )
    f.add(
        "default_names",
        input=floats(3, 4),
        layers=[d(4, **tanh), d(4), {"Reuse": {"layer": "dense_1"}}, {"Reuse": {"layer": "dense"}}],
        note="a layer without name is called as its group in the file",
    )
    return finish(f)


def masks():
    f = Family(
        "masks", "The mask (B, T) that leaves a chain of layers: `mask` says whether there is one, the NPZ holds it."
    )
    e = {"Embedding": {"input_dim": 7, "output_dim": 4, "mask_zero": True}}
    seq = {"return_sequences": True}

    def add(name, *layers, x=TOKENS):
        spec = {"shape": list(x.shape), "dtype": "int32", "below": 7}
        f.add(name, input=spec, layers=list(layers), _x=x)

    add("embedding", e)
    add("embedding_without_mask_zero", {"Embedding": {"input_dim": 7, "output_dim": 4}})
    add("reversible_embedding", {"ReversibleEmbedding": {"input_dim": 7, "output_dim": 4, "mask_zero": True}})
    add(
        "reversible_embedding_reverse",
        {"ReversibleEmbedding": {"input_dim": 7, "output_dim": 4, "mask_zero": True, "name": "t"}},
        {"Reuse": {"layer": "t", "reverse": True}},
    )
    add("dense", e, {"Dense": {"units": 3}})
    add("activation", e, {"Activation": {"activation": "relu"}})
    add("activation_softmax", e, {"Activation": {"activation": "softmax"}})
    add("dropout", e, {"Dropout": {"rate": 0.5}})
    add("batch_normalization", e, "BatchNormalization")
    add("layer_normalization", e, "LayerNormalization")
    add("rescaling", e, {"Rescaling": {"scale": 2.0}})
    add("normalization", e, {"Normalization": {"mean": 0.0, "variance": 2.0}})
    add("position_embedding", e, {"PositionEmbedding": {"sequence_length": 9}})
    add("multi_head_attention", e, {"MultiHeadAttention": {"num_heads": 2, "key_dim": 2}})
    add("multi_head_attention_causal", e, {"MultiHeadAttention": {"num_heads": 2, "key_dim": 2, "causal": True}})
    for kind in ("LSTM", "GRU"):
        low = kind.lower()
        add(f"{low}_sequences", e, {kind: {"units": 2, **seq}})
        add(f"{low}_last", e, {kind: {"units": 2}})
        add(f"{low}_backwards_sequences", e, {kind: {"units": 2, "go_backwards": True, **seq}})
        add(f"{low}_stacked", e, {kind: {"units": 2, **seq}}, {kind: {"units": 2, **seq}})
        add(f"bidirectional_{low}_sequences", e, {"Bidirectional": {"layer": {kind: {"units": 2, **seq}}}})
        add(f"bidirectional_{low}_last", e, {"Bidirectional": {"layer": {kind: {"units": 2}}}})
    add(
        "bidirectional_sum_sequences",
        e,
        {"Bidirectional": {"layer": {"LSTM": {"units": 2, **seq}}, "merge_mode": "sum"}},
    )
    add("time_distributed_dense", e, {"TimeDistributed": {"layer": {"Dense": {"units": 2}}}})
    add("time_distributed_activation", e, {"TimeDistributed": {"layer": {"Activation": {"activation": "tanh"}}}})
    cube = np.array([[[1, 2, 0], [3, 0, 0]], [[0, 2, 1], [0, 0, 0]]], np.int32)
    add("time_distributed_lstm", e, {"TimeDistributed": {"layer": {"LSTM": {"units": 2}}}}, x=cube)
    add("time_distributed_lstm_sequences", e, {"TimeDistributed": {"layer": {"LSTM": {"units": 2, **seq}}}}, x=cube)
    add("embedding_rank3_ids", e, x=cube)
    add("dense_rank3_ids", e, {"Dense": {"units": 2}}, x=cube)
    add("conv2d", e, {"Conv2D": {"filters": 2, "kernel_size": 2}}, x=cube)
    add("max_pooling2d", e, {"MaxPooling2D": {"pool_size": 2}}, x=cube)
    add("average_pooling2d", e, {"AveragePooling2D": {"pool_size": 2}}, x=cube)
    add("global_average_pooling2d", e, "GlobalAveragePooling2D", x=cube)
    add("flatten", e, "Flatten")
    add("reshape", e, {"Reshape": {"target_shape": [6, 2, 2]}})
    add("sequential", e, {"Sequential": {"layers": [{"Dense": {"units": 3}}, {"LSTM": {"units": 2, **seq}}]}})
    add(
        "sequential_dropping",
        e,
        {"Sequential": {"layers": [{"Dense": {"units": 3}}, {"Reshape": {"target_shape": [3, 6]}}]}},
    )
    add("sequential_making", {"Sequential": {"layers": [e, {"Dense": {"units": 3}}]}})
    add("residual", e, {"Residual": {"layers": [{"Dense": {"units": 4}}]}})
    add(
        "residual_attention",
        e,
        {"Residual": {"layers": ["LayerNormalization", {"MultiHeadAttention": {"num_heads": 2, "key_dim": 2}}]}},
    )
    add(
        "residual_attention_first",
        e,
        {"Residual": {"layers": [{"MultiHeadAttention": {"num_heads": 2, "key_dim": 2}}]}},
    )
    add(
        "residual_shortcut",
        e,
        {"Residual": {"layers": [{"Dense": {"units": 2}}], "shortcut": [{"Dense": {"units": 2}}]}},
    )
    # Two reshapes: JAX gives a reshape to the same shape the same tensor back, with its mask.
    back_and_forth = lambda units: [{"Reshape": {"target_shape": [3, -1]}}, {"Reshape": {"target_shape": [6, units]}}]
    add("residual_main_drops", e, {"Residual": {"layers": [{"Dense": {"units": 4}}, *back_and_forth(4)]}})
    drops = [{"Dense": {"units": 2}}, *back_and_forth(2)]
    keeps = [{"Dense": {"units": 2}}]
    for merge in ("concat", "add", "multiply", "average", "maximum"):
        add(f"parallel_{merge}_both", e, {"Parallel": {"branches": [keeps, keeps], "merge": merge}})
        add(f"parallel_{merge}_one", e, {"Parallel": {"branches": [keeps, drops], "merge": merge}})
        add(f"parallel_{merge}_none", e, {"Parallel": {"branches": [drops, drops], "merge": merge}})
    add(
        "parallel_two_embeddings",
        {"Parallel": {"branches": [[e], [{"Embedding": {"input_dim": 7, "output_dim": 4}}]], "merge": "concat"}},
    )
    add("parallel_empty_branch", e, {"Parallel": {"branches": [[], keeps], "merge": "concat"}})
    add("repeat", e, {"Repeat": {"times": 2, "layers": [{"LSTM": {"units": 2, **seq}}]}})
    add("reuse", e, {"Dense": {"units": 4, "name": "a"}}, {"Reuse": {"layer": "a"}})
    add("lstm_last_then_dense", e, {"LSTM": {"units": 2}}, {"Dense": {"units": 2}})
    add(
        "long_chain",
        e,
        "LayerNormalization",
        {"Bidirectional": {"layer": {"GRU": {"units": 2, **seq}}}},
        {"Dropout": {"rate": 0.1}},
        {"TimeDistributed": {"layer": {"Dense": {"units": 3, "activation": "softmax"}}}},
    )
    for case in f.cases:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            chain = Chain(case["layers"], case["input"])
            x = case["_x"] if "_x" in case else input_array(case["input"], rng(case["name"]))
            y, mask = chain.forward(x)
        case["mask"] = mask is not None
        case["output"] = {"shape": list(y.shape)}
        f.put(f"{case['name']}/x", x)
        if mask is not None:
            f.put(f"{case['name']}/mask", mask)
    return f


FAMILIES = {"activations": activations, "layers": layers, "masks": masks, "containers": containers}
