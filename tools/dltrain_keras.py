"""dltrain models in Keras: dltrain's own kinds as Keras layers, and a loader for dltrain's model files.

    import dltrain_keras
    model = dltrain_keras.load_model("runs/mnist-cnn/.../config.yaml", weights=".../last.weights.h5")
    model.predict(x)                      # a plain, compiled keras.Sequential: fit, evaluate, save as usual
    model.save("mnist-cnn.keras")         # loads again with keras.models.load_model after importing this module

    python dltrain_keras.py MODEL.yaml [WEIGHTS.weights.h5]      # print the summary and the paths of the weights

What it knows
    Every layer, loss, metric, optimizer, schedule, initializer, regularizer, constraint and callback that bears a
    Keras name is built from the Keras class of that name. dltrain's own kinds are defined below:

    PositionEmbedding   y = x + E[:T]; the weight is KerasHub's (sequence_length, D), glorot_uniform. KerasHub's class
                        returns E[:T] broadcast to x and leaves the sum to the caller; a chain has no caller, so
                        dltrain's layer adds. The file and the initial values are those of KerasHub's class.
    MultiHeadAttention  Keras' layer as self-attention: query = value = key = x. `causal` is Keras' call argument
                        `use_causal_mask`. The paths in the file are those of Keras' class.
    Residual            y = main(x) + shortcut(x); without a shortcut, y = main(x) + x.
    Parallel            branches side by side on the same x, merged by concat (last axis), add, multiply, average, maximum.
    Repeat              the same list of layers n times, each copy with its own weights.
    Reuse               an earlier layer once more, with the same weights; `reverse: true` turns a ReversibleEmbedding round.

Masks follow Keras: a container hands its mask to its first layers and takes over the mask of its last ones; Residual and
Parallel merge masks as Keras' Add and Concatenate do. One difference is meant: Keras' MultiHeadAttention.call erases the mask
of the tensor it reads, so that x + attention(x) written by hand in Keras has no mask. Here x keeps its mask.

Weight files
    A dltrain checkpoint is a Keras `.weights.h5` file; what dltrain adds lies under /dltrain, which Keras ignores. The
    attributes `main`, `shortcut`, `branches` and `blocks` of the classes below are what makes the paths in the file
    (residual/main/layers/dense/vars/0, ...): renaming one breaks every stored file.

Needs Keras >= 3.13 (ReversibleEmbedding) and PyYAML. Written for 3.15.1, and run on its JAX and TensorFlow backends.
"""

import math
import os
import re
import sys

import keras
import yaml
from keras import ops
from keras.src import backend
from keras.src.saving import saving_lib
from keras.src.saving.keras_saveable import KerasSaveable
from keras.src.utils.naming import to_snake_case

PACKAGE = "dltrain"  # prefix of the registered names in .keras files


class ModelError(ValueError):
    """The model file says something that cannot be built; the text says where and what."""


# ----------------------------------------------------------------------------------------------------------------------
# dltrain's own kinds
# ----------------------------------------------------------------------------------------------------------------------


def _chain(layers, name):
    """A nested Sequential. An empty list passes its input on (Keras cannot build a Sequential without layers).

    The layers inside have set the mask of the result; Keras does not know that of a Sequential and warns about a lost mask.
    """
    chain = keras.Sequential(list(layers) or [keras.layers.Identity()], name=name)
    chain.compute_mask = lambda inputs, mask=None: None
    chain.supports_masking = True
    return chain


def _either_mask(masks):
    """Add, Multiply, Average, Maximum in Keras: no mask if one input has none, else a step counts if it counts anywhere."""
    if any(m is None for m in masks):
        return None
    out = masks[0]
    for m in masks[1:]:
        out = ops.logical_or(out, m)
    return out


