"""Family models: whole models, trained. The cases are written by hand in models.yaml."""

import os

import numpy as np

from .common import GOLDEN, Family, randomise, rng

STEPS, ROWS = 20, 18


def tokens(random, rows, length, below, padded):
    x = random.integers(1, below, (rows, length))
    if padded:
        x[np.arange(length) >= random.integers(1, length + 1, (rows, 1))] = 0
        x[3, 1] = 0  # padding inside
        x[5] = 0  # nothing but padding
    return x.astype(np.int32)


def blobs(random, rows, shape, classes):
    """Noise around one centre per class."""
    y = random.integers(0, classes, rows)
    centres = random.standard_normal((classes, *shape))
    return (centres[y] + 0.7 * random.standard_normal((rows, *shape))).astype(np.float32), y.astype(np.int32)


def data_of(name, random):
    """x, y and perhaps sample_weight of a model."""
    one_hot = lambda y, n: np.eye(n, dtype=np.float32)[y]
    n = ROWS
    if name == "mlp_classification":
        x, y = blobs(random, 24, (5,), 3)  # the last quarter validates
    elif name == "cnn_batch_normalization":
        x, y = blobs(random, n, (6, 6, 2), 3)
        y = one_hot(y, 3)
    elif name == "lstm_text_mask":
        x = tokens(random, n, 7, 9, True)
        y = (x.sum(1) % 2).astype(np.float32)[:, None]
    elif name == "gru_regression":
        x = random.standard_normal((n, 6, 2)).astype(np.float32)
        y = (x[:, -1, :1] - x[:, 0, 1:] + 0.2).astype(np.float32)
    elif name == "bidirectional_tagging":
        x = tokens(random, n, 6, 8, True)
        y = ((x + np.roll(x, 1, 1)) % 4).astype(np.int32)
    elif name == "causal_transformer":
        x = tokens(random, n, 7, 7, False)
        x, y = x[:, :-1], x[:, 1:]
    elif name == "masked_transformer":
        x = tokens(random, n, 6, 8, True)
        y = ((x + np.roll(x, -1, 1)) % 3).astype(np.int32)
        y[random.uniform(size=y.shape) < 0.2] = -1
    elif name == "conv_residual":
        x, y = blobs(random, n, (5, 5, 1), 2)
    elif name == "parallel_inception":
        x, y = blobs(random, n, (4, 5, 2), 3)
    elif name == "time_distributed_video":
        x = random.standard_normal((n, 3, 4, 4, 1)).astype(np.float32)
        y = np.stack([x[:, 0].mean((1, 2, 3)), x[:, 2, 1, 1, 0]], -1).astype(np.float32)
    elif name == "autoencoder_tied":
        x = tokens(random, n, 4, 6, False)
        y = one_hot(x, 6)
    elif name == "binary_class_weight":
        x, y = blobs(random, n, (4,), 2)
        y = y.astype(np.float32)[:, None]
    elif name == "regression_sample_weight":
        x = random.standard_normal((n, 3)).astype(np.float32)
        y = (x @ random.standard_normal((3, 2)) + 0.1 * random.standard_normal((n, 2))).astype(np.float32)
        return {"x": x, "y": y, "sample_weight": random.uniform(0.1, 2.0, n).astype(np.float32)}
    elif name == "l2_max_norm":
        x = random.standard_normal((n, 4)).astype(np.float32)
        y = np.tanh(x[:, :1] - x[:, 1:2] * x[:, 2:3]).astype(np.float32)
    elif name == "accumulate_ema":
        x, y = blobs(random, n, (5,), 3)
        y = one_hot(y, 3)
    else:
        raise ValueError(f"no data for the model '{name}'")
    return {"x": x, "y": y}


class Run:
    """One training from given initial weights."""

    def __init__(self, document, start, policy="float32"):
        import dltrain_keras
        import keras

        keras.utils.clear_session()
        keras.utils.set_random_seed(1)
        self.document = document
        keras.config.set_dtype_policy(policy)
        self.model = dltrain_keras.build(document["layers"], name=document["name"])
        keras.config.set_dtype_policy("float32")
        if start is None:
            start = randomise(self.model, rng(document["name"] + "/weights"))
        self.paths = dltrain_keras.weight_paths(self.model)
        for path, value in start.items():
            self.paths[path].assign(value)
        self.start = start
        dltrain_keras.compile_model(self.model, document)

    def weights(self):
        return {path: np.array(variable.value) for path, variable in self.paths.items()}


def split_rows(document, rows):
    """Keras' validation_split: the last rows validate."""
    fraction = document["data"].get("validation", {}).get("split", 0.0)
    return int(np.floor(rows * (1.0 - fraction))), fraction


