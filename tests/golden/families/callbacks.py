"""Family callbacks: what EarlyStopping, ReduceLROnPlateau, ModelCheckpoint and LearningRateScheduler decide."""

import math
import warnings

import numpy as np

from .common import Family, rng

NAN, INF = math.nan, math.inf


class Model:
    """As much of a Keras model as a callback looks at. Its weights are the number of the epoch that has just ended."""

    def __init__(self, rate, metrics):
        import keras
        from keras.src.trainers import compile_utils

        self.stop_training = False
        self.weights = -1
        self.optimizer = keras.optimizers.SGD(learning_rate=rate)
        found = [keras.metrics.get(metric) for metric in metrics]
        for metric, called in zip(found, metrics):
            metric.name = called
        self.metrics = [compile_utils.MetricsList(found)]
        self.saved = []

    def get_weights(self):
        return self.weights

    def set_weights(self, weights):
        self.weights = weights

    def save_weights(self, path, overwrite=True):
        self.saved.append(path)


def cases(f):
    falling = [1.0, 0.8, 0.7, 0.65, 0.64, 0.63]
    bumpy = [1.0, 0.9, 0.95, 0.92, 0.85, 0.86, 0.87, 0.88, 0.84, 0.9, 0.9, 0.9, 0.9]
    rising = [0.5, 0.6, 0.7, 0.8]
    flat = [0.5] * 6
    nan_first = [NAN, 0.5, 0.4, 0.3, 0.2]
    nan_later = [1.0, 0.8, NAN, 0.7, NAN, NAN, 0.6, 0.9]
    series = {
        "falling": falling,
        "bumpy": bumpy,
        "rising": rising,
        "flat": flat,
        "nan_first": nan_first,
        "nan_later": nan_later,
        "nan_only": [NAN] * 4,
        "infinite": [INF, 3.0, -INF, 1.0, 2.0],
    }

    def add(name, kind, values, parameters, **more):
        f.add(name, callback={kind: {"monitor": "val_loss", **parameters}}, values=list(values), **more)

    stop = "EarlyStopping"
    for name, values in series.items():
        for patience in (0, 1, 3):
            add(
                f"stop_{name}_patience_{patience}", stop, values, {"patience": patience, "restore_best_weights": True}
            )
    add("stop_without_restore", stop, bumpy, {"patience": 2})
    add("stop_restored_though_not_stopped", stop, [1.0, 0.5, 0.6], {"patience": 5, "restore_best_weights": True})
    for delta in (0.05, -0.05, 0.2):
        add(f"stop_min_delta_{delta}", stop, bumpy, {"patience": 2, "min_delta": delta, "restore_best_weights": True})
    for baseline in (0.9, 0.3):
        add(
            f"stop_baseline_{baseline}",
            stop,
            bumpy,
            {"patience": 3, "baseline": baseline, "restore_best_weights": True},
        )
    for start in (1, 4, 20):
        add(
            f"stop_start_from_epoch_{start}",
            stop,
            rising + bumpy,
            {"patience": 1, "start_from_epoch": start, "restore_best_weights": True},
        )
    add(
        "stop_max",
        stop,
        [0.1, 0.5, 0.4, 0.45, 0.3, 0.6],
        {"mode": "max", "patience": 2, "restore_best_weights": True},
    )
    add("stop_min_on_accuracy", stop, rising, {"mode": "min", "patience": 1, "restore_best_weights": True})
    for metric, values in (
        ("accuracy", [0.1, 0.5, 0.4, 0.45]),
        ("AUC", [0.1, 0.5, 0.4, 0.45]),
        ("mae", [0.5, 0.1, 0.4, 0.45]),
    ):
        add(
            f"stop_auto_{metric}",
            stop,
            values,
            {"monitor": f"val_{metric}", "patience": 2, "restore_best_weights": True},
            metrics=[metric],
        )
    add("stop_auto_training_loss", stop, bumpy, {"monitor": "loss", "patience": 2, "restore_best_weights": True})
    add(
        "stop_missing_at_some_epochs",
        stop,
        [1.0, None, 0.9, None, 0.95, None, 0.96, 0.97],
        {"patience": 2, "restore_best_weights": True},
        note="null: the monitored value is not in the logs of that epoch (validation_freq)",
    )
    random = rng("stop_random")
    for i in range(12):
        values = np.round(random.uniform(0, 1, 25) + np.linspace(1, 0, 25), 2).tolist()
        parameters = {
            "patience": int(random.integers(0, 6)),
            "min_delta": float(random.choice([0, 0.1, 0.3])),
            "restore_best_weights": bool(random.integers(2)),
            "start_from_epoch": int(random.integers(0, 5)),
            "mode": str(random.choice(["min", "max", "auto"])),
        }
        if random.integers(2):
            parameters["baseline"] = float(np.round(random.uniform(0.3, 1.2), 2))
        add(f"stop_random_{i}", stop, values, parameters)

    plateau = "ReduceLROnPlateau"
    for name, values in series.items():
        for patience in (0, 1, 2):
            add(
                f"plateau_{name}_patience_{patience}",
                plateau,
                values,
                {"patience": patience, "factor": 0.5},
                learning_rate=0.1,
            )
    add("plateau_defaults", plateau, [1.0] + [1.1] * 23, {}, learning_rate=0.1)
    add(
        "plateau_min_delta",
        plateau,
        [1.0, 0.99995, 0.9999, 0.99985, 0.9998, 0.99975],
        {"patience": 2},
        learning_rate=0.1,
        note="the default min_delta is 1e-4",
    )
    add(
        "plateau_min_delta_0",
        plateau,
        [1.0, 0.999, 0.998, 0.997, 0.996, 0.995],
        {"patience": 2, "min_delta": 0},
        learning_rate=0.1,
    )
    for cooldown in (1, 3):
        add(
            f"plateau_cooldown_{cooldown}",
            plateau,
            [1.0] + [2.0] * 12,
            {"patience": 1, "cooldown": cooldown, "factor": 0.5},
            learning_rate=0.1,
        )
        add(
            f"plateau_cooldown_{cooldown}_bumpy",
            plateau,
            bumpy,
            {"patience": 1, "cooldown": cooldown, "factor": 0.5},
            learning_rate=0.1,
        )
    add(
        "plateau_min_lr",
        plateau,
        [1.0] + [2.0] * 8,
        {"patience": 1, "factor": 0.1, "min_lr": 0.003},
        learning_rate=0.1,
    )
    add(
        "plateau_min_lr_above_rate",
        plateau,
        [1.0] + [2.0] * 4,
        {"patience": 1, "factor": 0.1, "min_lr": 0.3},
        learning_rate=0.1,
    )
    add("plateau_max", plateau, [0.1, 0.5, 0.4, 0.45, 0.3, 0.6], {"patience": 1, "mode": "max"}, learning_rate=0.1)
    add(
        "plateau_auto_accuracy",
        plateau,
        [0.1, 0.5, 0.4, 0.45, 0.3, 0.6],
        {"monitor": "val_accuracy", "patience": 1},
        learning_rate=0.1,
        metrics=["accuracy"],
    )
    add(
        "plateau_missing_at_some_epochs",
        plateau,
        [1.0, None, 1.1, None, 1.2, None, 1.3],
        {"patience": 2, "factor": 0.5},
        learning_rate=0.1,
    )
    for i in range(12):
        values = np.round(random.uniform(0, 1, 25) + np.linspace(1, 0, 25), 2).tolist()
        parameters = {
            "patience": int(random.integers(0, 5)),
            "min_delta": float(random.choice([0, 0.1, 0.3])),
            "cooldown": int(random.integers(0, 4)),
            "factor": float(random.choice([0.1, 0.5, 0.9])),
            "min_lr": float(random.choice([0.0, 0.01])),
            "mode": str(random.choice(["min", "max"])),
        }
        add(f"plateau_random_{i}", plateau, values, parameters, learning_rate=0.1)

    save = "ModelCheckpoint"
    path = "{epoch:02d}.weights.h5"
    base = {"filepath": path, "save_weights_only": True}
    for name, values in series.items():
        add(f"save_best_{name}", save, values, {**base, "save_best_only": True})
    add("save_always", save, bumpy, base)
    add("save_best_max", save, [0.1, 0.5, 0.4, 0.45, 0.6], {**base, "save_best_only": True, "mode": "max"})
    add(
        "save_best_auto_accuracy",
        save,
        [0.1, 0.5, 0.4, 0.45, 0.6],
        {**base, "save_best_only": True, "monitor": "val_accuracy"},
        metrics=["accuracy"],
    )
    add("save_best_threshold", save, bumpy, {**base, "save_best_only": True, "initial_value_threshold": 0.88})
    add(
        "save_best_missing_value",
        save,
        [1.0, None, 0.9, 0.95],
        {**base, "save_best_only": True},
        note="without the monitored value it saves",
    )
    add(
        "save_file_names",
        save,
        [0.98765, 0.5, 0.123456],
        {**base, "filepath": "w_{epoch:03d}_{val_loss:.3f}.weights.h5"},
    )
    add(
        "save_every_3_batches",
        save,
        [1.0, 0.9, 0.8],
        {**base, "filepath": "{epoch}-{batch}.weights.h5", "save_freq": 3},
        batches=4,
        note="batches are counted over the borders of epochs",
    )
    add(
        "save_every_5_batches",
        save,
        [1.0, 0.9, 0.8],
        {**base, "filepath": "{epoch}-{batch}.weights.h5", "save_freq": 5},
        batches=4,
    )

    for name, schedule in {
        "exponential": {"ExponentialDecay": {"initial_learning_rate": 0.1, "decay_steps": 2, "decay_rate": 0.5}},
        "piecewise": {"PiecewiseConstantDecay": {"boundaries": [1, 3], "values": [0.1, 0.05, 0.01]}},
        "cosine": {"CosineDecay": {"initial_learning_rate": 0.1, "decay_steps": 5, "alpha": 0.1}},
    }.items():
        f.add(
            f"rate_{name}",
            callback={"LearningRateScheduler": {"schedule": schedule}},
            epochs=6,
            learning_rate=0.3,
            note="the schedule is taken at the epoch, from 0",
        )