def _concat_mask(tensors, masks):
    """Concatenate in Keras: as above, but an input without mask counts as valid everywhere unless no input has one."""
    if all(m is None for m in masks):
        return None
    full = []
    for x, m in zip(tensors, masks):
        if m is None:
            full.append(ops.ones_like(x, dtype="bool"))
        elif len(m.shape) < len(x.shape):
            full.append(ops.logical_or(ops.expand_dims(m, -1), ops.zeros_like(x, dtype="bool")))
        else:
            full.append(m)
    return ops.any(ops.concatenate(full, axis=-1), axis=-1)


class _Container(keras.layers.Layer):
    """Base of the containers. Masks are set in call(), so compute_mask() has nothing left to add and must not pass x's on."""

    def compute_mask(self, inputs, mask=None):
        return None

    @staticmethod
    def _serialize_list(layers):
        return [keras.saving.serialize_keras_object(layer) for layer in layers]

    @staticmethod
    def _deserialize_list(configs):
        return [keras.saving.deserialize_keras_object(config) for config in configs]


@keras.saving.register_keras_serializable(package=PACKAGE)
class Residual(_Container):
    """main(x) + shortcut(x), or main(x) + x without a shortcut; both must have the same shape.

    File: residual/main/layers/..., residual/shortcut/layers/...
    """

    def __init__(self, layers, shortcut=None, **kwargs):
        super().__init__(**kwargs)
        self.main = _chain(layers, "main")
        self.shortcut = None if shortcut is None else _chain(shortcut, "shortcut")

    def build(self, input_shape):
        self.main.build(input_shape)
        if self.shortcut is not None:
            self.shortcut.build(input_shape)
        self.compute_output_shape(input_shape)

    def compute_output_shape(self, input_shape):
        main = tuple(self.main.compute_output_shape(input_shape))
        side = tuple(self.shortcut.compute_output_shape(input_shape) if self.shortcut else input_shape)
        if main != side:
            raise ModelError(f"Residual '{self.name}': the layers give {main}, the shortcut gives {side}")
        return main

    def call(self, inputs, training=None):
        main = self.main(inputs, training=training)
        side = inputs if self.shortcut is None else self.shortcut(inputs, training=training)
        mask = _either_mask([backend.get_keras_mask(main), backend.get_keras_mask(side)])
        y = ops.add(main, side)
        if mask is not None:
            backend.set_keras_mask(y, mask)
        return y

    def get_config(self):
        shortcut = None if self.shortcut is None else self._serialize_list(self.shortcut.layers)
        return {**super().get_config(), "layers": self._serialize_list(self.main.layers), "shortcut": shortcut}

    @classmethod
    def from_config(cls, config):
        config = dict(config)
        config["layers"] = cls._deserialize_list(config["layers"])
        if config["shortcut"] is not None:
            config["shortcut"] = cls._deserialize_list(config["shortcut"])
        return cls(**config)


@keras.saving.register_keras_serializable(package=PACKAGE)
class Parallel(_Container):
    """The branches, each a list of layers, on the same input; merged. An empty branch hands the input on.

    File: parallel/branches/sequential[_k]/layers/...
    """

    MERGES = ("concat", "add", "multiply", "average", "maximum")

    def __init__(self, branches, merge="concat", **kwargs):
        super().__init__(**kwargs)
        if merge not in self.MERGES:
            raise ModelError(f"Parallel: merge must be one of {', '.join(self.MERGES)}, got '{merge}'")
        if not branches:
            raise ModelError("Parallel: branches must hold at least one list of layers")
        self.branches = [_chain(branch, f"branch_{i}") for i, branch in enumerate(branches)]
        self.merge = merge

    def build(self, input_shape):
        for branch in self.branches:
            branch.build(input_shape)
        self.compute_output_shape(input_shape)

    def compute_output_shape(self, input_shape):
        shapes = [tuple(branch.compute_output_shape(input_shape)) for branch in self.branches]
        if self.merge == "concat":
            if any(shape[:-1] != shapes[0][:-1] for shape in shapes):
                raise ModelError(
                    f"Parallel '{self.name}': concat needs equal shapes but for the last axis, got {shapes}"
                )
            return shapes[0][:-1] + (sum(shape[-1] for shape in shapes),)
        if any(shape != shapes[0] for shape in shapes):
            raise ModelError(f"Parallel '{self.name}': {self.merge} needs equal shapes, got {shapes}")
        return shapes[0]

    def call(self, inputs, training=None):
        parts = [branch(inputs, training=training) for branch in self.branches]
        masks = [backend.get_keras_mask(part) for part in parts]
        if self.merge == "concat":
            y = ops.concatenate(parts, axis=-1)
            mask = _concat_mask(parts, masks)
        else:
            mask = _either_mask(masks)
            join = {"multiply": ops.multiply, "maximum": ops.maximum}.get(self.merge, ops.add)
            y = parts[0]
            for part in parts[1:]:
                y = join(y, part)
            if self.merge == "average":
                y = y / len(parts)
        if mask is not None:
            backend.set_keras_mask(y, mask)
        return y

    def get_config(self):
        branches = [self._serialize_list(branch.layers) for branch in self.branches]
        return {**super().get_config(), "branches": branches, "merge": self.merge}

    @classmethod
    def from_config(cls, config):
        config = dict(config)
        config["branches"] = [cls._deserialize_list(branch) for branch in config["branches"]]
        return cls(**config)


