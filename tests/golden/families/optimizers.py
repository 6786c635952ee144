"""Families optimizers and schedules."""

import numpy as np

from .common import Family, rng

STEPS = 10
SHAPES = ((3, 4), (4,), ())
SCHEDULES = {
    "exponential": {"ExponentialDecay": {"initial_learning_rate": 0.1, "decay_steps": 4, "decay_rate": 0.5}},
    "cosine": {
        "CosineDecay": {
            "initial_learning_rate": 0.01,
            "decay_steps": 6,
            "alpha": 0.1,
            "warmup_target": 0.1,
            "warmup_steps": 3,
        }
    },
    "piecewise": {"PiecewiseConstantDecay": {"boundaries": [2, 5], "values": [0.1, 0.05, 0.01]}},
}


def optimizer_cases(f):
    base = {
        "sgd": ("SGD", {}),
        "sgd_momentum": ("SGD", {"momentum": 0.9}),
        "sgd_nesterov": ("SGD", {"momentum": 0.9, "nesterov": True}),
        "rmsprop": ("RMSprop", {}),
        "rmsprop_momentum": ("RMSprop", {"momentum": 0.9}),
        "rmsprop_centered": ("RMSprop", {"centered": True}),
        "rmsprop_momentum_centered": ("RMSprop", {"momentum": 0.5, "centered": True, "rho": 0.8, "epsilon": 1e-3}),
        "adam": ("Adam", {}),
        "adam_amsgrad": ("Adam", {"amsgrad": True}),
        "adam_betas": ("Adam", {"beta_1": 0.5, "beta_2": 0.9, "epsilon": 1e-2}),
        "adamw": ("AdamW", {}),
        "adamw_amsgrad": ("AdamW", {"amsgrad": True, "weight_decay": 0.1}),
    }
    common = {
        "clipnorm": {"clipnorm": 0.7},
        "clipvalue": {"clipvalue": 0.3},
        "global_clipnorm": {"global_clipnorm": 0.9},
        "weight_decay": {"weight_decay": 0.05},
        "accumulate_3": {"gradient_accumulation_steps": 3},
        "accumulate_3_clipnorm_decay": {"gradient_accumulation_steps": 3, "clipnorm": 0.5, "weight_decay": 0.05},
        "ema": {"use_ema": True, "ema_momentum": 0.8},
        "ema_overwrite": {"use_ema": True, "ema_momentum": 0.6, "ema_overwrite_frequency": 4},
        "ema_accumulate": {"use_ema": True, "ema_momentum": 0.7, "gradient_accumulation_steps": 3},
        "ema_overwrite_accumulate": {
            "use_ema": True,
            "ema_momentum": 0.7,
            "ema_overwrite_frequency": 2,
            "gradient_accumulation_steps": 3,
        },
        **{f"schedule_{name}": {"learning_rate": schedule} for name, schedule in SCHEDULES.items()},
        "schedule_accumulate": {"learning_rate": SCHEDULES["exponential"], "gradient_accumulation_steps": 3},
    }
    for name, (kind, parameters) in base.items():
        rate = {} if name == "adam_betas" else {"learning_rate": 0.05}
        f.add(name, optimizer={kind: {**rate, **parameters}})
    for name in ("sgd", "rmsprop", "adam", "adamw"):
        kind, parameters = base[name]
        f.add(f"{name}_defaults", optimizer=kind)
        for extra, more in common.items():
            f.add(f"{name}_{extra}", optimizer={kind: {"learning_rate": 0.05, **parameters, **more}})
    for name, extra in (
        ("sgd_nesterov", "accumulate_3"),
        ("sgd_momentum", "schedule_exponential"),
        ("rmsprop_momentum_centered", "ema_overwrite"),
        ("rmsprop_momentum_centered", "accumulate_3"),
        ("adam_amsgrad", "accumulate_3"),
        ("adam_amsgrad", "schedule_cosine"),
    ):
        kind, parameters = base[name]
        f.add(f"{name}_{extra}", optimizer={kind: {"learning_rate": 0.05, **parameters, **common[extra]}})
    f.add(
        "sgd_momentum_constraint",
        optimizer={"SGD": {"learning_rate": 0.3, "momentum": 0.9}},
        constraint={"MaxNorm": {"max_value": 0.8}},
        note="the constraint holds for the first weight",
    )
    f.add(
        "adam_ema_constraint",
        optimizer={"Adam": {"learning_rate": 0.3, "use_ema": True, "ema_momentum": 0.5}},
        constraint={"MaxNorm": {"max_value": 0.8}},
        note="the average takes the weight before the constraint",
    )
    f.add(
        "adam_accumulate_constraint",
        optimizer={"Adam": {"learning_rate": 0.3, "gradient_accumulation_steps": 3}},
        constraint={"MaxNorm": {"max_value": 0.8}},
        note="the constraint also acts at the steps that only accumulate",
    )
    f.add(
        "sgd_zero_gradients",
        optimizer={"SGD": {"learning_rate": 0.1, "global_clipnorm": 1.0, "weight_decay": 0.1}},
        gradient_scale=0.0,
    )
    f.add("adam_zero_gradients", optimizer={"Adam": {"clipnorm": 1.0}}, gradient_scale=0.0)
    f.add("adam_tiny_gradients", optimizer={"Adam": {"learning_rate": 0.1}}, gradient_scale=1e-9)
    f.add("rmsprop_tiny_gradients", optimizer={"RMSprop": {"learning_rate": 0.1}}, gradient_scale=1e-9)