def step_losses(run, data):
    """The total loss of each step, by train_on_batch in the order of fit."""
    fit = run.document["fit"]
    train, _ = split_rows(run.document, len(data["x"]))
    losses = []
    for _ in range(fit["epochs"]):
        for begin in range(0, train, fit["batch_size"]):
            rows = slice(begin, min(begin + fit["batch_size"], train))
            run.model.reset_metrics()
            weight = data["sample_weight"][rows] if "sample_weight" in data else None
            logs = run.model.train_on_batch(
                data["x"][rows],
                data["y"][rows],
                sample_weight=weight,
                class_weight=fit.get("class_weight"),
                return_dict=True,
            )
            losses.append(logs["loss"])
    run.model.optimizer.finalize_variable_values(run.model.trainable_variables)
    return np.array(losses, np.float32)


def compute(f, case):
    document, name = case["model"], case["name"]
    fit = document["fit"]
    if fit["shuffle"] or document["name"] != name:
        raise ValueError(f"{name}: must not shuffle, and must be called as its case")
    data = data_of(name, rng(name + "/data"))
    train, fraction = split_rows(document, len(data["x"]))
    weight = data.get("sample_weight")

    by_steps = Run(document, None)
    start = by_steps.start
    losses = step_losses(by_steps, data)
    if len(losses) != STEPS or train % fit["batch_size"] == 0:
        raise ValueError(f"{name}: {len(losses)} steps; the last batch must be uneven")

    run = Run(document, start)
    if weight is None and "class_weight" in fit:
        class_weight = {int(key): value for key, value in fit["class_weight"].items()}
    else:
        class_weight = None
    history = run.model.fit(
        data["x"],
        data["y"],
        sample_weight=weight,
        class_weight=class_weight,
        batch_size=fit["batch_size"],
        epochs=fit["epochs"],
        shuffle=False,
        validation_split=fraction,
        verbose=0,
    ).history
    final = run.weights()
    if case.get(
        "file"
    ):  # before evaluate(): with EMA, Keras on JAX has averages and weights share arrays, which evaluate() donates
        run.model.save_weights(os.path.join(GOLDEN, "files", f"{name}.weights.h5"))
    for path, value in by_steps.weights().items():
        if not np.array_equal(value, final[path]):
            raise ValueError(
                f"{name}: fit and train_on_batch disagree about {path} by {np.max(abs(value - final[path]))}"
            )

    # How far the losses move when the initial weights move by one part in a million: what rounding can do at most.
    random = rng(name + "/nudge")
    nudged = {
        path: (value * (1 + 1e-6 * random.standard_normal(value.shape))).astype(np.float32)
        for path, value in start.items()
    }
    moved = np.max(abs(step_losses(Run(document, nudged), data) - losses))
    print(
        f"  {name}: loss {losses[0]:.4f} -> {losses[-1]:.4f}, {run.model.count_params()} parameters, a nudge of 1e-6 moves a loss by {moved:.1e}"
    )
    if moved > 2e-4:
        raise ValueError(f"{name}: too sensitive to be compared")

    for key, value in data.items():
        f.put(f"{name}/{key}", value)
    for path, value in start.items():
        f.put(f"{name}/w/{path}", value)
    f.put(f"{name}/step_loss", losses)
    for key, values in history.items():
        if case.get("train_metrics", True) or key == "loss":
            f.put(f"{name}/epoch/{key}", np.array(values, np.float32))
    for key, value in run.model.evaluate(
        data["x"], data["y"], sample_weight=weight, batch_size=fit["batch_size"], verbose=0, return_dict=True
    ).items():
        f.put(f"{name}/evaluate/{key}", np.array(value, np.float32))
    for path, value in final.items():
        if value.dtype == np.float32:
            f.put(f"{name}/w_final/{path}", value)
    f.put(f"{name}/predict", run.model.predict(data["x"], batch_size=fit["batch_size"], verbose=0))


def models():
    import dltrain_keras

    f = Family("models", "")
    f.write_yaml = False  # the source of this family
    os.makedirs(os.path.join(GOLDEN, "files"), exist_ok=True)
    f.cases = dltrain_keras.parse(os.path.join(GOLDEN, "models.yaml"))
    for case in f.cases:
        compute(f, case)
    return f


def mixed():
    """The same models, data and first weights under Keras' policy mixed_bfloat16."""
    import dltrain_keras

    f = Family("mixed_bfloat16", "Models of models.yaml in mixed precision.")
    for case in dltrain_keras.parse(os.path.join(GOLDEN, "models.yaml")):
        document, name = case["model"], case["name"]
        f.add(name)
        data = data_of(name, rng(name + "/data"))
        run = Run(document, None, "mixed_bfloat16")
        first = run.model.predict(data["x"], batch_size=document["fit"]["batch_size"], verbose=0)
        losses = step_losses(run, data)
        f.put(f"{name}/predict_first", np.asarray(first, np.float32))
        f.put(f"{name}/step_loss", losses)
        full = step_losses(Run(document, run.start), data)
        print(f"  {name}: largest difference to float32 {np.max(abs(losses - full)):.1e} of {losses[0]:.3f}")
    return f


FAMILIES = {"models": models, "mixed_bfloat16": mixed}