@keras.saving.register_keras_serializable(package=PACKAGE)
class Repeat(_Container):
    """One list of layers after the other; `blocks` holds one list for each copy (the model file says `times` and one list).

    File: repeat/blocks/sequential[_k]/layers/...
    """

    def __init__(self, blocks, **kwargs):
        super().__init__(**kwargs)
        if not blocks:
            raise ModelError("Repeat: times must be at least 1")
        self.blocks = [_chain(block, f"block_{i}") for i, block in enumerate(blocks)]

    def build(self, input_shape):
        for block in self.blocks:
            block.build(input_shape)
            input_shape = block.compute_output_shape(input_shape)

    def compute_output_shape(self, input_shape):
        for block in self.blocks:
            input_shape = block.compute_output_shape(input_shape)
        return tuple(input_shape)

    def call(self, inputs, training=None):
        x = inputs
        for block in self.blocks:
            x = block(x, training=training)
        return x

    def get_config(self):
        return {**super().get_config(), "blocks": [self._serialize_list(block.layers) for block in self.blocks]}

    @classmethod
    def from_config(cls, config):
        config = dict(config)
        config["blocks"] = [cls._deserialize_list(block) for block in config["blocks"]]
        return cls(**config)


class _Borrowed:
    """Holds a layer where neither Keras' tracking of sublayers nor its walk over saved objects looks."""

    def __init__(self, layer):
        self.layer = layer


@keras.saving.register_keras_serializable(package=PACKAGE)
class Reuse(_Container):
    """Calls a layer that stands earlier in the model once more. Owns nothing and writes nothing into the file.

    reverse  with a ReversibleEmbedding: project back to the vocabulary (tied output logits).
    """

    def __init__(self, layer, reverse=False, **kwargs):
        super().__init__(**kwargs)
        if reverse and not isinstance(layer, keras.layers.ReversibleEmbedding):
            raise ModelError(
                f"Reuse: reverse needs a ReversibleEmbedding, but '{layer.name}' is a {type(layer).__name__}"
            )
        self._borrowed = _Borrowed(layer)
        self.reverse = reverse

    def _options(self):
        return {"reverse": True} if self.reverse else {}

    def compute_output_shape(self, input_shape):
        return tuple(self._borrowed.layer.compute_output_shape(input_shape, **self._options()))

    def call(self, inputs, training=None):
        options = self._options()
        if self._borrowed.layer._call_has_training_arg:
            options["training"] = training
        return self._borrowed.layer(inputs, **options)

    def get_config(self):
        # Inside model.save() Keras gives the layer the id under which it was written before, so loading finds the same object.
        layer = keras.saving.serialize_keras_object(self._borrowed.layer)
        return {**super().get_config(), "layer": layer, "reverse": self.reverse}

    @classmethod
    def from_config(cls, config):
        config = dict(config)
        config["layer"] = keras.saving.deserialize_keras_object(config["layer"])
        return cls(**config)


