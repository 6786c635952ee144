"""Family losses: value and gradient with respect to the predictions."""

import numpy as np

from .common import Family, rng

B, T, C = 5, 3, 4
REDUCTIONS = ("sum_over_batch_size", "mean", "sum", "mean_with_sample_weight", "none")


def probabilities(random, shape):
    """Rows that sum to 1, none of them near 0 or 1."""
    z = np.exp(random.standard_normal(shape))
    return (z / z.sum(-1, keepdims=True)).astype(np.float32)


def make(kind, random, true_shape, pred_shape):
    """(y_true, y_pred) of a case. kind: real, binary, binary_logits, categorical, categorical_logits, sparse, sparse_logits."""
    if kind == "real":
        return random.standard_normal(true_shape).astype(np.float32), random.standard_normal(pred_shape).astype(
            np.float32
        )
    what, _, logits = kind.partition("_")
    if what == "binary":
        true = random.integers(0, 2, true_shape).astype(np.float32)
        pred = 2 * random.standard_normal(pred_shape) if logits else random.uniform(0.03, 0.97, pred_shape)
        return true, pred.astype(np.float32)
    pred = (
        (2 * random.standard_normal(pred_shape)).astype(np.float32) if logits else probabilities(random, pred_shape)
    )
    if what == "sparse":
        return random.integers(0, pred_shape[-1], true_shape).astype(np.int32), pred
    return np.eye(pred_shape[-1], dtype=np.float32)[random.integers(0, pred_shape[-1], true_shape[:-1])], pred


def weights_of(random, shape):
    w = random.uniform(0.2, 2.0, shape)
    w[0] = 0.0
    return w.astype(np.float32)