def compute(f, case):
    import dltrain_keras
    import keras

    keras.utils.clear_session()
    name = case["name"]
    kind, parameters = dltrain_keras.kind_of(case["callback"])
    monitor = parameters.get("monitor", "val_loss")
    model = Model(case.get("learning_rate", 0.01), case.get("metrics", []))
    callback = dltrain_keras.callback(case["callback"])
    callback.set_model(model)
    callback.on_train_begin()
    rates, waits, saved, batches = [], [], [], []
    values = case.get("values", [0.0] * case.get("epochs", 0))
    epoch = -1
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for epoch, value in enumerate(values):
            logs = {} if value is None else {monitor: value}
            callback.on_epoch_begin(epoch)
            if kind == "LearningRateScheduler":
                rates.append(float(model.optimizer.learning_rate))
            for batch in range(case.get("batches", 0)):
                before = len(model.saved)
                callback.on_train_batch_end(batch, {"loss": 1.0})
                batches.append(len(model.saved) - before)
            model.weights = epoch
            before = len(model.saved)
            callback.on_epoch_end(epoch, logs)
            saved.append(len(model.saved) - before)
            waits.append(getattr(callback, "wait", 0))
            if kind == "ReduceLROnPlateau":
                rates.append(float(model.optimizer.learning_rate))
            if model.stop_training:
                break
        callback.on_train_end()
    if kind == "EarlyStopping":
        f.put(f"{name}/epochs_run", np.int32(epoch + 1))
        f.put(f"{name}/stopped", np.bool_(model.stop_training))
        f.put(f"{name}/best_epoch", np.int32(callback.best_epoch))
        f.put(f"{name}/best", np.float32(NAN if callback.best is None else callback.best), finite=False)
        f.put(f"{name}/weights_of_epoch", np.int32(model.weights))
        f.put(f"{name}/wait", np.array(waits, np.int32))
    elif kind == "ModelCheckpoint":
        f.put(f"{name}/saved", np.array(batches if "batches" in case else saved, np.uint8))
        case["files"] = model.saved
    else:
        f.put(f"{name}/learning_rate", np.array(rates, np.float32))
        if kind == "ReduceLROnPlateau":
            f.put(f"{name}/wait", np.array(waits, np.int32))


def callbacks():
    f = Family(
        "callbacks", "Callbacks: what they decide on a sequence of monitored values, one an epoch; see README.md."
    )
    cases(f)
    for case in f.cases:
        compute(f, case)
    return f


FAMILIES = {"callbacks": callbacks}