@keras.saving.register_keras_serializable(package=PACKAGE)
class PositionEmbedding(keras.layers.Layer):
    """x + E[:T] for x (..., T, D); E (sequence_length, D) is learned, T <= sequence_length. Masks pass.

    File: position_embedding/vars/0, as KerasHub's class, which returns E[:T] alone.
    """

    def __init__(self, sequence_length, initializer="glorot_uniform", **kwargs):
        super().__init__(**kwargs)
        self.sequence_length = int(sequence_length)
        self.initializer = keras.initializers.get(initializer)
        self.supports_masking = True

    def build(self, input_shape):
        if len(input_shape) < 3 or (input_shape[-2] or 0) > self.sequence_length:
            raise ModelError(
                f"PositionEmbedding '{self.name}' needs (..., T, D) with T <= {self.sequence_length}, got {input_shape}"
            )
        self.position_embeddings = self.add_weight(
            name="embeddings", shape=(self.sequence_length, input_shape[-1]), initializer=self.initializer
        )

    def compute_output_shape(self, input_shape):
        return tuple(input_shape)

    def call(self, inputs):
        shape = ops.shape(inputs)
        table = ops.convert_to_tensor(self.position_embeddings)
        return ops.add(inputs, ops.slice(table, (0, 0), (shape[-2], shape[-1])))

    def get_config(self):
        initializer = keras.initializers.serialize(self.initializer)
        return {**super().get_config(), "sequence_length": self.sequence_length, "initializer": initializer}


@keras.saving.register_keras_serializable(package=PACKAGE)
class MultiHeadAttention(keras.layers.MultiHeadAttention):
    """Keras' MultiHeadAttention as self-attention. The mask of x (B, T) serves as query and as value mask, and passes on.

    causal  a step sees itself and earlier steps only (Keras' call argument use_causal_mask).
    """

    def __init__(self, num_heads, key_dim, causal=False, **kwargs):
        super().__init__(num_heads, key_dim, **kwargs)
        self.causal = causal
        if self._value_dim != self._key_dim:
            self._compute_attention = self._attention_of_unequal_widths

    def _attention_of_unequal_widths(self, query, key, value, *args, **kwargs):
        """Pads the heads to one width: up to 3.15.1 Keras on JAX fails when value_dim differs from key_dim.

        The zeros add nothing to the scores, whose scale is fixed by key_dim, and the padded part of the result is cut off.
        """
        width = max(self._key_dim, self._value_dim)
        padded = [ops.pad(x, [[0, 0]] * (len(x.shape) - 1) + [[0, width - x.shape[-1]]]) for x in (query, key, value)]
        y, scores = super()._compute_attention(*padded, *args, **kwargs)
        return y[..., : self._value_dim], scores

    def build(self, input_shape):
        super().build(input_shape, input_shape)

    def compute_output_shape(self, input_shape):
        return tuple(super().compute_output_shape(input_shape, input_shape))

    def compute_output_spec(self, inputs, mask=None, training=None):
        return keras.KerasTensor(self.compute_output_shape(inputs.shape), dtype=self.compute_dtype)

    def call(self, inputs, mask=None, training=None):
        y = super().call(
            inputs, inputs, query_mask=mask, value_mask=mask, training=training, use_causal_mask=self.causal
        )
        if mask is not None:  # super().call() took the mask off its inputs, which may be needed elsewhere
            backend.set_keras_mask(inputs, mask)
            backend.set_keras_mask(y, mask)
        return y

    def get_config(self):
        return {**super().get_config(), "causal": self.causal}