def cases(f):
    def add(name, loss, kind, true, pred, weight=None, mask=None, **more):
        shapes = {"y_true": list(true), "y_pred": list(pred)}
        if weight is not None:
            shapes["sample_weight"] = list(weight)
        if mask is not None:
            shapes["mask"] = list(mask)
        f.add(name, loss=loss, shapes=shapes, _kind=kind, **more)

    # Shapes, by a loss that takes any. (B, T) against (B, T, 1) squeezes the predictions: the values are then (B,), the mean
    # over T, and take weights (B,) only.
    for name, true, pred in (
        ("b_b", (B,), (B,)),
        ("b1_b1", (B, 1), (B, 1)),
        ("b_b1", (B,), (B, 1)),
        ("b1_b", (B, 1), (B,)),
        ("bc", (B, C), (B, C)),
        ("btc", (B, T, C), (B, T, C)),
        ("bt_bt1", (B, T), (B, T, 1)),
        ("bt1_bt", (B, T, 1), (B, T)),
    ):
        add(f"mse_{name}", "mse", "real", true, pred)
        add(f"mse_{name}_weighted", "mse", "real", true, pred, weight=(B, T) if name == "btc" else (B,))
    add("mse_bc_weight_b1", "mse", "real", (B, C), (B, C), weight=(B, 1))
    add("mse_btc_weight_bt1", "mse", "real", (B, T, C), (B, T, C), weight=(B, T, 1))
    add("mse_btc_weight_b1", "mse", "real", (B, T, C), (B, T, C), weight=(B, 1))
    for reduction in REDUCTIONS:
        loss = {"MeanSquaredError": {"reduction": reduction}}
        add(f"mse_{reduction}", loss, "real", (B, C), (B, C))
        add(f"mse_{reduction}_weighted", loss, "real", (B, C), (B, C), weight=(B,))
        add(f"mse_{reduction}_sequence", loss, "real", (B, T, C), (B, T, C))
        add(f"mse_{reduction}_sequence_weighted", loss, "real", (B, T, C), (B, T, C), weight=(B, T))
        add(f"mse_{reduction}_mask", loss, "real", (B, T, C), (B, T, C), mask=(B, T))
        add(f"mse_{reduction}_mask_weighted", loss, "real", (B, T, C), (B, T, C), mask=(B, T), weight=(B, T))
    add("mse_mask_weight_b1", "mse", "real", (B, T, C), (B, T, C), mask=(B, T), weight=(B, 1))
    add("mse_mask_all_false", "mse", "real", (B, T, C), (B, T, C), mask=(B, T), _mask=np.zeros((B, T), bool))
    add("mse_mask_all_true", "mse", "real", (B, T, C), (B, T, C), mask=(B, T), _mask=np.ones((B, T), bool))
    add(
        "mse_weights_all_zero",
        {"MeanSquaredError": {"reduction": "mean_with_sample_weight"}},
        "real",
        (B, C),
        (B, C),
        weight=(B,),
        _weight=np.zeros(B, np.float32),
    )
    for name in ("mae", "mean_absolute_error", "mean_squared_error", "MeanAbsoluteError"):
        add(f"string_{name}", name, "real", (B, C), (B, C))
    add("mae_weighted", "mae", "real", (B, C), (B, C), weight=(B,))
    add("mae_sequence_masked", "mae", "real", (B, T, 1), (B, T, 1), mask=(B, T))
    add("huber", "Huber", "real", (B, C), (B, C))
    add("huber_string", "huber", "real", (B, C), (B, C))
    for delta in (0.3, 2.0):
        add(f"huber_delta_{delta}", {"Huber": {"delta": delta}}, "real", (B, C), (B, C), weight=(B,))
    add("huber_sum", {"Huber": {"delta": 0.5, "reduction": "sum"}}, "real", (B, 1), (B, 1))

    # Binary cross-entropy
    bce = lambda **p: {"BinaryCrossentropy": p}
    for name, true, pred in (
        ("b1", (B, 1), (B, 1)),
        ("b", (B,), (B,)),
        ("b_b1", (B,), (B, 1)),
        ("bc", (B, C), (B, C)),
        ("btc", (B, T, C), (B, T, C)),
        ("bt_bt1", (B, T), (B, T, 1)),
    ):
        add(f"binary_{name}", "binary_crossentropy", "binary", true, pred)
        add(f"binary_logits_{name}", bce(from_logits=True), "binary_logits", true, pred)
    add("binary_weighted", "binary_crossentropy", "binary", (B, 1), (B, 1), weight=(B,))
    add("binary_weight_b1", "binary_crossentropy", "binary", (B, 1), (B, 1), weight=(B, 1))
    add("binary_logits_weighted", bce(from_logits=True), "binary_logits", (B, 1), (B, 1), weight=(B,))
    add("binary_smoothing", bce(label_smoothing=0.2), "binary", (B, C), (B, C))
    add("binary_logits_smoothing", bce(from_logits=True, label_smoothing=0.1), "binary_logits", (B, C), (B, C))
    add("binary_sum", bce(reduction="sum"), "binary", (B, C), (B, C))
    add("binary_none_weighted", bce(reduction="none"), "binary", (B, C), (B, C), weight=(B,))
    add("binary_sequence_masked", "binary_crossentropy", "binary", (B, T, 1), (B, T, 1), mask=(B, T))
    add("binary_axis1", bce(axis=1), "binary", (B, T, C), (B, T, C))
    soft = rng("binary_soft").uniform(0, 1, (B, C)).astype(np.float32)
    add("binary_soft_targets", "binary_crossentropy", "binary", (B, C), (B, C), _true=soft)
    add("binary_logits_soft_targets", bce(from_logits=True), "binary_logits", (B, C), (B, C), _true=soft)
    edge = np.array([[1e-6], [1e-6], [1 - 1e-6], [1 - 1e-6], [0.5]], np.float32)
    add(
        "binary_edges",
        "binary_crossentropy",
        "binary",
        (B, 1),
        (B, 1),
        _pred=edge,
        _true=np.array([[0], [1], [0], [1], [1]], np.float32),
        _smooth=False,
    )
    large = np.array([[-90], [90], [45], [-45], [0.5]], np.float32)
    add(
        "binary_logits_large",
        bce(from_logits=True),
        "binary_logits",
        (B, 1),
        (B, 1),
        _pred=large,
        _true=np.array([[0], [1], [0], [1], [1]], np.float32),
        _smooth=False,
    )

    # Categorical cross-entropy
    cce = lambda **p: {"CategoricalCrossentropy": p}
    for name, shape in (("bc", (B, C)), ("btc", (B, T, C))):
        add(f"categorical_{name}", "categorical_crossentropy", "categorical", shape, shape)
        add(f"categorical_logits_{name}", cce(from_logits=True), "categorical_logits", shape, shape)
        add(
            f"categorical_{name}_weighted", "categorical_crossentropy", "categorical", shape, shape, weight=shape[:-1]
        )
        add(f"categorical_{name}_smoothing", cce(label_smoothing=0.1), "categorical", shape, shape)
        add(
            f"categorical_logits_{name}_smoothing",
            cce(from_logits=True, label_smoothing=0.3),
            "categorical_logits",
            shape,
            shape,
        )
    add("categorical_masked", "categorical_crossentropy", "categorical", (B, T, C), (B, T, C), mask=(B, T))
    add(
        "categorical_logits_masked_weighted",
        cce(from_logits=True),
        "categorical_logits",
        (B, T, C),
        (B, T, C),
        mask=(B, T),
        weight=(B, T),
    )
    add("categorical_axis1", cce(axis=1), "categorical", (B, T, C), (B, T, C))
    add(
        "categorical_soft_targets",
        "categorical_crossentropy",
        "categorical",
        (B, C),
        (B, C),
        _true=probabilities(rng("soft"), (B, C)),
    )
    add(
        "categorical_logits_soft_targets",
        cce(from_logits=True),
        "categorical_logits",
        (B, C),
        (B, C),
        _true=probabilities(rng("soft2"), (B, C)),
    )
    unnormalised = rng("unnormalised").uniform(0.1, 0.9, (B, C)).astype(np.float32)
    add(
        "categorical_rows_do_not_sum_to_1",
        "categorical_crossentropy",
        "categorical",
        (B, C),
        (B, C),
        _pred=unnormalised,
        note="Keras divides by the sum of the row first, and the gradient goes through that",
    )
    add("categorical_sum", cce(reduction="sum"), "categorical", (B, C), (B, C))
    add("categorical_none", cce(reduction="none"), "categorical", (B, T, C), (B, T, C))
    large = np.array(
        [[90, -90, 0, 1], [-200, -201, -202, -203], [0, 0, 0, 0], [50, 49, 48, 47], [1, 2, 3, 4]], np.float32
    )
    add(
        "categorical_logits_large",
        cce(from_logits=True),
        "categorical_logits",
        (B, C),
        (B, C),
        _pred=large,
        _smooth=False,
    )

    # Sparse categorical cross-entropy
    scce = lambda **p: {"SparseCategoricalCrossentropy": p}
    for name, true, pred in (
        ("b", (B,), (B, C)),
        ("b1", (B, 1), (B, C)),
        ("bt", (B, T), (B, T, C)),
        ("bt1", (B, T, 1), (B, T, C)),
    ):
        add(f"sparse_{name}", "sparse_categorical_crossentropy", "sparse", true, pred)
        add(f"sparse_logits_{name}", scce(from_logits=True), "sparse_logits", true, pred)
        add(f"sparse_{name}_weighted", "sparse_categorical_crossentropy", "sparse", true, pred, weight=pred[:-1])
    add("sparse_masked", "sparse_categorical_crossentropy", "sparse", (B, T), (B, T, C), mask=(B, T))
    add(
        "sparse_logits_masked_weighted",
        scce(from_logits=True),
        "sparse_logits",
        (B, T),
        (B, T, C),
        mask=(B, T),
        weight=(B, T),
    )
    for reduction in REDUCTIONS:
        ignore = scce(ignore_class=1, reduction=reduction)
        add(f"sparse_ignore_{reduction}", ignore, "sparse", (B, T), (B, T, C))
        add(
            f"sparse_ignore_{reduction}_masked_weighted",
            ignore,
            "sparse",
            (B, T),
            (B, T, C),
            mask=(B, T),
            weight=(B, T),
        )
    minus = rng("minus").integers(-1, C, (B,)).astype(np.int32)
    minus[1] = -1
    add("sparse_ignore_minus_1", scce(ignore_class=-1), "sparse", (B,), (B, C), _true=minus)
    add(
        "sparse_logits_ignore_minus_1",
        scce(ignore_class=-1, from_logits=True),
        "sparse_logits",
        (B,),
        (B, C),
        _true=minus,
    )
    add(
        "sparse_logits_ignore_minus_1_weighted",
        scce(ignore_class=-1, from_logits=True),
        "sparse_logits",
        (B,),
        (B, C),
        weight=(B,),
        _true=minus,
    )
    add("sparse_ignore_everything", scce(ignore_class=2), "sparse", (B,), (B, C), _true=np.full(B, 2, np.int32))
    add(
        "sparse_ignore_255",
        scce(ignore_class=255),
        "sparse",
        (B, T),
        (B, T, C),
        _true=np.where(rng("v").uniform(size=(B, T)) < 0.4, 255, 2).astype(np.int32),
    )
    add("sparse_rows_do_not_sum_to_1", "sparse_categorical_crossentropy", "sparse", (B,), (B, C), _pred=unnormalised)
    add("sparse_logits_large", scce(from_logits=True), "sparse_logits", (B,), (B, C), _pred=large, _smooth=False)
    add("sparse_none", scce(reduction="none"), "sparse", (B,), (B, C))
    add("sparse_two_classes", "sparse_categorical_crossentropy", "sparse", (B,), (B, 2))

    # The alias of compile(): which loss it stands for follows from the shapes.
    add("alias_binary", "crossentropy", "binary", (B, 1), (B, 1), resolves_to="binary_crossentropy")
    add("alias_binary_b", "crossentropy", "binary", (B,), (B, 1), resolves_to="binary_crossentropy")
    add("alias_sparse", "crossentropy", "sparse", (B,), (B, C), resolves_to="sparse_categorical_crossentropy")
    add("alias_sparse_b1", "ce", "sparse", (B, 1), (B, C), resolves_to="sparse_categorical_crossentropy")
    add("alias_categorical", "crossentropy", "categorical", (B, C), (B, C), resolves_to="categorical_crossentropy")
    add(
        "alias_sparse_sequence",
        "crossentropy",
        "sparse",
        (B, T),
        (B, T, C),
        resolves_to="sparse_categorical_crossentropy",
    )