def compute_optimizer(f, case):
    import dltrain_keras
    import jax
    import keras

    keras.utils.clear_session()
    name, random = case["name"], rng("optimizers")
    start = [np.asarray(0.8 * random.standard_normal(shape), np.float32) for shape in SHAPES]
    scale = case.get("gradient_scale", 1.0)
    gradients = [np.asarray(random.standard_normal((STEPS, *shape)), np.float32) for shape in SHAPES]
    for i in range(len(SHAPES)):
        if f"w{i}" not in f.arrays:  # the same for all cases
            f.put(f"w{i}", start[i])
            f.put(f"g{i}", gradients[i])
    gradients = [gradient * np.float32(scale) for gradient in gradients]
    variables = [keras.Variable(value, name=f"w{i}") for i, value in enumerate(start)]
    if "constraint" in case:
        variables[0].constraint = dltrain_keras.constraint(case["constraint"])
    optimizer = dltrain_keras.optimizer(case["optimizer"])
    optimizer.build(variables)
    step = jax.jit(optimizer.stateless_apply)
    weights, state = [v.value for v in variables], [v.value for v in optimizer.variables]
    after = [[] for _ in SHAPES]
    for t in range(STEPS):
        weights, state = step(state, [g[t] for g in gradients], weights)
        for values, weight in zip(after, weights):
            values.append(np.asarray(weight))
    for i in range(len(SHAPES)):
        f.put(f"{name}/w{i}_after", np.stack(after[i]))
    for i, value in enumerate(state):
        f.put(f"{name}/vars/{i}", np.asarray(value))
    # What fit() does at the end: with EMA the averages replace the weights.
    if optimizer.use_ema:
        for variable, weight in zip(variables, weights):
            variable.assign(weight)
        for variable, value in zip(optimizer.variables, state):
            variable.assign(value)
        optimizer.finalize_variable_values(variables)
        for i, variable in enumerate(variables):
            f.put(f"{name}/w{i}_final", np.asarray(variable.value))


def optimizers():
    f = Family("optimizers", "Optimizers: three weights, ten steps with given gradients, one after the other.")
    optimizer_cases(f)
    for case in f.cases:
        compute_optimizer(f, case)
    return f