@keras.saving.register_keras_serializable(package=PACKAGE)
class ParameterizedActivation:
    """An activation function of Keras with parameters: `activation: {leaky_relu: {negative_slope: 0.1}}`."""

    def __init__(self, function, parameters):
        self.function = function
        self.parameters = dict(parameters)
        self.__name__ = function

    def __call__(self, x):
        return keras.activations.get(self.function)(x, **self.parameters)

    def get_config(self):
        return {"function": self.function, "parameters": self.parameters}

    @classmethod
    def from_config(cls, config):
        return cls(**config)


# ----------------------------------------------------------------------------------------------------------------------
# Reading dltrain's YAML
# ----------------------------------------------------------------------------------------------------------------------


class _Loader(yaml.SafeLoader):
    """YAML with dltrain's scalars: true/false are the only booleans, 1e-3 is a number, a key may stand once."""

    yaml_implicit_resolvers = {}

    def construct_mapping(self, node, deep=False):
        seen = set()
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)
            if key in seen:
                mark = key_node.start_mark
                raise ModelError(f"{mark.line + 1}:{mark.column + 1}: the key '{key}' stands twice")
            seen.add(key)
        return super().construct_mapping(node, deep)


def _resolve(tag, pattern, first):
    _Loader.add_implicit_resolver("tag:yaml.org,2002:" + tag, re.compile(pattern), first)


_resolve("null", r"^(?:null|~|)$", ["n", "~", ""])
_resolve("bool", r"^(?:true|false)$", list("tf"))
_resolve("int", r"^[-+]?[0-9]+$", list("-+0123456789"))
_resolve("float", r"^[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?$", list("-+.0123456789"))
_resolve("float", r"^(?:[-+]?\.inf|\.nan)$", list("-+."))
_Loader.add_constructor("tag:yaml.org,2002:float", lambda loader, node: float(_plain_float(node.value)))
_Loader.add_constructor("tag:yaml.org,2002:int", lambda loader, node: int(node.value))


def _plain_float(text):
    return text.replace(".inf", "inf").replace(".nan", "nan")


def parse(source):
    """The content of a dltrain YAML file, given by path or as text."""
    text = source
    if isinstance(source, os.PathLike) or (isinstance(source, str) and "\n" not in source and os.path.exists(source)):
        with open(source, encoding="utf-8") as file:
            text = file.read()
    return yaml.load(text, Loader=_Loader)


_RATIO = re.compile(r"^\s*([-+]?[0-9.]+)\s*/\s*([0-9.]+)\s*$")


def _number(value):
    """1/255 is a number in dltrain; lists of them too."""
    if isinstance(value, list):
        return [_number(item) for item in value]
    match = _RATIO.match(value) if isinstance(value, str) else None
    return float(match[1]) / float(match[2]) if match else value


def kind_of(item):
    """'Flatten' and {Dense: {units: 3}} -> (kind, params)."""
    if isinstance(item, str):
        return item, {}
    if isinstance(item, dict) and len(item) == 1:
        kind, params = next(iter(item.items()))
        if params is None or isinstance(params, dict):
            return kind, dict(params or {})
    raise ModelError(f"expected `Kind` or `Kind: {{params}}`, got {item!r}")


def _find_class(module, kind, base):
    wanted = kind.replace("_", "").lower()
    for name in dir(module):
        found = getattr(module, name)
        if name.lower() == wanted and isinstance(found, type) and issubclass(found, base):
            return found
    return None


def _class(module, kind, base):
    """The class of a Keras module by class name or string identifier (MeanSquaredError, mean_squared_error, mse)."""
    short = {
        "mse": "MeanSquaredError",
        "mae": "MeanAbsoluteError",
        "bce": "BinaryCrossentropy",
        "mape": "MeanAbsolutePercentageError",
        "msle": "MeanSquaredLogarithmicError",
        "kld": "KLDivergence",
    }
    found = _find_class(module, short.get(kind.lower(), kind), base)
    if found is not None:
        return found
    raise ModelError(f"there is no {base.__name__.lower()} '{kind}' in Keras")