def compute(f, case):
    import dltrain_keras
    import jax
    import jax.numpy as jnp
    from keras.src import backend
    from keras.src.trainers import compile_utils

    name, shapes = case["name"], case["shapes"]
    for attempt in range(20):
        random = rng(name, attempt)
        y_true, y_pred = make(case["_kind"], random, tuple(shapes["y_true"]), tuple(shapes["y_pred"]))
        y_true, y_pred = case.get("_true", y_true), case.get("_pred", y_pred)
        weight = mask = None
        if "sample_weight" in shapes:
            weight = case.get("_weight", weights_of(random, shapes["sample_weight"]))
        if "mask" in shapes:
            mask = case.get("_mask", random.uniform(size=shapes["mask"]) < 0.6)
        loss = compile_utils.get_loss(dltrain_keras.loss(case["loss"]), y_true, y_pred)
        if "resolves_to" in case and loss.fn.__name__ != case["resolves_to"]:
            raise ValueError(f"{name}: resolved to {loss.fn.__name__}")

        def total(pred):
            marked = pred * 1  # a tensor of our own, to carry the mask
            if mask is not None:
                backend.set_keras_mask(marked, mask)
            value = loss(y_true, marked, sample_weight=weight)
            return jnp.sum(value), value

        gradient = jax.jit(jax.value_and_grad(total, has_aux=True))
        (_, value), dy = gradient(y_pred)
        moved = (y_pred + 1e-4 * random.uniform(-1, 1, y_pred.shape)).astype(np.float32)
        near = np.max(abs(np.asarray(gradient(moved)[1]) - np.asarray(dy)))
        if not case.get("_smooth", True) or near < 0.01 * (1e-2 + np.max(abs(np.asarray(dy)))):
            break
    else:
        raise RuntimeError(f"losses/{name}: every attempt lies near a kink")
    f.put(f"{name}/y_true", y_true)
    f.put(f"{name}/y_pred", y_pred)
    if weight is not None:
        f.put(f"{name}/sample_weight", weight)
    if mask is not None:
        f.put(f"{name}/mask", mask)
    f.put(f"{name}/loss", np.asarray(value))
    f.put(f"{name}/dy_pred", np.asarray(dy))


def losses():
    f = Family(
        "losses", "Losses: value (after reduction) and the gradient of its sum with respect to the predictions."
    )
    cases(f)
    for case in f.cases:
        compute(f, case)
    return f


FAMILIES = {"losses": losses}
