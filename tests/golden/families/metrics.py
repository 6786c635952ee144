"""Family metrics: the running result after each of three batches, of 5, 5 and 2 of the 12 samples."""

import numpy as np

from .common import Family, rng

SIZES = (5, 5, 2)
C, T = 4, 3


def cases(f):
    def add(name, metric, kind, true=(), pred=(), weighted=(None, "b"), **more):
        """true and pred: the shapes behind the batch axis. weighted: which shapes of sample weights to make cases for."""
        for weight in weighted:
            hints = dict(more)
            if weight is not None:
                hints["_weight"] = {"b": (), "b1": (1,), "bt": (T,), "bc": (C,)}[weight]
            suffix = "" if weight is None else f"_weighted_{weight}"
            shapes = {"y_true": ["B", *true], "y_pred": ["B", *pred]}
            if weight is not None:
                shapes["sample_weight"] = ["B", *hints["_weight"]]
            if hints.get("_mask"):
                shapes["mask"] = ["B", *hints["_mask"]]
            f.add(name + suffix, metric=metric, shapes=shapes, _kind=kind, **hints)

    # Accuracies
    add("binary_accuracy_b1", "binary_accuracy", "binary", (1,), (1,))
    add("binary_accuracy_b_b1", "binary_accuracy", "binary", (), (1,))
    add("binary_accuracy_b", "binary_accuracy", "binary", (), ())
    add("binary_accuracy_bc", "binary_accuracy", "binary", (C,), (C,), weighted=(None, "b", "bc"))
    for threshold in (0.2, 0.8):
        add(
            f"binary_accuracy_threshold_{threshold}",
            {"BinaryAccuracy": {"threshold": threshold}},
            "binary",
            (1,),
            (1,),
        )
    exact = [np.array([[0.5], [0.25], [0.75], [0.5], [0.5]], np.float32)] * 2 + [np.array([[0.5], [0.5]], np.float32)]
    add(
        "binary_accuracy_exactly_at_threshold", "binary_accuracy", "binary", (1,), (1,), weighted=(None,), _pred=exact
    )
    add("binary_accuracy_sequence", "binary_accuracy", "binary", (T, 1), (T, 1), weighted=(None, "b", "bt"))
    add("categorical_accuracy", "categorical_accuracy", "categorical", (C,), (C,))
    add("categorical_accuracy_sequence", "categorical_accuracy", "categorical", (T, C), (T, C), weighted=(None, "bt"))
    add(
        "categorical_accuracy_masked",
        "categorical_accuracy",
        "categorical",
        (T, C),
        (T, C),
        weighted=(None, "bt"),
        _mask=(T,),
    )
    for name, true in (("b", ()), ("b1", (1,))):
        add(f"sparse_categorical_accuracy_{name}", "sparse_categorical_accuracy", "sparse", true, (C,))
    add(
        "sparse_categorical_accuracy_sequence",
        "sparse_categorical_accuracy",
        "sparse",
        (T,),
        (T, C),
        weighted=(None, "b", "bt"),
    )
    add(
        "sparse_categorical_accuracy_masked",
        "sparse_categorical_accuracy",
        "sparse",
        (T,),
        (T, C),
        weighted=(None, "bt"),
        _mask=(T,),
    )
    ties = [
        np.array(
            [
                [0.4, 0.4, 0.1, 0.1],
                [0.25, 0.25, 0.25, 0.25],
                [0.1, 0.3, 0.3, 0.3],
                [0.1, 0.2, 0.3, 0.4],
                [0.2, 0.2, 0.4, 0.2],
            ],
            np.float32,
        )
    ] * 2
    ties.append(np.array([[0.1, 0.3, 0.3, 0.3], [0.4, 0.1, 0.4, 0.1]], np.float32))
    labels = [np.array([0, 3, 2, 0, 1], np.int32), np.array([1, 0, 3, 1, 0], np.int32), np.array([0, 2], np.int32)]
    add(
        "sparse_categorical_accuracy_ties",
        "sparse_categorical_accuracy",
        "sparse",
        (),
        (C,),
        weighted=(None,),
        _pred=ties,
        _true=labels,
    )

    # The aliases of compile()
    for name, kind, true, pred, resolved in (
        ("binary", "binary", (1,), (1,), "BinaryAccuracy"),
        ("binary_b", "binary", (), (1,), "BinaryAccuracy"),
        ("binary_sequence", "binary", (T, 1), (T, 1), "BinaryAccuracy"),
        ("sparse", "sparse", (), (C,), "SparseCategoricalAccuracy"),
        ("sparse_b1", "sparse", (1,), (C,), "SparseCategoricalAccuracy"),
        ("sparse_sequence", "sparse", (T,), (T, C), "SparseCategoricalAccuracy"),
        ("categorical", "categorical", (C,), (C,), "CategoricalAccuracy"),
        ("categorical_sequence", "categorical", (T, C), (T, C), "CategoricalAccuracy"),
    ):
        for alias in ("accuracy", "acc"):
            add(f"{alias}_{name}", alias, kind, true, pred, weighted=(None,), resolves_to=resolved)

    # Top k
    for k in (1, 2, 3, 5):
        add(
            f"top_k_{k}",
            {"TopKCategoricalAccuracy": {"k": k}},
            "categorical",
            (6,),
            (6,),
            weighted=(None, "b") if k == 2 else (None,),
        )
        add(
            f"sparse_top_k_{k}",
            {"SparseTopKCategoricalAccuracy": {"k": k}},
            "sparse",
            (),
            (6,),
            weighted=(None, "b") if k == 2 else (None,),
        )
        if k < 4:
            one_hot = [np.eye(C, dtype=np.float32)[batch] for batch in labels]
            add(
                f"top_k_{k}_ties",
                {"TopKCategoricalAccuracy": {"k": k}},
                "categorical",
                (C,),
                (C,),
                weighted=(None,),
                _pred=ties,
                _true=one_hot,
            )
            add(
                f"sparse_top_k_{k}_ties",
                {"SparseTopKCategoricalAccuracy": {"k": k}},
                "sparse",
                (),
                (C,),
                weighted=(None,),
                _pred=ties,
                _true=labels,
            )
    add("top_k_default", "top_k_categorical_accuracy", "categorical", (7,), (7,), weighted=(None,))
    add("sparse_top_k_b1", "sparse_top_k_categorical_accuracy", "sparse", (1,), (7,), weighted=(None,))
    add(
        "sparse_top_k_sequence",
        {"SparseTopKCategoricalAccuracy": {"k": 2}},
        "sparse",
        (T,),
        (T, C),
        weighted=(None, "bt"),
    )

    # Precision and recall
    for kind, low in (("Precision", "precision"), ("Recall", "recall")):
        add(f"{low}_b1", {kind: {}}, "binary", (1,), (1,), weighted=(None, "b", "b1"))
        add(f"{low}_b", {kind: {}}, "binary", (), ())
        add(f"{low}_bc", {kind: {}}, "binary", (C,), (C,), weighted=(None, "b"))
        add(f"{low}_thresholds", {kind: {"thresholds": [0.1, 0.45, 0.9]}}, "binary", (1,), (1,))
        add(f"{low}_thresholds_even", {kind: {"thresholds": [0.0, 0.25, 0.5, 0.75, 1.0]}}, "binary", (1,), (1,))
        add(f"{low}_threshold", {kind: {"thresholds": 0.3}}, "binary", (1,), (1,))
        add(f"{low}_threshold_logits", {kind: {"thresholds": 0}}, "binary_logits", (1,), (1,), weighted=(None,))
        add(f"{low}_top_k", {kind: {"top_k": 2}}, "binary", (C,), (C,))
        add(f"{low}_class_id", {kind: {"class_id": 1}}, "binary", (C,), (C,))
        add(f"{low}_top_k_class_id", {kind: {"top_k": 2, "class_id": 2}}, "binary", (C,), (C,))
        add(f"{low}_top_k_threshold", {kind: {"top_k": 3, "thresholds": 0.5}}, "binary", (C,), (C,), weighted=(None,))
        add(f"{low}_categorical", {kind: {"class_id": 0}}, "categorical", (C,), (C,), weighted=(None,))
        nothing = [np.zeros((n, 1), np.float32) for n in SIZES]
        add(
            f"{low}_nothing_found",
            {kind: {}},
            "binary",
            (1,),
            (1,),
            weighted=(None,),
            _true=nothing,
            _pred=[batch + np.float32(0.1) for batch in nothing],
        )
        add(f"{low}_sequence", {kind: {}}, "binary", (T, 1), (T, 1), weighted=(None, "bt"))

    # AUC
    add("auc", "AUC", "binary", (1,), (1,), weighted=(None, "b", "b1"))
    add("auc_b", {"AUC": {}}, "binary", (), ())
    for curve in ("ROC", "PR", "PRGAIN"):
        for method in ("interpolation", "minoring", "majoring"):
            parameters = {"curve": curve, "summation_method": method}
            add(f"auc_{curve}_{method}", {"AUC": parameters}, "binary", (1,), (1,))
            add(
                f"auc_{curve}_{method}_coarse",
                {"AUC": {**parameters, "num_thresholds": 5}},
                "binary",
                (1,),
                (1,),
                weighted=(None,),
            )
    add("auc_2_thresholds", {"AUC": {"num_thresholds": 2}}, "binary", (1,), (1,), weighted=(None,))
    add("auc_thresholds", {"AUC": {"thresholds": [0.7, 0.2, 0.55]}}, "binary", (1,), (1,))
    add(
        "auc_thresholds_pr",
        {"AUC": {"thresholds": [0.7, 0.2, 0.55], "curve": "PR"}},
        "binary",
        (1,),
        (1,),
        weighted=(None,),
    )
    add("auc_thresholds_even", {"AUC": {"thresholds": [0.25, 0.5, 0.75]}}, "binary", (1,), (1,), weighted=(None,))
    add("auc_logits", {"AUC": {"from_logits": True}}, "binary_logits", (1,), (1,))
    add("auc_bc_flattened", {"AUC": {}}, "binary", (3,), (3,))
    add("auc_bc_label_weights_flattened", {"AUC": {"label_weights": [0.5, 1.0, 2.0]}}, "binary", (3,), (3,))
    for curve in ("ROC", "PR"):
        add(
            f"auc_multi_label_{curve}",
            {"AUC": {"multi_label": True, "num_labels": 3, "curve": curve}},
            "binary",
            (3,),
            (3,),
        )
        add(
            f"auc_multi_label_weights_{curve}",
            {"AUC": {"multi_label": True, "num_labels": 3, "label_weights": [0.5, 1.0, 2.0], "curve": curve}},
            "binary",
            (3,),
            (3,),
        )
    add(
        "auc_multi_label_thresholds",
        {"AUC": {"multi_label": True, "thresholds": [0.3, 0.6, 0.65]}},
        "binary",
        (3,),
        (3,),
        weighted=(None,),
    )
    ones = [np.ones((n, 1), np.float32) for n in SIZES]
    add("auc_only_positives", {"AUC": {}}, "binary", (1,), (1,), weighted=(None,), _true=ones)
    add(
        "auc_only_negatives", {"AUC": {}}, "binary", (1,), (1,), weighted=(None,), _true=[0 * batch for batch in ones]
    )
    limits = [np.array([[0], [1], [0.5], [0], [1]], np.float32)] * 2 + [np.array([[1], [0]], np.float32)]
    add(
        "auc_predictions_0_and_1",
        {"AUC": {"num_thresholds": 4}},
        "binary",
        (1,),
        (1,),
        weighted=(None,),
        _pred=limits,
    )

    # Regression
    for name, metric in (
        ("mae", "mae"),
        ("mse", "mse"),
        ("rmse", "RootMeanSquaredError"),
        ("mean_squared_error", "mean_squared_error"),
    ):
        add(f"{name}_b1", metric, "real", (1,), (1,), weighted=(None, "b", "b1"))
        add(f"{name}_b_b1", metric, "real", (), (1,))
        add(f"{name}_bc", metric, "real", (C,), (C,))
    add("mse_sequence", "mse", "real", (T, C), (T, C), weighted=(None, "b", "bt"))
    add("mae_masked", "mae", "real", (T, C), (T, C), weighted=(None, "bt"), _mask=(T,))
    add("rmse_sequence", "root_mean_squared_error", "real", (T, C), (T, C), weighted=(None, "bt"))
    for aggregation in ("uniform_average", "variance_weighted_average", None):
        add(f"r2_{aggregation}", {"R2Score": {"class_aggregation": aggregation}}, "real", (3,), (3,), _close=True)
    add("r2_b1", "r2_score", "real", (1,), (1,), weighted=(None, "b"), _close=True)
    add("r2_b_b1", {"R2Score": {}}, "real", (), (1,), weighted=(None,), _close=True)
    add("r2_num_regressors", {"R2Score": {"num_regressors": 2}}, "real", (1,), (1,), weighted=(None,), _close=True)
    add(
        "r2_num_regressors_3_outputs",
        {"R2Score": {"num_regressors": 2}},
        "real",
        (3,),
        (3,),
        weighted=(None,),
        _close=True,
        note="Keras counts n in elements: samples times outputs",
    )
    add(
        "r2_num_regressors_many",
        {"R2Score": {"num_regressors": 9}},
        "real",
        (1,),
        (1,),
        weighted=(None,),
        _close=True,
        note="where n <= num_regressors + 1 (the first two batches) the plain score stands",
    )
    add(
        "r2_constant_target",
        {"R2Score": {}},
        "real",
        (1,),
        (1,),
        weighted=(None,),
        _true=[np.full((n, 1), 0.5, np.float32) for n in SIZES],
    )

    # Losses as metrics
    add("binary_crossentropy", "binary_crossentropy", "binary", (1,), (1,))
    add("binary_crossentropy_bce", "bce", "binary", (1,), (1,), weighted=(None,))
    add(
        "binary_crossentropy_logits_smoothing",
        {"BinaryCrossentropy": {"from_logits": True, "label_smoothing": 0.1}},
        "binary_logits",
        (C,),
        (C,),
    )
    add("categorical_crossentropy", "categorical_crossentropy", "categorical", (C,), (C,))
    add(
        "categorical_crossentropy_logits_smoothing",
        {"CategoricalCrossentropy": {"from_logits": True, "label_smoothing": 0.1}},
        "categorical_logits",
        (C,),
        (C,),
    )
    add("sparse_categorical_crossentropy", "sparse_categorical_crossentropy", "sparse", (), (C,))
    add(
        "sparse_categorical_crossentropy_logits",
        {"SparseCategoricalCrossentropy": {"from_logits": True}},
        "sparse_logits",
        (1,),
        (C,),
    )
    add(
        "sparse_categorical_crossentropy_sequence",
        "sparse_categorical_crossentropy",
        "sparse",
        (T,),
        (T, C),
        weighted=(None, "bt"),
    )
    add(
        "sparse_categorical_crossentropy_masked",
        "sparse_categorical_crossentropy",
        "sparse",
        (T,),
        (T, C),
        weighted=(None, "bt"),
        _mask=(T,),
    )
    add(
        "sparse_categorical_crossentropy_ignore",
        {"SparseCategoricalCrossentropy": {"ignore_class": 1}},
        "sparse",
        (),
        (C,),
        weighted=(None,),
        note="without sample weights an ignored sample counts with value 0: Keras looks at the mask of the loss only where there are weights",
    )
    add(
        "sparse_categorical_crossentropy_ignore_sequence",
        {"SparseCategoricalCrossentropy": {"ignore_class": 1}},
        "sparse",
        (T,),
        (T, C),
        weighted=(None, "bt"),
    )