def activation(item):
    if not isinstance(item, dict):
        return keras.activations.get(item)
    name, params = kind_of(item)
    keras.activations.get(name)
    return ParameterizedActivation(name, {key: _number(value) for key, value in params.items()})


def _object(module, base):
    def make(item):
        if item is None:
            return None
        if isinstance(item, str) and hasattr(module, "get"):
            return module.get(item)  # knows short names, such as uniform
        kind, params = kind_of(item)
        params = {key: _number(value) for key, value in params.items()}
        if hasattr(module, "get") and kind.islower() and _find_class(module, kind, base) is None:
            return module.get({"class_name": kind, "config": params})  # {uniform: {...}}, as a run's config.yaml writes it
        return _class(module, kind, base)(**params)

    return make


initializer = _object(keras.initializers, keras.initializers.Initializer)
regularizer = _object(keras.regularizers, keras.regularizers.Regularizer)
constraint = _object(keras.constraints, keras.constraints.Constraint)
schedule = _object(keras.optimizers.schedules, keras.optimizers.schedules.LearningRateSchedule)


def optimizer(item):
    kind, params = kind_of(item)
    params = {key: _number(value) for key, value in params.items()}
    if isinstance(params.get("momentum"), int):  # 0, as effective configs write it; Keras insists on 0.0
        params["momentum"] = float(params["momentum"])
    if isinstance(params.get("learning_rate"), dict):
        params["learning_rate"] = schedule(params["learning_rate"])
    return _class(keras.optimizers, kind, keras.optimizers.Optimizer)(**params)


def loss(item):
    """A string stays a string, as in Keras; the alias `crossentropy` is resolved by compile()."""
    if isinstance(item, str):
        return item
    kind, params = kind_of(item)
    return _class(keras.losses, kind, keras.losses.Loss)(**{key: _number(value) for key, value in params.items()})


def metric(item):
    """A string stays a string (and is the metric's name in the logs, as in Keras)."""
    if isinstance(item, str):
        return item
    kind, params = kind_of(item)
    return _class(keras.metrics, kind, keras.metrics.Metric)(**{key: _number(value) for key, value in params.items()})


def callback(item):
    """A Keras callback. LearningRateScheduler takes a schedule kind, evaluated at the epoch (from 0) in place of the step."""
    kind, params = kind_of(item)
    params = {key: _number(value) for key, value in params.items()}
    if kind == "LearningRateScheduler":
        rate = schedule(params.pop("schedule"))
        params["schedule"] = lambda epoch, lr: float(keras.ops.convert_to_numpy(rate(epoch)))
    return _class(keras.callbacks, kind, keras.callbacks.Callback)(**params)


# ----------------------------------------------------------------------------------------------------------------------
# Layers
# ----------------------------------------------------------------------------------------------------------------------

# Never built from a file: they run foreign code, or make no sense in a chain.
_REFUSED = {
    "Lambda",
    "JaxLayer",
    "FlaxLayer",
    "TorchModuleWrapper",
    "TFSMLayer",
    "Layer",
    "Wrapper",
    "InputLayer",
    "Input",
}
_OWN = {"PositionEmbedding": PositionEmbedding, "MultiHeadAttention": MultiHeadAttention}


def _convert(params):
    """Turns the YAML values of a Keras layer's parameters into what its constructor takes."""
    out = {}
    for key, value in params.items():
        if key.endswith("initializer"):
            out[key] = initializer(value)
        elif key.endswith("regularizer"):
            out[key] = regularizer(value)
        elif key.endswith("constraint"):
            out[key] = constraint(value)
        elif key.endswith("activation"):
            out[key] = activation(value)
        elif key in ("layer", "backward_layer"):
            out[key] = None if value is None else _layer(value, None, [])
        else:
            out[key] = _number(value)
    return out


def _layer(item, name, scope):
    """One layer. `scope` is the chain of {name: layer}, innermost last, in which Reuse looks."""
    kind, params = kind_of(item)
    trainable = params.pop("trainable", True)
    layer = _make(kind, params, name, scope)
    if not trainable:
        layer.trainable = False  # not by the constructor: this reaches the layers inside
    return layer