def schedules():
    f = Family(
        "schedules",
        "Learning-rate schedules: the rate at given steps, in float32. Restarts are not met exactly (see README.md).",
    )
    common = [0, 1, 2, 3, 5, 8, 9, 10, 11, 17, 20, 25, 33, 50, 99, 1000, 123456]

    def add(name, kind, _steps=common, **parameters):
        f.add(name, schedule={kind: parameters}, _steps=_steps)

    for kind, low in (("ExponentialDecay", "exponential"), ("InverseTimeDecay", "inverse_time")):
        for staircase in (False, True):
            more = {"staircase": True} if staircase else {}
            add(
                low + ("_staircase" if staircase else ""),
                kind,
                initial_learning_rate=0.1,
                decay_steps=10,
                decay_rate=0.7,
                **more,
            )
            add(
                low + "_slow" + ("_staircase" if staircase else ""),
                kind,
                initial_learning_rate=1e-3,
                decay_steps=1000,
                decay_rate=0.96,
                **more,
            )
    add("piecewise", "PiecewiseConstantDecay", boundaries=[2, 10, 25], values=[0.1, 0.05, 0.01, 0.001])
    add("piecewise_one", "PiecewiseConstantDecay", boundaries=[5], values=[1.0, 0.5])
    add("polynomial", "PolynomialDecay", initial_learning_rate=0.1, decay_steps=20)
    add(
        "polynomial_power",
        "PolynomialDecay",
        initial_learning_rate=0.1,
        decay_steps=20,
        end_learning_rate=0.01,
        power=2.0,
    )
    add(
        "polynomial_half",
        "PolynomialDecay",
        initial_learning_rate=0.1,
        decay_steps=20,
        end_learning_rate=0.0,
        power=0.5,
    )
    add(
        "polynomial_cycle",
        "PolynomialDecay",
        initial_learning_rate=0.1,
        decay_steps=20,
        end_learning_rate=0.01,
        cycle=True,
    )
    add(
        "polynomial_cycle_power",
        "PolynomialDecay",
        initial_learning_rate=0.1,
        decay_steps=7,
        end_learning_rate=0.01,
        power=1.5,
        cycle=True,
    )
    add("cosine", "CosineDecay", initial_learning_rate=0.1, decay_steps=20)
    add("cosine_alpha", "CosineDecay", initial_learning_rate=0.1, decay_steps=20, alpha=0.2)
    add("cosine_warmup", "CosineDecay", initial_learning_rate=0.0, decay_steps=20, warmup_target=0.1, warmup_steps=8)
    add(
        "cosine_warmup_alpha",
        "CosineDecay",
        initial_learning_rate=0.02,
        decay_steps=20,
        alpha=0.1,
        warmup_target=0.3,
        warmup_steps=10,
    )
    add(
        "cosine_warmup_steps_without_target", "CosineDecay", initial_learning_rate=0.1, decay_steps=20, warmup_steps=8
    )
    restarts = [0, 1, 2, 5, 9, 11, 12, 15, 25, 29, 31, 44, 69, 71, 100]
    add("cosine_restarts", "CosineDecayRestarts", _steps=restarts, initial_learning_rate=0.1, first_decay_steps=10)
    add(
        "cosine_restarts_m_mul",
        "CosineDecayRestarts",
        _steps=restarts,
        initial_learning_rate=0.1,
        first_decay_steps=10,
        m_mul=0.8,
        alpha=0.05,
    )
    add(
        "cosine_restarts_t_mul_1",
        "CosineDecayRestarts",
        _steps=[*restarts, 10, 20, 40],
        initial_learning_rate=0.1,
        first_decay_steps=10,
        t_mul=1.0,
        m_mul=0.9,
    )
    add(
        "cosine_restarts_t_mul_1_5",
        "CosineDecayRestarts",
        _steps=[step for step in restarts if step != 25],
        initial_learning_rate=0.1,
        first_decay_steps=10,
        t_mul=1.5,
    )
    import dltrain_keras
    from keras import ops

    for case in f.cases:
        # Not compiled: XLA turns s / decay_steps into a product with the rounded reciprocal, which misses 1 at s = decay_steps.
        rate = dltrain_keras.schedule(case["schedule"])
        steps = np.array(sorted(case["_steps"]), np.int32)
        f.put(f"{case['name']}/steps", steps)
        f.put(f"{case['name']}/value", np.array([rate(ops.convert_to_tensor(step)) for step in steps], np.float32))
    return f


FAMILIES = {"optimizers": optimizers, "schedules": schedules}