def compute(f, case):
    import dltrain_keras
    import jax
    import keras
    from keras.src import backend
    from keras.src.trainers import compile_utils

    from .losses import make

    keras.utils.clear_session()
    name, shapes, random = case["name"], case["shapes"], rng(case["name"])
    metric, results, batches = None, [], {"y_true": [], "y_pred": [], "sample_weight": [], "mask": []}
    for i, size in enumerate(SIZES):
        y_true, y_pred = make(case["_kind"], random, (size, *shapes["y_true"][1:]), (size, *shapes["y_pred"][1:]))
        if case.get("_close"):  # predictions that are worth something
            y_pred = (y_true.reshape(y_pred.shape) + 0.5 * y_pred).astype(np.float32)
        if "_true" in case:
            y_true = case["_true"][i]
        if "_pred" in case:
            y_pred = case["_pred"][i]
        weight = mask = None
        if "_weight" in case:
            weight = random.uniform(0.2, 2.0, (size, *case["_weight"])).astype(np.float32)
            weight[0] = 0.0
        if "_mask" in case:
            mask = random.uniform(size=(size, *case["_mask"])) < 0.6
        if metric is None:
            metric = compile_utils.get_metric(dltrain_keras.metric(case["metric"]), y_true, y_pred)
            if "resolves_to" in case and type(metric).__name__ != case["resolves_to"]:
                raise ValueError(f"{name}: resolved to {type(metric).__name__}")
        pred = jax.numpy.array(y_pred)
        if mask is not None:
            backend.set_keras_mask(pred, jax.numpy.array(mask))
        metric.update_state(y_true, pred, sample_weight=weight)
        results.append(np.asarray(metric.result()))
        for key, value in (("y_true", y_true), ("y_pred", y_pred), ("sample_weight", weight), ("mask", mask)):
            if value is not None:
                batches[key].append(value)
    for key, values in batches.items():
        if values:
            f.put(f"{name}/{key}", np.concatenate(values))
    case["log_name"] = metric.name
    case["direction"] = getattr(metric, "_direction", "none")
    f.put(f"{name}/result", np.stack(results).astype(np.float32))


def metrics():
    f = Family("metrics", "Metrics: the running result after batches of 5, 5 and 2; B in the shapes is the batch.")
    cases(f)
    for case in f.cases:
        compute(f, case)
    return f


FAMILIES = {"metrics": metrics}