def _make(kind, params, name, scope):
    common = {"dtype": params.pop("dtype")} if "dtype" in params else {}
    name = str(params.pop("name")) if "name" in params else name
    if name is not None:
        common["name"] = name

    def take(key, *default):
        if key not in params and not default:
            raise ModelError(f"{kind} '{name}': '{key}' is missing")
        return params.pop(key, *default)

    def finish(layer):
        if params:
            raise ModelError(f"{kind} '{name}': unknown key '{next(iter(params))}'")
        return layer

    if kind == "Sequential":
        return finish(_chain(_layers(take("layers"), scope), name))
    if kind == "Residual":
        shortcut = take("shortcut", None)
        main = _layers(take("layers"), scope)
        return finish(Residual(main, None if shortcut is None else _layers(shortcut, scope), **common))
    if kind == "Parallel":
        branches = [_layers(branch, scope) for branch in take("branches")]
        return finish(Parallel(branches, merge=take("merge", "concat"), **common))
    if kind == "Repeat":
        items = take("layers")
        return finish(Repeat([_layers(items, scope) for _ in range(take("times"))], **common))
    if kind == "Reuse":
        wanted = str(take("layer"))
        for names in reversed(scope):
            if wanted in names:
                return finish(Reuse(names[wanted], reverse=take("reverse", False), **common))
        raise ModelError(f"Reuse '{name}': there is no earlier layer '{wanted}'")
    if kind in _REFUSED:
        raise ModelError(f"the kind '{kind}' is not available in model files")
    cls = _OWN.get(kind) or getattr(keras.layers, kind, None)
    if not (isinstance(cls, type) and issubclass(cls, keras.layers.Layer)):
        raise ModelError(f"there is no layer kind '{kind}'")
    try:
        return cls(**_convert(params), **common)
    except (TypeError, ValueError) as error:
        raise ModelError(f"{kind} '{name}': {error}") from error


def _group(kind):
    """The key of a layer in the weights file, which follows the class: max_pooling2d for MaxPool2D too."""
    cls = _OWN.get(kind) or getattr(keras.layers, kind, None)
    return to_snake_case(cls.__name__ if isinstance(cls, type) else kind)


def _layers(items, scope):
    """A list of layers. Unnamed ones are called as their group in the weights file: dense, dense_1, flatten, ..."""
    taken = {str(params["name"]) for _, params in map(kind_of, items) if "name" in params}
    count, made, names = {}, [], {}
    for item in items:
        kind, params = kind_of(item)
        key = _group(kind)
        number = count[key] = count.get(key, -1) + 1
        name = key if number == 0 else f"{key}_{number}"
        while "name" not in params and name in taken:
            name += "_"
        layer = _layer(item, name, scope + [names])
        names[layer.name] = layer
        made.append(layer)
    return made


def _first_kind(items):
    """The kind that meets the input: what decides whether it is tokens or numbers."""
    while items:
        kind, params = kind_of(items[0])
        inner = params.get("layers") or (params.get("branches") or [None])[0]
        if not inner:
            return kind
        items = inner
    return None


def build(layers, input_shape=None, input_dtype=None, name=None, batch_size=None):
    """A built keras.Sequential from the `layers` list of a model file.

    input_shape  without the batch axis; needed unless the list starts with Input
    input_dtype  default: Input's, else int32 before an Embedding and float32 before anything else

    FeatureSpace at the start has no weights and works on text: it is left out, and the model takes the encoded vectors.
    """
    items = list(layers)
    if items and kind_of(items[0])[0] == "Input":
        params = kind_of(items.pop(0))[1]
        input_shape = params.get("shape", input_shape)
        if params.get("dtype", "auto") != "auto":
            input_dtype = params["dtype"]
    if items and kind_of(items[0])[0] == "FeatureSpace":
        if input_shape is None:
            raise ModelError(
                "FeatureSpace turns table rows into vectors: dltrain does that; pass their width as input_shape"
            )
        items.pop(0)
    if input_shape is None:
        raise ModelError("the shape of the input is not known: start the layers with Input, or pass input_shape")
    if input_dtype is None:
        input_dtype = "int32" if _first_kind(items) in ("Embedding", "ReversibleEmbedding") else "float32"
    first = keras.Input(shape=tuple(input_shape), batch_size=batch_size, dtype=input_dtype, name="input")
    model = keras.Sequential([first, *_layers(items, [])], name=name)
    if not model.built:
        raise ModelError("the model could not be built")
    return model


def compile_model(model, document):
    """Compiles with the optimizer, loss and metrics of a model file, and creates the optimizer's variables."""
    model.compile(
        optimizer=optimizer(document.get("optimizer", "rmsprop")),
        loss=loss(document["loss"]),
        metrics=[metric(item) for item in document.get("metrics", [])] or None,
        weighted_metrics=[metric(item) for item in document.get("weighted_metrics", [])] or None,
    )
    model.optimizer.build(model.trainable_variables)
    return model


def load_model(source, weights=None, input_shape=None, input_dtype=None, compile=True):
    """A keras.Model from a dltrain model file.

    source   path or text of the YAML; one that stands alone, as the config.yaml of a run (no include, no ${...})
    weights  a dltrain checkpoint or any Keras .weights.h5 of the same model
    compile  compile the model if the file names a loss, so that the optimizer's state is loaded too
    """
    document = parse(source)
    if not isinstance(document, dict) or "layers" not in document:
        raise ModelError("not a dltrain model: the key 'layers' is missing")
    if "include" in document or "${" in repr(document):
        raise ModelError("include and ${...} are resolved by dltrain: load the config.yaml of a run")
    policy = keras.config.dtype_policy()
    keras.config.set_dtype_policy(document.get("precision", policy))
    try:
        model = build(document["layers"], input_shape, input_dtype, name=document.get("name"))
    finally:
        keras.config.set_dtype_policy(policy)
    if compile and "loss" in document:
        compile_model(model, document)
    if weights is not None:
        load_weights(model, weights)
    return model


def load_weights(model, path):
    """Loads a dltrain checkpoint into a built model: the weights, and the optimizer's state if the model is compiled."""
    model.load_weights(path)
    return model


def weight_paths(model):
    """{path in the .weights.h5 file: variable} of all weights, in the order in which Keras writes them.

    The walk is Keras' own (keras/src/saving/saving_lib.py); only the storing is left out.
    """
    found, visited = {}, set()

    def visit(saveable, path):
        if id(saveable) in visited:
            return
        visited.add(id(saveable))
        if isinstance(saveable, keras.layers.Layer) and not isinstance(saveable, keras.metrics.Metric):
            own = {}
            saveable.save_own_variables(own)
            for index, variable in own.items():
                found["/".join([*path, "vars", index])] = variable
        elif not isinstance(saveable, keras.layers.Layer):
            return  # optimizers, metrics, losses
        for name, child in saving_lib._walk_saveable(saveable):
            if isinstance(child, KerasSaveable):
                visit(child, [*path, name])
            elif isinstance(child, (list, dict, tuple)):
                visit_list(child, [*path, name])

    def visit_list(container, path):
        used = {}
        for child in container.values() if isinstance(container, dict) else container:
            if isinstance(child, KerasSaveable):
                key = to_snake_case(type(child).__name__)
                visit(child, [*path, saving_lib._get_unique_name(key, used)])

    visit(model, [])
    return found


def main(arguments):
    if not 1 <= len(arguments) <= 2:
        print("usage: dltrain_keras.py MODEL.yaml [WEIGHTS.weights.h5]", file=sys.stderr)
        return 2
    model = load_model(arguments[0], *arguments[1:])
    model.summary()
    for path, variable in weight_paths(model).items():
        print(f"{path}  {tuple(variable.shape)}  {math.prod(variable.shape)}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
