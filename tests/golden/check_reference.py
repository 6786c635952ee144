"""Checks the golden vectors against a second implementation: plain NumPy in float64, written from the formulas, without Keras.

    python check_reference.py [family ...]

Forward results are compared directly, gradients by central differences of the float64 functions along random directions. What
disagrees is either a mistake in the vectors or a formula that Keras does not follow; README.md lists the latter. Needs NumPy,
SciPy (erf) and PyYAML.
"""

import os
import re
import sys

import numpy as np
import yaml
from scipy.special import erf

GOLDEN = os.path.dirname(os.path.abspath(__file__))
EPS = 1e-7
RTOL, ATOL = 1e-5, 1e-6


class Loader(yaml.SafeLoader):
    """YAML 1.2 numbers: 1e-05 is one."""


Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"^[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)$"),
    list("-+.0123456789"),
)


def load(family):
    with open(os.path.join(GOLDEN, family + ".yaml"), encoding="utf-8") as file:
        return yaml.load(file, Loader=Loader), np.load(os.path.join(GOLDEN, family + ".npz"))


def close(got, want, rtol=RTOL, atol=ATOL):
    got, want = np.asarray(got, np.float64), np.asarray(want, np.float64)
    if got.shape != want.shape:
        return f"shape {got.shape}, stored {want.shape}"
    if got.size == 0:
        return None
    scale = max(1.0, np.max(abs(want))) if want.size else 1.0
    worst = np.max(abs(got - want) - rtol * abs(want))
    return (
        None
        if worst <= atol * scale
        else f"off by {np.max(abs(got - want)):.3g} (largest value {np.max(abs(want)):.3g})"
    )


def item(value):
    if isinstance(value, str):
        return value, {}
    kind, params = next(iter(value.items()))
    return kind, dict(params or {})


def number(value):
    if isinstance(value, str) and "/" in value:
        top, bottom = value.split("/")
        return float(top) / float(bottom)
    return np.asarray(value, np.float64) if isinstance(value, list) else value


def snake(name):
    name = re.sub("(.)([A-Z][a-z]+)", r"\1_\2", re.sub(r"\W+", "", name))
    return re.sub("([a-z])([A-Z])", r"\1_\2", name).lower()


# ---- activations -----------------------------------------------------------------------------------------------------


def sigmoid(x):
    return np.where(x >= 0, 1 / (1 + np.exp(-abs(x))), np.exp(-abs(x)) / (1 + np.exp(-abs(x))))


def softplus(x):
    return np.maximum(x, 0) + np.log1p(np.exp(-abs(x)))


def softmax(x, axis=-1):
    e = np.exp(x - x.max(axis, keepdims=True))
    return e / e.sum(axis, keepdims=True)


def log_softmax(x, axis=-1):
    z = x - x.max(axis, keepdims=True)
    return z - np.log(np.exp(z).sum(axis, keepdims=True))


def relu(x, negative_slope=0.0, max_value=None, threshold=0.0):
    y = np.where(x > threshold, x, negative_slope * (x - threshold))
    return y if max_value is None else np.minimum(y, max_value)


def elu(x, alpha=1.0):
    return np.where(x > 0, x, alpha * np.expm1(np.minimum(x, 0)))


def gelu(x, approximate=False):
    if approximate:
        return 0.5 * x * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3)))
    return 0.5 * x * (1 + erf(x / np.sqrt(2)))


def glu(x, axis=-1):
    a, b = np.split(x, 2, axis)
    return a * sigmoid(b)


def sparsemax(x, axis=-1):
    """As Keras 3.15.1 has it. The projection on the simplex would add up the values of the support, not their running sums."""
    z = np.moveaxis(x, axis, -1)
    s = -np.sort(-z, -1)
    k, sums = np.arange(1, z.shape[-1] + 1), np.cumsum(s, -1)
    support = 1 + k * s > sums
    tau = (np.where(support, sums, 0).sum(-1, keepdims=True) - 1) / support.sum(-1, keepdims=True)
    return np.moveaxis(np.maximum(z - tau, 0), -1, axis)


def hard_sigmoid(x):
    return np.clip(x / 6 + 0.5, 0, 1)


ACTIVATIONS = {
    "linear": lambda x: x,
    "relu": relu,
    "relu6": lambda x: np.clip(x, 0, 6),
    "leaky_relu": lambda x, negative_slope=0.2: np.where(x >= 0, x, negative_slope * x),
    "elu": elu,
    "selu": lambda x: 1.0507009873554805 * elu(x, 1.6732632423543772),
    "celu": lambda x, alpha=1.0: np.maximum(x, 0) + alpha * np.expm1(np.minimum(x, 0) / alpha),
    "gelu": gelu,
    "glu": glu,
    "silu": lambda x: x * sigmoid(x),
    "swish": lambda x: x * sigmoid(x),
    "hard_silu": lambda x: x * hard_sigmoid(x),
    "hard_swish": lambda x: x * hard_sigmoid(x),
    "sigmoid": sigmoid,
    "hard_sigmoid": hard_sigmoid,
    "log_sigmoid": lambda x: -softplus(-x),
    "sparse_sigmoid": lambda x: np.clip(0.5 * (x + 1), 0, 1),
    "tanh": np.tanh,
    "tanh_shrink": lambda x: x - np.tanh(x),
    "hard_tanh": lambda x: np.clip(x, -1, 1),
    "hard_shrink": lambda x, threshold=0.5: np.where(abs(x) > threshold, x, 0),
    "soft_shrink": lambda x, threshold=0.5: np.sign(x) * np.maximum(abs(x) - threshold, 0),
    "threshold": lambda x, threshold, default_value: np.where(x > threshold, x, default_value),
    "softplus": softplus,
    "softsign": lambda x: x / (1 + abs(x)),
    "squareplus": lambda x, b=4: (x + np.sqrt(x * x + b)) / 2,
    "sparse_plus": lambda x: np.where(x <= -1, 0, np.where(x < 1, (x + 1) ** 2 / 4, x)),
    "mish": lambda x: x * np.tanh(softplus(x)),
    "exponential": np.exp,
    "softmax": softmax,
    "log_softmax": log_softmax,
    "sparsemax": sparsemax,
}


def activate(what, x):
    if what is None:
        return x
    name, params = item(what)
    return ACTIVATIONS[name](x, **params)


# ---- regularizers and constraints ------------------------------------------------------------------------------------


def penalty(what, w):
    kind, p = item(what)
    kind = kind.lower().replace("_", "")
    if kind == "l1":
        return p.get("l1", 0.01) * abs(w).sum()
    if kind == "l2":
        return p.get("l2", 0.01) * (w * w).sum()
    if kind == "l1l2":
        return p.get("l1", 0.0) * abs(w).sum() + p.get("l2", 0.0) * (w * w).sum()
    if kind == "orthogonalregularizer":
        x = w if p.get("mode", "rows") == "rows" else w.T
        x = x / np.sqrt((x * x).sum(1, keepdims=True))
        g = x @ x.T
        n = len(x)
        return p.get("factor", 0.01) * 0.5 * (abs(g).sum() - abs(np.diag(g)).sum()) / (n * (n - 1) / 2)
    raise KeyError(kind)


def constrain(what, w):
    kind, p = item(what)
    kind = kind.lower().replace("_", "")
    if kind == "nonneg":
        return np.maximum(w, 0)
    axis = p.get("axis", 0)
    n = np.sqrt((w * w).sum(tuple(axis) if isinstance(axis, list) else axis, keepdims=True))
    if kind == "maxnorm":
        return w * np.clip(n, 0, p.get("max_value", 2)) / (EPS + n)
    if kind == "unitnorm":
        return w / (EPS + n)
    low, high, rate = p.get("min_value", 0.0), p.get("max_value", 1.0), p.get("rate", 1.0)
    return w * (rate * np.clip(n, low, high) + (1 - rate) * n) / (EPS + n)


# ---- layers ----------------------------------------------------------------------------------------------------------

# kind -> [(option prefix, path of the variable below the layer)]
WEIGHTS = {
    "Dense": [("kernel", "vars/0"), ("bias", "vars/1")],
    "Conv2D": [("kernel", "vars/0"), ("bias", "vars/1")],
    "BatchNormalization": [("gamma", "vars/0"), ("beta", "vars/1")],
    "LayerNormalization": [("gamma", "vars/0"), ("beta", "vars/1")],
    "Embedding": [("embeddings", "vars/0")],
    "ReversibleEmbedding": [("embeddings", "vars/0")],
    "LSTM": [("kernel", "cell/vars/0"), ("recurrent", "cell/vars/1"), ("bias", "cell/vars/2")],
    "GRU": [("kernel", "cell/vars/0"), ("recurrent", "cell/vars/1"), ("bias", "cell/vars/2")],
    "MultiHeadAttention": [
        (what, f"{part}_dense/vars/{i}")
        for part in ("query", "key", "value", "output")
        for i, what in enumerate(("kernel", "bias"))
    ],
}


def sample(x, transform, size, interpolation, fill_mode, fill_value=0.0):
    """Images (N, H, W, C) at affinely transformed places. What lies outside is laid around the image first."""
    modes = {"constant": "constant", "nearest": "edge", "reflect": "symmetric", "wrap": "wrap"}
    values = {"constant_values": fill_value} if fill_mode == "constant" else {}
    rows, columns = np.mgrid[: size[0], : size[1]].astype(np.float64)
    out = np.zeros((len(x), *size, x.shape[3]))
    for n, image in enumerate(x):
        a0, a1, a2, b0, b1, b2 = transform[n % len(transform)]
        right, down = a0 * columns + a1 * rows + a2, b0 * columns + b1 * rows + b2
        far = int(max(np.abs(right).max(), np.abs(down).max())) + 2
        around = np.pad(image, ((far, far), (far, far), (0, 0)), modes[fill_mode], **values)
        if interpolation == "nearest":
            right, down = np.floor(right + 0.5), np.floor(down + 0.5)
        left, top = np.floor(right).astype(int), np.floor(down).astype(int)
        for i in (0, 1):
            for j in (0, 1):
                weight = (1 - abs(top + j - down)) * (1 - abs(left + i - right))
                out[n] += weight[..., None] * around[top + j + far, left + i + far]
    return out


def stretch(count, size, interpolation):
    """The matrix (size, count) that resizes an axis: a triangle around each place, of weight 1 inside the image."""
    place = (np.arange(size) + 0.5) * count / size
    if interpolation == "nearest":
        return np.eye(count)[np.floor(place).astype(int)]
    weights = np.maximum(0, 1 - abs(place[:, None] - 0.5 - np.arange(count)))
    return weights / weights.sum(1, keepdims=True)


def aspect(x, height, width):
    """The largest window in the middle of images that has the aspect ratio of width : height, as slices."""
    high = max(1, min(x.shape[1], x.shape[2] * height // width))
    wide = max(1, min(x.shape[2], x.shape[1] * width // height))
    top, left = (x.shape[1] - high) // 2, (x.shape[2] - wide) // 2
    return slice(top, top + high), slice(left, left + wide)


class Net:
    """Runs a list of layers of a model file on float64 weights, given by their paths in the weights file."""

    def __init__(self, items, weights, training=False):
        self.items = [i for i in items if item(i)[0] != "Input"]
        self.w, self.training = weights, training

    def __call__(self, x):
        self.after, self.penalties, self.total = {}, set(), 0.0
        self.frozen = False
        return self.chain(self.items, "", [], x, None)

    def chain(self, items, path, scope, x, mask):
        count, names = {}, {}
        for entry in items:
            kind, p = item(entry)
            key = snake(kind)
            count[key] = count.get(key, -1) + 1
            key = key if count[key] == 0 else f"{key}_{count[key]}"
            here = f"{path}layers/{key}"
            x, mask = self.layer(kind, p, here, scope + [names], x, mask)
            names[p.get("name", key)] = (kind, p, here, scope + [dict(names)])
        return x, mask

    def layer(self, kind, p, path, scope, x, mask, **options):
        outer = self.frozen
        self.frozen = outer or not p.get("trainable", True)
        y, mask = getattr(self, kind)(p, path, scope, x, mask, **options)
        for prefix, below in WEIGHTS.get(kind, []):
            what, where = p.get(f"{prefix}_regularizer"), f"{path}/{below}"
            if what and where in self.w and where not in self.penalties and not self.frozen:
                self.penalties.add(where)
                self.total = self.total + penalty(what, self.w[where])
        if p.get("activity_regularizer"):
            self.total = self.total + penalty(p["activity_regularizer"], y) / len(y)
        self.frozen = outer
        return y, mask

    # Containers
    def Sequential(self, p, path, scope, x, mask):
        return self.chain(p["layers"], path + "/", scope, x, mask)

    def Residual(self, p, path, scope, x, mask):
        a, ma = self.chain(p["layers"], path + "/main/", scope, x, mask)
        b, mb = (
            (x, mask) if p.get("shortcut") is None else self.chain(p["shortcut"], path + "/shortcut/", scope, x, mask)
        )
        return a + b, None if ma is None or mb is None else ma | mb

    def Parallel(self, p, path, scope, x, mask):
        parts = []
        for i, branch in enumerate(p["branches"]):
            parts.append(
                self.chain(branch, f"{path}/branches/sequential{'' if i == 0 else f'_{i}'}/", scope, x, mask)
            )
        ys, masks = [y for y, _ in parts], [m for _, m in parts]
        if p.get("merge", "concat") == "concat":
            if all(m is None for m in masks):
                return np.concatenate(ys, -1), None
            return np.concatenate(ys, -1), np.any(
                [np.ones(y.shape[:-1], bool) if m is None else m for y, m in parts], 0
            )
        join = {
            "add": np.add.reduce,
            "average": lambda v: np.add.reduce(v) / len(v),
            "multiply": np.multiply.reduce,
            "maximum": np.maximum.reduce,
        }
        return join[p["merge"]](ys), None if any(m is None for m in masks) else np.any(masks, 0)

    def Repeat(self, p, path, scope, x, mask):
        for i in range(p["times"]):
            x, mask = self.chain(p["layers"], f"{path}/blocks/sequential{'' if i == 0 else f'_{i}'}/", scope, x, mask)
        return x, mask

    def Reuse(self, p, path, scope, x, mask):
        for names in reversed(scope):
            if p["layer"] in names:
                kind, params, where, its_scope = names[p["layer"]]
                options = {"reverse": True} if p.get("reverse") else {}
                return self.layer(kind, params, where, its_scope, x, mask, **options)
        raise KeyError(p["layer"])

    # Plain layers
    def Dense(self, p, path, scope, x, mask):
        y = x @ self.w[path + "/vars/0"]
        if p.get("use_bias", True):
            y = y + self.w[path + "/vars/1"]
        return activate(p.get("activation"), y), mask

    def Activation(self, p, path, scope, x, mask):
        return activate(p["activation"], x), mask

    def Dropout(self, p, path, scope, x, mask):
        return x, mask

    def Flatten(self, p, path, scope, x, mask):
        return x.reshape(len(x), -1), None

    def Reshape(self, p, path, scope, x, mask):
        return x.reshape(len(x), *p["target_shape"]), None

    def Rescaling(self, p, path, scope, x, mask):
        return x * number(p["scale"]) + number(p.get("offset", 0.0)), mask

    # Images
    def images(self, p, x, make):
        """make() on channels last; the mask is lost."""
        if p.get("data_format") == "channels_first":
            return np.moveaxis(make(np.moveaxis(x, 1, -1)), -1, 1), None
        return make(x), None

    def moved(self, p, x, transform):
        """The transform of an image of this size; factors are [f, f]."""
        if not self.training:
            return x, None
        how = (p.get("interpolation", "bilinear"), p.get("fill_mode", "reflect"), p.get("fill_value", 0.0))
        return self.images(p, x, lambda x: sample(x, [transform(*x.shape[1:3])], x.shape[1:3], *how))

    def fixed(self, p, key):
        factor = p[key] if isinstance(p[key], list) else [-p[key], p[key]]
        if self.training and factor[0] != factor[1]:
            raise ValueError(f"{key} is drawn at random")
        return factor[0]

    def RandomFlip(self, p, path, scope, x, mask):
        if self.training:
            raise ValueError("flips are drawn at random")
        return x, None

    def RandomTranslation(self, p, path, scope, x, mask):
        down, right = self.fixed(p, "height_factor"), self.fixed(p, "width_factor")
        return self.moved(p, x, lambda h, w: (1, 0, -right * w, 0, 1, -down * h))

    def RandomZoom(self, p, path, scope, x, mask):
        high = 1 + self.fixed(p, "height_factor")
        wide = 1 + self.fixed(p, "width_factor") if p.get("width_factor") is not None else high
        return self.moved(p, x, lambda h, w: (wide, 0, (1 - wide) * (w - 1) / 2, 0, high, (1 - high) * (h - 1) / 2))

    def RandomRotation(self, p, path, scope, x, mask):
        c, s = (f(2 * np.pi * self.fixed(p, "factor")) for f in (np.cos, np.sin))

        def transform(h, w):
            cx, cy = (w - 1) / 2, (h - 1) / 2
            return (c, -s, cx - c * cx + s * cy, s, c, cy - s * cx - c * cy)

        return self.moved(p, x, transform)

    def resized(self, x, height, width, interpolation="bilinear"):
        down, across = stretch(x.shape[1], height, interpolation), stretch(x.shape[2], width, interpolation)
        return np.einsum("jh,iw,nhwc->njic", down, across, x)

    def RandomCrop(self, p, path, scope, x, mask):
        def crop(x):
            h, w = p["height"], p["width"]
            if x.shape[1] > h and x.shape[2] > w:
                raise ValueError("the place is drawn at random")
            rows, columns = aspect(x, h, w)
            x = x[:, rows.start : rows.start + h, columns.start : columns.start + w]
            return self.resized(x, h, w)

        return self.images(p, x, crop) if self.training else (x, None)

    def CenterCrop(self, p, path, scope, x, mask):
        def crop(x):
            h, w = p["height"], p["width"]
            top, left = (x.shape[1] - h) // 2, (x.shape[2] - w) // 2
            if min(top, left) >= 0 and x.shape[1] >= h and x.shape[2] >= w:
                return x[:, top : top + h, left : left + w]
            rows, columns = aspect(x, h, w)
            return self.resized(x[:, rows, columns], h, w)

        return self.images(p, x, crop)

    def Resizing(self, p, path, scope, x, mask):
        h, w, whole = p["height"], p["width"], x.dtype.kind in "iu"

        def resize(x):
            if p.get("crop_to_aspect_ratio"):
                x = x[:, *aspect(x, h, w)]
            elif p.get("pad_to_aspect_ratio"):
                above = max(0, x.shape[2] * h // w - x.shape[1]) // 2
                before = 0 if above else max(0, x.shape[1] * w // h - x.shape[2]) // 2
                x = np.pad(x, ((0, 0), (above, above), (before, before), (0, 0)), constant_values=p.get("fill_value", 0.0))
            y = self.resized(x, h, w, p.get("interpolation", "bilinear"))
            return np.round(y) if whole else y

        return self.images(p, x, resize)

    def Normalization(self, p, path, scope, x, mask):
        axis = p.get("axis", -1)
        axes = sorted(a % x.ndim for a in ([] if axis is None else axis if isinstance(axis, list) else [axis]))
        shape = [x.shape[a] if a in axes else 1 for a in range(x.ndim)]
        if "mean" in p:
            mean, variance = (np.asarray(p[key], np.float64) for key in ("mean", "variance"))
            if mean.ndim:
                mean, variance = mean.reshape(shape), variance.reshape(shape)
        else:
            mean, variance = (self.w[f"{path}/vars/{i}"].reshape(shape) for i in (0, 1))
        deviation = np.maximum(np.sqrt(variance), EPS)
        return (mean + x * deviation if p.get("invert") else (x - mean) / deviation), mask

    def pads(self, n, k, s, d, padding):
        reach = (k - 1) * d + 1
        if padding == "valid":
            return 0, 0, (n - reach) // s + 1
        out = -(-n // s)
        total = max((out - 1) * s + reach - n, 0)
        return total // 2, total - total // 2, out

    def Conv2D(self, p, path, scope, x, mask):
        pair = lambda v: list(v) if isinstance(v, list) else [v, v]
        k, s, d = pair(p["kernel_size"]), pair(p.get("strides", 1)), pair(p.get("dilation_rate", 1))
        groups, w = p.get("groups", 1), self.w[path + "/vars/0"]
        frame = [self.pads(x.shape[1 + a], k[a], s[a], d[a], p.get("padding", "valid")) for a in (0, 1)]
        x = np.pad(x, [(0, 0), frame[0][:2], frame[1][:2], (0, 0)])
        (h, wd), c, f = (frame[0][2], frame[1][2]), w.shape[2], w.shape[3] // groups
        y = np.zeros((len(x), h, wd, w.shape[3]))
        for i in range(k[0]):
            for j in range(k[1]):
                part = x[
                    :,
                    i * d[0] : i * d[0] + (h - 1) * s[0] + 1 : s[0],
                    j * d[1] : j * d[1] + (wd - 1) * s[1] + 1 : s[1],
                ]
                for g in range(groups):
                    y[..., g * f : (g + 1) * f] += part[..., g * c : (g + 1) * c] @ w[i, j, :, g * f : (g + 1) * f]
        if p.get("use_bias", True):
            y = y + self.w[path + "/vars/1"]
        return activate(p.get("activation"), y), None

    def pool(self, p, x, empty, reduce):
        pair = lambda v: list(v) if isinstance(v, list) else [v, v]
        k = pair(p.get("pool_size", 2))
        s = pair(p["strides"]) if p.get("strides") is not None else k
        frame = [self.pads(x.shape[1 + a], k[a], s[a], 1, p.get("padding", "valid")) for a in (0, 1)]
        x = np.pad(x, [(0, 0), frame[0][:2], frame[1][:2], (0, 0)], constant_values=empty)
        h, wd = frame[0][2], frame[1][2]
        windows = [
            x[:, i : i + (h - 1) * s[0] + 1 : s[0], j : j + (wd - 1) * s[1] + 1 : s[1]]
            for i in range(k[0])
            for j in range(k[1])
        ]
        return reduce(np.stack(windows))

    def MaxPooling2D(self, p, path, scope, x, mask):
        return self.pool(p, x, -np.inf, lambda v: v.max(0)), None

    def AveragePooling2D(self, p, path, scope, x, mask):
        return self.pool(p, x, np.nan, lambda v: np.nanmean(v, 0)), None

    def GlobalAveragePooling2D(self, p, path, scope, x, mask):
        return x.mean((1, 2), keepdims=p.get("keepdims", False)), None

    def BatchNormalization(self, p, path, scope, x, mask):
        axis = p.get("axis", -1) % x.ndim
        others = tuple(a for a in range(x.ndim) if a != axis)
        shape = [x.shape[axis] if a == axis else 1 for a in range(x.ndim)]
        names = [n for n, there in (("gamma", p.get("scale", True)), ("beta", p.get("center", True))) if there] + [
            "mean",
            "variance",
        ]
        w = {n: self.w[f"{path}/vars/{i}"].reshape(shape) for i, n in enumerate(names)}
        mean, variance = w["mean"], w["variance"]
        if self.training and not self.frozen:
            if mask is None:
                mean, variance = x.mean(others, keepdims=True), x.var(others, keepdims=True)
            else:
                m = mask.reshape(mask.shape + (1,) * (x.ndim - mask.ndim)).astype(float)
                n = m.sum() + EPS
                mean = (m * x).sum(others, keepdims=True) / n
                variance = (m * (x - mean) ** 2).sum(others, keepdims=True) / n
            momentum = p.get("momentum", 0.99)
            for i, (old, new) in ((len(names) - 2, (w["mean"], mean)), (len(names) - 1, (w["variance"], variance))):
                self.after[f"{path}/vars/{i}"] = (old * momentum + new * (1 - momentum)).reshape(-1)
                self.w = {**self.w, f"{path}/vars/{i}": self.after[f"{path}/vars/{i}"]}
        y = (x - mean) / np.sqrt(variance + p.get("epsilon", 1e-3))
        return y * w.get("gamma", 1.0) + w.get("beta", 0.0), mask

    def LayerNormalization(self, p, path, scope, x, mask):
        axis = p.get("axis", -1)
        axes = tuple(sorted(a % x.ndim for a in (axis if isinstance(axis, list) else [axis])))
        shape = [x.shape[a] if a in axes else 1 for a in range(x.ndim)]
        y = (x - x.mean(axes, keepdims=True)) / np.sqrt(x.var(axes, keepdims=True) + p.get("epsilon", 1e-3))
        i = 0
        if p.get("scale", True):
            y, i = y * self.w[f"{path}/vars/0"].reshape(shape), 1
        if p.get("center", True):
            y = y + self.w[f"{path}/vars/{i}"].reshape(shape)
        return y, mask

    def Embedding(self, p, path, scope, x, mask):
        return self.w[path + "/vars/0"][x], (x != 0) if p.get("mask_zero") else None

    def ReversibleEmbedding(self, p, path, scope, x, mask, reverse=False):
        if not reverse:
            return self.Embedding(p, path, scope, x, mask)
        y = x @ (self.w[path + "/vars/0"].T if p.get("tie_weights", True) else self.w[path + "/vars/1"])
        cap = p.get("logit_soft_cap")
        return (y if cap is None else cap * np.tanh(y / cap)), None

    def PositionEmbedding(self, p, path, scope, x, mask):
        return x + self.w[path + "/vars/0"][: x.shape[-2]], mask

    def recur(self, kind, p, path, x, mask, backwards=None, zero=False):
        u, sig, phi = p["units"], p.get("recurrent_activation", "sigmoid"), p.get("activation", "tanh")
        w, r = self.w[path + "/cell/vars/0"], self.w[path + "/cell/vars/1"]
        b = self.w.get(path + "/cell/vars/2")
        h, c = np.zeros((len(x), u)), np.zeros((len(x), u))
        outs, steps = [], range(x.shape[1])
        backwards = p.get("go_backwards", False) if backwards is None else backwards
        cut = lambda v: np.split(v, v.shape[-1] // u, -1)
        for t in reversed(steps) if backwards else steps:
            if kind == "LSTM":
                i, f, g, o = cut(x[:, t] @ w + h @ r + (0 if b is None else b))
                c1 = activate(sig, f) * c + activate(sig, i) * activate(phi, g)
                h1 = activate(sig, o) * activate(phi, c1)
            else:
                after = p.get("reset_after", True)
                bi, br = (0, 0) if b is None else (b[0], b[1]) if after else (b, 0)
                xz, xr, xn = cut(x[:, t] @ w + bi)
                if after:
                    hz, hr, hn = cut(h @ r + br)
                    z, q = activate(sig, xz + hz), activate(sig, xr + hr)
                    n = activate(phi, xn + q * hn)
                else:
                    rz, rr, rn = cut(r)
                    z, q = activate(sig, xz + h @ rz), activate(sig, xr + h @ rr)
                    n = activate(phi, xn + (q * h) @ rn)
                h1, c1 = z * h + (1 - z) * n, c
            m = np.ones((len(x), 1), bool) if mask is None else mask[:, t, None]
            outs.append(np.where(m, h1, 0 if zero else h))
            h, c = np.where(m, h1, h), np.where(m, c1, c)
        return np.stack(outs, 1) if p.get("return_sequences") else outs[-1]

    def LSTM(self, p, path, scope, x, mask):
        return self.recur("LSTM", p, path, x, mask), mask if p.get("return_sequences") else None

    def GRU(self, p, path, scope, x, mask):
        return self.recur("GRU", p, path, x, mask), mask if p.get("return_sequences") else None

    def Bidirectional(self, p, path, scope, x, mask):
        kind, inner = item(p["layer"])
        sequences = inner.get("return_sequences", False)
        a = self.recur(kind, inner, path + "/forward_layer", x, mask, backwards=False, zero=sequences)
        b = self.recur(kind, inner, path + "/backward_layer", x, mask, backwards=True, zero=sequences)
        for direction in ("forward_layer", "backward_layer"):
            for prefix, below in WEIGHTS[kind]:
                if inner.get(f"{prefix}_regularizer"):
                    self.total = self.total + penalty(
                        inner[f"{prefix}_regularizer"], self.w[f"{path}/{direction}/{below}"]
                    )
        if inner.get("activity_regularizer"):
            self.total = self.total + sum(penalty(inner["activity_regularizer"], y) / len(y) for y in (a, b))
        b = b[:, ::-1] if sequences else b
        merge = {
            "concat": lambda: np.concatenate([a, b], -1),
            "sum": lambda: a + b,
            "ave": lambda: (a + b) / 2,
            "mul": lambda: a * b,
        }
        return merge[p.get("merge_mode", "concat")](), mask if sequences else None

    def TimeDistributed(self, p, path, scope, x, mask):
        kind, inner = item(p["layer"])
        inner.pop("activity_regularizer", None)  # Keras calls the inner layer's call(), past the penalty
        ys = []
        for t in range(x.shape[1]):
            m = None if mask is None or mask.ndim < 3 else mask[:, t]
            ys.append(self.layer(kind, inner, path + "/layer", scope, x[:, t], m)[0])
        return np.stack(ys, 1), mask

    def MultiHeadAttention(self, p, path, scope, x, mask):
        part = lambda name, i: self.w.get(f"{path}/{name}_dense/vars/{i}")
        heads = {}
        for name in ("query", "key", "value"):
            heads[name] = np.einsum("btd,dhk->bthk", x, part(name, 0))
            if p.get("use_bias", True):
                heads[name] = heads[name] + part(name, 1)
        scores = np.einsum("bthk,bshk->bhts", heads["query"], heads["key"]) / np.sqrt(p["key_dim"])
        steps = x.shape[1]
        keep = np.ones((len(x), 1, steps, steps), bool)
        if p.get("causal"):
            keep = keep & np.tril(np.ones((steps, steps), bool))
        if mask is not None:
            keep = keep & mask[:, None, :, None] & mask[:, None, None, :]
        # Scores of forbidden keys become one large negative number: a row without any key gives all keys the same weight,
        # except on Keras' other path (dropout > 0), which sets forbidden weights to 0 in the end.
        probabilities = softmax(np.where(keep, scores, -1e30))
        if p.get("dropout", 0) > 0:
            probabilities = np.where(keep, probabilities, 0)
        y = np.einsum("bhts,bshk->bthk", probabilities, heads["value"])
        y = np.einsum("bthk,hkd->btd", y, part("output", 0))
        return (y + part("output", 1) if p.get("use_bias", True) else y), mask


# ---- the families ----------------------------------------------------------------------------------------------------


def weights_of(arrays, name, folder="w"):
    head = f"{name}/{folder}/"
    return {key[len(head) :]: arrays[key].astype(np.float64) for key in arrays.files if key.startswith(head)}


def slopes(function, point, gradient, random, tries=2, rtol=3e-6):
    """Compares sum(gradient * d) with the central difference of the function along random directions d."""
    for _ in range(tries):
        d = {key: random.standard_normal(value.shape) for key, value in gradient.items()}
        h = 1e-6
        ahead = function({key: value + h * d[key] if key in d else value for key, value in point.items()})
        behind = function({key: value - h * d[key] if key in d else value for key, value in point.items()})
        want = (ahead - behind) / (2 * h)
        got = sum((gradient[key].astype(np.float64) * d[key]).sum() for key in gradient)
        size = sum(abs(gradient[key].astype(np.float64) * d[key]).sum() for key in gradient)
        if abs(got - want) > rtol * size + 1e-6:
            return f"slope {got:.7g}, by differences {want:.7g}"
    return None


def check_layers(cases, arrays, report):
    random = np.random.default_rng(1)
    for case in cases:
        name = case["name"]
        if "layers" not in case or f"{name}/x" not in arrays.files:
            continue
        x = arrays[f"{name}/x"]
        x64 = x.astype(np.float64) if x.dtype == np.float32 else x
        if "mask" in case:
            check_mask(case, x64, arrays, report)
            continue
        w = weights_of(arrays, name)
        loose = {"atol": case["tolerance"]} if "tolerance" in case else {}
        report(name, "y", close(Net(case["layers"], w)(x64)[0], arrays[f"{name}/y"], **loose))
        if f"{name}/dy" not in arrays.files:
            continue
        dy = arrays[f"{name}/dy"].astype(np.float64)
        net = Net(case["layers"], w, training=True)
        report(name, "y_train", close(net(x64)[0], arrays[f"{name}/y_train"], **loose))
        stored = weights_of(arrays, name, "w_after")
        report(
            name,
            "w_after",
            None if set(stored) == set(net.after) else f"changed {sorted(net.after)}, stored {sorted(stored)}",
        )
        for path in stored:
            report(name, f"w_after/{path}", close(net.after[path], stored[path]))
        if f"{name}/reg" in arrays.files:
            report(name, "reg", close(net.total, arrays[f"{name}/reg"]))
        elif np.any(net.total):
            report(name, "reg", "is missing")
        gradient = {"w/" + path: value for path, value in weights_of(arrays, name, "dw").items()}
        if f"{name}/dx" in arrays.files:
            gradient["x"] = arrays[f"{name}/dx"]

        def total(point):
            run = Net(case["layers"], {key[2:]: value for key, value in point.items() if key != "x"}, training=True)
            return (run(point["x"])[0] * dy).sum() + run.total

        if gradient:
            report(
                name,
                "gradient",
                slopes(
                    total,
                    {"x": x64, **{"w/" + path: value for path, value in w.items()}},
                    gradient,
                    random,
                    rtol=case.get("tolerance", 3e-6),
                ),
            )


def check_warps(cases, arrays, report):
    """The gradient too: sampling is linear but for the fill value."""
    for case in cases:
        name = case["name"]
        x, transform, dy = (arrays[f"{name}/{key}"].astype(np.float64) for key in ("x", "transform", "dy"))
        how = (transform, x.shape[1:3], case["interpolation"], case["fill_mode"])
        report(name, "y", close(sample(x, *how, case["fill_value"]), arrays[f"{name}/y"]))
        dx = np.zeros_like(x)
        for at in np.ndindex(x.shape[1:3]):
            one = np.zeros_like(x)
            one[:, at[0], at[1]] = 1
            dx[:, at[0], at[1]] = (sample(one, *how) * dy).sum((1, 2))
        report(name, "dx", close(dx, arrays[f"{name}/dx"]))


def check_mask(case, x, arrays, report):
    """Only the mask matters, but layers need weights: any will do."""
    _, mask = Net(case["layers"], guess_weights(case["layers"], x))(x)
    if (mask is not None) != case["mask"]:
        report(case["name"], "mask", f"{mask is not None}, stored {case['mask']}")
    elif mask is not None:
        report(case["name"], "mask", close(mask, arrays[f"{case['name']}/mask"]))
    else:
        report(case["name"], "mask", None)


def guess_weights(items, x):
    """Weights of the right shapes for the layers of the family masks, made up as the layers are reached."""
    weights = {}
    net = Net(items, weights)

    def fill(kind, p, path, scope, value, mask, **options):
        c = value.shape[-1] if value.dtype.kind == "f" else None
        u = p.get("units", 0)
        shapes = {}
        if kind == "Dense":
            shapes = {"vars/0": (c, u), "vars/1": (u,)}
        elif kind in ("Embedding", "ReversibleEmbedding"):
            shapes = {"vars/0": (p["input_dim"], p["output_dim"])}
        elif kind == "LayerNormalization":
            shapes = {"vars/0": (c,), "vars/1": (c,)}
        elif kind == "BatchNormalization":
            shapes = {f"vars/{i}": (c,) for i in range(4)}
        elif kind == "PositionEmbedding":
            shapes = {"vars/0": (p["sequence_length"], c)}
        elif kind == "Conv2D":
            shapes = {"vars/0": (p["kernel_size"], p["kernel_size"], c, p["filters"]), "vars/1": (p["filters"],)}
        elif kind in ("LSTM", "GRU"):
            shapes = cell("", kind, c, u)
        elif kind == "Bidirectional":
            inner, q = item(p["layer"])
            shapes = {**cell("forward_layer/", inner, c, q["units"]), **cell("backward_layer/", inner, c, q["units"])}
        elif kind == "MultiHeadAttention":
            h, k = p["num_heads"], p["key_dim"]
            for part in ("query", "key", "value"):
                shapes.update({f"{part}_dense/vars/0": (c, h, k), f"{part}_dense/vars/1": (h, k)})
            shapes.update({"output_dense/vars/0": (h, k, c), "output_dense/vars/1": (c,)})
        for below, shape in shapes.items():
            weights.setdefault(f"{path}/{below}", np.full(shape, 0.1))
        return Net.layer(net, kind, p, path, scope, value, mask, **options)

    def cell(head, kind, c, u):
        n = 4 if kind == "LSTM" else 3
        return {
            head + "cell/vars/0": (c, n * u),
            head + "cell/vars/1": (u, n * u),
            head + "cell/vars/2": (4 * u,) if n == 4 else (2, 3 * u),
        }

    net.layer = fill
    net(x)
    return weights


def check_weights(cases, arrays, report):
    """Regularizers and constraints of single weights, and constraints of layers."""
    random = np.random.default_rng(2)
    for case in cases:
        name = case["name"]
        if "regularizer" in case:
            w = arrays[f"{name}/w"].astype(np.float64)
            report(name, "value", close(penalty(case["regularizer"], w), arrays[f"{name}/value"]))
            report(
                name,
                "dw",
                slopes(
                    lambda point: penalty(case["regularizer"], point["w"]),
                    {"w": w},
                    {"w": arrays[f"{name}/dw"]},
                    random,
                ),
            )
        elif "constraint" in case:
            report(
                name,
                "projected",
                close(
                    constrain(case["constraint"], arrays[f"{name}/w"].astype(np.float64)), arrays[f"{name}/projected"]
                ),
            )
        elif f"{name}/projected/" in "".join(arrays.files):
            kind, p = item(case["layers"][0])
            path = "layers/" + snake(kind)
            for prefix, below in WEIGHTS[kind]:
                what = p.get(f"{prefix}_constraint")
                w = arrays[f"{name}/w/{path}/{below}"].astype(np.float64)
                report(
                    name, below, close(constrain(what, w) if what else w, arrays[f"{name}/projected/{path}/{below}"])
                )


# Losses: per-sample values, mean or sum over the last axis.


def fit_ranks(t, p):
    if t.ndim == p.ndim - 1 and p.shape[-1] == 1:
        return (t[..., None], p) if t.ndim == 1 else (t, p[..., 0])
    if p.ndim == t.ndim - 1 and t.shape[-1] == 1:
        return (t, p[..., None]) if p.ndim == 1 else (t[..., 0], p)
    return t, p


def loss_values(kind, q, t, p):
    """Values and the mask that the loss itself makes."""
    kind = {"mse": "MeanSquaredError", "mae": "MeanAbsoluteError", "bce": "BinaryCrossentropy"}.get(kind, kind)
    kind = kind.replace("_", "").lower()
    axis = q.get("axis", -1)
    if kind == "sparsecategoricalcrossentropy":
        labels = t.astype(int)
        if labels.ndim == p.ndim and labels.shape[-1] == 1:
            labels = labels[..., 0]
        valid = np.ones(labels.shape, bool) if q.get("ignore_class") is None else labels != q["ignore_class"]
        labels = np.where(valid, labels, 0)
        if q.get("from_logits"):
            logs = log_softmax(p)
        else:
            logs = np.log(np.clip(p / p.sum(-1, keepdims=True), EPS, 1 - EPS))
        values = -np.take_along_axis(logs, labels[..., None], -1)[..., 0]
        return np.where(valid, values, 0), None if q.get("ignore_class") is None else valid
    t, p = fit_ranks(t, p)
    e = t - p
    if kind == "meansquarederror":
        return (e * e).mean(-1), None
    if kind == "meanabsoluteerror":
        return abs(e).mean(-1), None
    if kind == "huber":
        delta = q.get("delta", 1.0)
        return np.where(abs(e) <= delta, 0.5 * e * e, delta * abs(e) - 0.5 * delta**2).mean(-1), None
    smooth = q.get("label_smoothing", 0.0)
    if kind == "binarycrossentropy":
        t = t * (1 - smooth) + smooth / 2
        if q.get("from_logits"):
            values = np.maximum(p, 0) - p * t + np.log1p(np.exp(-abs(p)))
        else:
            p = np.clip(p, EPS, 1 - EPS)
            values = -(t * np.log(p) + (1 - t) * np.log(1 - p))
        return values.mean(axis), None
    if kind == "categoricalcrossentropy":
        t = t * (1 - smooth) + smooth / p.shape[axis]
        logs = (
            log_softmax(p, axis)
            if q.get("from_logits")
            else np.log(np.clip(p / p.sum(axis, keepdims=True), EPS, 1 - EPS))
        )
        return -(t * logs).sum(axis), None
    raise KeyError(kind)


def reduce(values, own_mask, weight, mask, reduction):
    if own_mask is not None:
        mask = own_mask if mask is None else mask.astype(bool) & own_mask
    w = weight
    if mask is not None:
        m = mask.astype(np.float64)
        if reduction in ("mean", "sum_over_batch_size"):
            m = m * (m.size / m.sum()) if m.sum() else m * 0
        w = m if weight is None else fit_ranks(m, weight)[0] * fit_ranks(m, weight)[1]
    if w is not None:
        values, w = fit_ranks(values, w)
        values = values * w
    if reduction == "none" or values.ndim == 0:
        return values
    if reduction == "sum":
        return values.sum()
    count = w.sum() if reduction == "mean_with_sample_weight" and w is not None else values.size
    return values.sum() / count if count else 0.0


def resolve_alias(name, t, p):
    if name in ("accuracy", "acc", "crossentropy", "ce"):
        sparse = t.ndim < p.ndim or (t.shape[-1] == 1 and p.shape[-1] > 1)
        kind = "binary" if p.shape[-1] == 1 else "sparse_categorical" if sparse else "categorical"
        return f"{kind}_{'accuracy' if name.startswith('acc') else 'crossentropy'}"
    return name


def check_losses(cases, arrays, report):
    random = np.random.default_rng(3)
    for case in cases:
        name = case["name"]
        kind, q = item(case["loss"])
        get = lambda key: arrays[f"{name}/{key}"].astype(np.float64) if f"{name}/{key}" in arrays.files else None
        t, p, weight, mask = get("y_true"), get("y_pred"), get("sample_weight"), get("mask")
        kind = resolve_alias(kind, t, p)

        def value(point):
            values, own = loss_values(kind, q, t, point["p"])
            return reduce(values, own, weight, mask, q.get("reduction", "sum_over_batch_size"))

        report(name, "loss", close(value({"p": p}), arrays[f"{name}/loss"]))
        if "edges" not in name:  # a step of 1e-6 would leave [EPS, 1 - EPS]
            report(
                name,
                "dy_pred",
                slopes(lambda point: np.sum(value(point)), {"p": p}, {"p": arrays[f"{name}/dy_pred"]}, random),
            )


class Metric:
    """One metric, accumulated over batches."""

    def __init__(self, what, t, p):
        kind, self.q = item(what)
        kind = {"mse": "MeanSquaredError", "mae": "MeanAbsoluteError", "bce": "BinaryCrossentropy"}.get(kind, kind)
        self.kind = resolve_alias(kind, t, p).replace("_", "").lower()
        self.state = []

    def update(self, t, p, w, mask):
        if self.kind in ("precision", "recall", "auc", "r2score"):
            self.state.append((t, p, w))
            return
        values, own = self.values(t, p)
        if mask is not None:
            w = mask if w is None else w * mask
        if w is not None and own is not None:  # Keras looks at the mask of the loss only where there are weights
            w = w * own
        if w is not None:
            values, w = fit_ranks(values, w)
            if values.ndim > w.ndim:
                values = values.mean(tuple(range(w.ndim, values.ndim)))
            w = np.broadcast_to(w, values.shape)
            values = values * w
            w = w.reshape(len(w), -1).mean(1) if w.ndim > 1 else w
        values = values.reshape(len(values), -1).mean(1) if values.ndim > 1 else values
        if values.ndim == 0:
            values = values[None]
        self.state.append((values.sum(), len(values) if w is None else w.sum()))

    def values(self, t, p):
        """Values of an accuracy or a loss, and the mask that a loss makes itself (ignore_class)."""
        if "accuracy" not in self.kind and self.kind != "rootmeansquarederror":
            return loss_values(self.kind, self.q, t, p)
        return self.hits(t, p), None

    def hits(self, t, p):
        q = self.q
        labels = lambda: (t[..., 0] if t.ndim == p.ndim and t.shape[-1] == 1 else t).astype(int)
        if self.kind == "binaryaccuracy":
            t, p = fit_ranks(t, p)
            return ((p > np.float32(q.get("threshold", 0.5))) == t).astype(float)
        if self.kind == "categoricalaccuracy":
            return (t.argmax(-1) == p.argmax(-1)).astype(float)
        if self.kind == "sparsecategoricalaccuracy":
            return (labels() == p.argmax(-1)).astype(float)
        if self.kind in ("topkcategoricalaccuracy", "sparsetopkcategoricalaccuracy"):
            at = t.argmax(-1) if self.kind.startswith("top") else labels()
            mine = np.take_along_axis(p, at[..., None], -1)
            return ((p > mine).sum(-1) < q.get("k", 5)).astype(float)
        t, p = fit_ranks(t, p)
        return (t - p) ** 2

    def result(self):
        q = self.q
        if self.kind not in ("precision", "recall", "auc", "r2score"):
            total, count = (sum(part) for part in zip(*self.state))
            mean = total / count if count else 0.0
            return np.sqrt(mean) if self.kind == "rootmeansquarederror" else mean
        t, p, w = ([part[i] for part in self.state] for i in range(3))
        pairs = [fit_ranks(a, b) for a, b in zip(t, p)]
        t, p = np.concatenate([a for a, _ in pairs]), np.concatenate([b for _, b in pairs])
        w = np.ones(len(t)) if w[0] is None else np.concatenate(w)
        if self.kind == "r2score":
            return self.r2(t, p, w)
        while w.ndim < t.ndim:
            w = w[..., None]
        if q.get("top_k"):
            order = np.argsort(-p, -1, kind="stable")
            keep = np.zeros(p.shape, bool)
            np.put_along_axis(keep, order[..., : q["top_k"]], True, -1)
            p = np.where(keep, p, -1e10)
        if q.get("class_id") is not None:
            t, p = t[..., q["class_id"], None], p[..., q["class_id"], None]
        w = np.broadcast_to(w, t.shape)
        if self.kind == "auc":
            return self.auc(t, p, w)
        limits = q.get("thresholds", -1e10 if q.get("top_k") else 0.5)
        found = []
        for limit in limits if isinstance(limits, list) else [limits]:
            positive = p > np.float32(limit)
            hits = (w * (t > 0) * positive).sum()
            others = (w * (t == 0) * positive).sum() if self.kind == "precision" else (w * (t > 0) * ~positive).sum()
            found.append(hits / (hits + others) if hits + others else 0.0)
        return np.array(found) if isinstance(limits, list) else found[0]

    def r2(self, t, p, w):
        elements = t.size
        w = np.broadcast_to(w.reshape(len(w), -1), t.shape)
        total = (w * t * t).sum(0) - (w * t).sum(0) ** 2 / w.sum(0)
        with np.errstate(divide="ignore", invalid="ignore"):
            score = 1 - (w * (t - p) ** 2).sum(0) / total
        score = np.where(np.isinf(score), 0.0, score)
        aggregation = self.q.get("class_aggregation", "uniform_average")
        if aggregation == "uniform_average":
            score = score.mean()
        elif aggregation is not None:
            score = (total * score).sum() / total.sum()
        k = self.q.get("num_regressors", 0)
        return score if k == 0 or k >= elements - 1 else 1 - (1 - score) * (elements - 1) / (elements - k - 1)

    def auc(self, t, p, w):
        q = self.q
        if q.get("from_logits"):
            p = sigmoid(p)
        if q.get("multi_label"):
            each = np.array([self.curve(t[:, i], p[:, i], w[:, i]) for i in range(t.shape[1])])
            shares = np.asarray(q.get("label_weights", np.ones(len(each))))
            return (each * shares).sum() / shares.sum()
        if q.get("label_weights"):
            w = w * np.asarray(q["label_weights"])
        return self.curve(t.ravel(), p.ravel(), w.ravel())

    def curve(self, t, p, w):
        q = self.q
        n = q.get("num_thresholds", 200)
        inner = sorted(q["thresholds"]) if "thresholds" in q else [i / (n - 1) for i in range(1, n - 1)]
        limits = np.array([-EPS, *inner, 1 + EPS])
        positive = p[None] > limits[:, None]
        tp, fp = (w * t * positive).sum(1), (w * (1 - t) * positive).sum(1)
        fn, tn = (w * t).sum() - tp, (w * (1 - t)).sum() - fp
        safe = lambda a, b: np.divide(a, b, out=np.zeros_like(a * b * 1.0), where=b != 0)
        kind, method = q.get("curve", "ROC"), q.get("summation_method", "interpolation")
        if kind == "PR" and method == "interpolation":
            found = tp + fp
            dtp, dp = tp[:-1] - tp[1:], np.maximum(found[:-1] - found[1:], 0)
            slope = safe(dtp, dp)
            cut = tp[1:] - slope * found[1:]
            ratio = np.where((found[:-1] > 0) & (found[1:] > 0), safe(found[:-1], found[1:]), 1.0)
            return safe(slope * (dtp + cut * np.log(ratio)), np.maximum(tp[1:] + fn[1:], 0)).sum()
        recall = safe(tp, tp + fn)
        if kind == "ROC":
            x, y = safe(fp, fp + tn), recall
        elif kind == "PR":
            x, y = recall, safe(tp, tp + fp)
        else:
            odds = safe(tp + fn, tn + fp)
            x = np.maximum(np.where(tp == 0, 0, 1 - odds * safe(fn, tp)), 0)
            y = np.where(tp == 0, 1, 1 - odds * safe(fp, tp))
        heights = {
            "interpolation": (y[:-1] + y[1:]) / 2,
            "minoring": np.minimum(y[:-1], y[1:]),
            "majoring": np.maximum(y[:-1], y[1:]),
        }[method]
        return ((x[:-1] - x[1:]) * heights).sum()


def check_metrics(cases, arrays, report):
    for case in cases:
        name, metric, results = case["name"], None, []
        get = lambda key: arrays[f"{name}/{key}"].astype(np.float64) if f"{name}/{key}" in arrays.files else None
        t, p, w, m = get("y_true"), get("y_pred"), get("sample_weight"), get("mask")
        for a, b in ((0, 5), (5, 10), (10, 12)):
            metric = metric or Metric(case["metric"], t, p)
            metric.update(t[a:b], p[a:b], None if w is None else w[a:b], None if m is None else m[a:b])
            results.append(metric.result())
        report(name, "result", close(np.stack(results), arrays[f"{name}/result"]))


def schedule_value(what, s):
    kind, q = item(what)
    lr = q.get("initial_learning_rate")
    if kind in ("ExponentialDecay", "InverseTimeDecay"):
        e = s / q["decay_steps"]
        e = np.floor(e) if q.get("staircase") else e
        return lr * q["decay_rate"] ** e if kind == "ExponentialDecay" else lr / (1 + q["decay_rate"] * e)
    if kind == "PiecewiseConstantDecay":
        return q["values"][sum(s > b for b in q["boundaries"])]
    if kind == "PolynomialDecay":
        steps, end = q["decay_steps"], q.get("end_learning_rate", 1e-4)
        if q.get("cycle"):
            steps = steps * max(1, np.ceil(s / steps))
        else:
            s = min(s, steps)
        return (lr - end) * (1 - s / steps) ** q.get("power", 1.0) + end
    alpha = q.get("alpha", 0.0)
    if kind == "CosineDecay":
        target, warm = q.get("warmup_target"), q.get("warmup_steps", 0)
        if target is not None:
            if s < warm:
                return lr + (target - lr) * s / warm
            s, lr = s - warm, target
        s = min(s, q["decay_steps"])
        return lr * ((1 - alpha) * 0.5 * (1 + np.cos(np.pi * s / q["decay_steps"])) + alpha)
    t, m = q.get("t_mul", 2.0), q.get("m_mul", 1.0)
    f = s / q["first_decay_steps"]
    if t == 1:
        i = np.floor(f)
        f -= i
    else:
        i = np.floor(np.log(1 - f * (1 - t)) / np.log(t))
        f = (f - (1 - t**i) / (1 - t)) / t**i
    return lr * ((1 - alpha) * 0.5 * m**i * (1 + np.cos(np.pi * f)) + alpha)


def check_schedules(cases, arrays, report):
    for case in cases:
        steps = arrays[f"{case['name']}/steps"]
        report(
            case["name"],
            "value",
            close(
                [schedule_value(case["schedule"], int(s)) for s in steps],
                arrays[f"{case['name']}/value"],
                rtol=1e-4,
                atol=1e-7,
            ),
        )


def check_optimizers(cases, arrays, report):
    loose = {
        "rtol": 1e-4,
        "atol": 1e-5,
    }  # Keras takes 1 - beta_2^t in float32, where 1 - 0.999 has only five good digits
    for case in cases:
        name = case["name"]
        kind, q = item(case["optimizer"])
        w = [arrays[f"w{i}"].astype(np.float64) for i in range(3)]
        grads = [arrays[f"g{i}"].astype(np.float64) * case.get("gradient_scale", 1.0) for i in range(3)]
        after, averages = [[], [], []], None
        slots = [{} for _ in w]
        every = q.get("gradient_accumulation_steps", 1)
        gathered = [np.zeros_like(v) for v in w]
        for step in range(10):
            g = [grad[step] for grad in grads]
            gathered = [a + b for a, b in zip(gathered, g)]
            if (step + 1) % every == 0:
                g = [a / every for a in gathered]
                gathered = [np.zeros_like(v) for v in w]
                if q.get("clipnorm"):
                    g = [v * q["clipnorm"] / max(np.sqrt((v * v).sum()), q["clipnorm"]) for v in g]
                if q.get("global_clipnorm"):
                    norm = np.sqrt(sum((v * v).sum() for v in g))
                    g = [v * min(1.0, q["global_clipnorm"] / norm) if norm else v for v in g]
                if q.get("clipvalue"):
                    g = [np.clip(v, -q["clipvalue"], q["clipvalue"]) for v in g]
                rate = q.get("learning_rate", 0.01 if kind == "SGD" else 0.001)
                if isinstance(rate, dict):
                    rate = schedule_value(rate, step)
                decay = q.get("weight_decay", 0.004 if kind == "AdamW" else None)
                if decay:
                    w = [v - v * decay * rate for v in w]
                w = [update(kind, q, rate, (step // every) + 1, v, d, s) for v, d, s in zip(w, g, slots)]
            if q.get("use_ema"):
                momentum = q.get("ema_momentum", 0.99)
                averages = (
                    [v.copy() for v in w]
                    if step < every
                    else [momentum * a + (1 - momentum) * v for a, v in zip(averages, w)]
                )
                k = q.get("ema_overwrite_frequency")
                if k and (step // every + 1) % k == 0:
                    w = [v.copy() for v in averages]
            if "constraint" in case:
                w[0] = constrain(case["constraint"], w[0])
            for values, v in zip(after, w):
                values.append(v)
        for i in range(3):
            report(name, f"w{i}_after", close(np.stack(after[i]), arrays[f"{name}/w{i}_after"], **loose))
            if q.get("use_ema"):
                report(name, f"w{i}_final", close(averages[i], arrays[f"{name}/w{i}_final"], **loose))
        stored = [
            arrays[key]
            for key in sorted(
                (k for k in arrays.files if k.startswith(f"{name}/vars/")), key=lambda k: int(k.rsplit("/", 1)[1])
            )
        ]
        mine = [np.int32(10)] + (
            []
            if isinstance(q.get("learning_rate"), dict)
            else [q.get("learning_rate", 0.01 if kind == "SGD" else 0.001)]
        )
        mine += averages if q.get("use_ema") else []
        mine += gathered if every > 1 else []
        if kind == "SGD":
            mine += [s["m"] for s in slots if "m" in s]
        elif kind == "RMSprop":
            mine += [s[key] for key in ("v", "m", "a") for s in slots if key in s]
        else:
            mine += [s[key] for s in slots for key in ("m", "v")] + [s["h"] for s in slots if "h" in s]
        if len(mine) != len(stored):
            report(name, "vars", f"{len(mine)} of them, stored {len(stored)}")
            continue
        for i, (got, want) in enumerate(zip(mine, stored)):
            report(name, f"vars/{i}", close(got, want, **loose))


def update(kind, q, rate, t, w, g, s):
    if kind == "SGD":
        mu = q.get("momentum", 0.0)
        if not mu:
            return w - rate * g
        s["m"] = mu * s.get("m", 0 * w) - rate * g
        return w + (mu * s["m"] - rate * g if q.get("nesterov") else s["m"])
    if kind == "RMSprop":
        rho, mu, eps = q.get("rho", 0.9), q.get("momentum", 0.0), q.get("epsilon", 1e-7)
        s["v"] = rho * s.get("v", 0 * w) + (1 - rho) * g * g
        d = s["v"]
        if q.get("centered"):
            s["a"] = rho * s.get("a", 0 * w) + (1 - rho) * g
            d = d - s["a"] ** 2
        step = rate * g / np.sqrt(d + eps)
        if mu > 0:
            s["m"] = mu * s.get("m", 0 * w) + step
            return w - s["m"]
        return w - step
    b1, b2, eps = q.get("beta_1", 0.9), q.get("beta_2", 0.999), q.get("epsilon", 1e-7)
    s["m"] = s.get("m", 0 * w) + (g - s.get("m", 0 * w)) * (1 - b1)
    s["v"] = s.get("v", 0 * w) + (g * g - s.get("v", 0 * w)) * (1 - b2)
    v = s["v"]
    if q.get("amsgrad"):
        s["h"] = np.maximum(s.get("h", 0 * w), v)
        v = s["h"]
    return w - rate * np.sqrt(1 - b2**t) / (1 - b1**t) * s["m"] / (np.sqrt(v) + eps)


def check_initializers(cases, arrays, report):
    """Fans and arguments of the variance-scaling family, from shapes alone."""
    scales = {"glorot": (1.0, "fan_avg"), "he": (2.0, "fan_in"), "lecun": (1.0, "fan_in")}
    for case in cases:
        name = case["name"]
        if f"{name}/fans" not in arrays.files:
            continue
        shape = case["shape"]
        field = int(np.prod(shape[:-2])) if len(shape) > 2 else 1
        fans = (1, 1) if not shape else (shape[0],) * 2 if len(shape) == 1 else (shape[-2] * field, shape[-1] * field)
        report(name, "fans", close(fans, arrays[f"{name}/fans"]))
        kind, q = item(case["initializer"])
        if kind == "VarianceScaling":
            scale, mode, how = q.get("scale", 1.0), q.get("mode", "fan_in"), q.get("distribution", "truncated_normal")
        else:
            scale, mode = scales[kind.split("_")[0]]
            how = "uniform" if kind.endswith("uniform") else "truncated_normal"
        v = scale / max(1.0, {"fan_in": fans[0], "fan_out": fans[1], "fan_avg": sum(fans) / 2}[mode])
        report(name, "std", close(np.sqrt(v), arrays[f"{name}/std"]))
        key, want = {
            "uniform": ("uniform", [-np.sqrt(3 * v), np.sqrt(3 * v)]),
            "untruncated_normal": ("normal", [0, np.sqrt(v)]),
        }.get(how, ("truncated_normal", [0, np.sqrt(v) / 0.87962566103423978]))
        report(name, key, close(want, arrays[f"{name}/{key}"]))


def check_models(cases, arrays, report):
    """The loss of the first step from the initial weights, and the predictions from the final ones."""
    for case in cases:
        name, model = case["name"], case["model"]
        fit = model["fit"]
        x, y = arrays[f"{name}/x"], arrays[f"{name}/y"].astype(np.float64)
        x = x if x.dtype == np.int32 else x.astype(np.float64)
        rows = slice(0, fit["batch_size"])
        weight = (
            arrays[f"{name}/sample_weight"][rows].astype(np.float64)
            if f"{name}/sample_weight" in arrays.files
            else None
        )
        if "class_weight" in fit:
            weight = np.array([fit["class_weight"][int(label)] for label in y[rows].reshape(-1)])
        net = Net(model["layers"], weights_of(arrays, name), training=True)
        p, mask = net(x[rows])
        kind, q = item(model["loss"])
        values, own = loss_values(resolve_alias(kind, y, p), q, y[rows], p)
        report(
            name,
            "step_loss[0]",
            close(
                reduce(values, own, weight, mask, "sum_over_batch_size") + net.total, arrays[f"{name}/step_loss"][0]
            ),
        )
        final = {**weights_of(arrays, name), **weights_of(arrays, name, "w_final")}
        report(name, "predict", close(Net(model["layers"], final)(x)[0], arrays[f"{name}/predict"]))


def check_callbacks(cases, arrays, report):
    """The decisions, in float32 where Keras compares in float32."""
    for case in cases:
        name = case["name"]
        kind, q = item(case["callback"])
        get = lambda key: arrays[f"{name}/{key}"]
        if kind == "LearningRateScheduler":
            report(
                name,
                "learning_rate",
                close([schedule_value(q["schedule"], e) for e in range(case["epochs"])], get("learning_rate")),
            )
            continue
        metric = q["monitor"].removeprefix("val_")
        up = q.get("mode", "auto") == "max" or (q.get("mode", "auto") == "auto" and metric in ("accuracy", "AUC"))
        delta = abs(q.get("min_delta", 1e-4 if kind == "ReduceLROnPlateau" else 0)) * (1 if up else -1)
        better = lambda v, ref: ref is None or bool(
            np.float32(v - delta) > np.float32(ref) if up else np.float32(v - delta) < np.float32(ref)
        )
        best, wait, waits, stopped, epoch = q.get("initial_value_threshold"), 0, [], False, -1
        if kind == "EarlyStopping":
            kept, best_epoch = None, 0
            for epoch, v in enumerate(case["values"]):
                if v is not None and epoch >= q.get("start_from_epoch", 0):
                    kept, best_epoch = (
                        (epoch, epoch) if kept is None and q.get("restore_best_weights") else (kept, best_epoch)
                    )
                    wait += 1
                    if better(v, best):
                        best, best_epoch = v, epoch
                        kept = epoch if kept is not None else None
                        if q.get("baseline") is None or better(v, q["baseline"]):
                            wait = 0
                    elif wait >= q.get("patience", 0) and epoch > 0:
                        stopped = True
                waits.append(wait)
                if stopped:
                    break
            got = [epoch + 1, stopped, best_epoch, epoch if kept is None else kept]
            report(
                name,
                "decision",
                close(got, [get(key) for key in ("epochs_run", "stopped", "best_epoch", "weights_of_epoch")]),
            )
            report(name, "wait", close(waits, get("wait")))
        elif kind == "ReduceLROnPlateau":
            rate, rates, cooling = np.float32(case["learning_rate"]), [], 0
            for v in case["values"]:
                if v is not None:
                    if cooling > 0:
                        cooling, wait = cooling - 1, 0
                    if better(v, best):
                        best, wait = v, 0
                    elif cooling == 0:
                        wait += 1
                        if wait >= q.get("patience", 10) and rate > np.float32(q.get("min_lr", 0.0)):
                            rate = np.float32(max(float(rate) * q.get("factor", 0.1), q.get("min_lr", 0.0)))
                            cooling, wait = q.get("cooldown", 0), 0
                rates.append(rate)
                waits.append(wait)
            report(name, "learning_rate", close(rates, get("learning_rate")))
            report(name, "wait", close(waits, get("wait")))
        else:
            saved, since = [], 0
            for v in case["values"]:
                for _ in range(case.get("batches", 0)):
                    since += 1
                    saved.append(since >= q["save_freq"])
                    since = 0 if saved[-1] else since
                if "batches" not in case:
                    take = not q.get("save_best_only") or v is None or better(v, best)
                    best = v if take and v is not None else best
                    saved.append(take)
            report(name, "saved", close(saved, get("saved")))


def check_featurespace(cases, arrays, report):
    """All columns but the hashed and the crossed ones, from the stored vocabularies, means and boundaries."""
    import csv
    import io

    for case in cases:
        name = case["name"]
        kind, q = item(case["layers"][0])
        if kind != "FeatureSpace" or not q:
            continue  # the bare form is NumPy's already
        for tag in ("train", "new"):
            if tag == "new" and case.get("new_is_error"):
                continue
            rows = list(csv.reader(io.StringIO(case[tag]), skipinitialspace=True))
            at = 0
            for column, width in case["columns"]:
                start, at = at, at + width
                if column not in q["features"]:
                    continue
                what, p = item(q["features"][column])
                texts = [row[rows[0].index(column)].strip() for row in rows[1:]]
                if "hashed" in what:
                    continue
                if "categorical" in what:
                    tokens = case["vocabulary"][column]
                    oov = p.get("num_oov_indices", 1)
                    known = {str(token): oov + i for i, token in enumerate(tokens[oov:])}
                    if oov > 1 and any(text not in known for text in texts) and what.startswith("string"):
                        continue  # several OOV slots for words: by hash
                    codes = [known[t] if t in known else int(t) % oov if oov > 1 else 0 for t in texts]
                else:
                    x = np.array(texts, np.float32)
                    if what == "float_discretized":
                        codes = np.searchsorted(arrays[f"{name}/boundaries/{column}"], x, side="right")
                if what.startswith("float") and what != "float_discretized":
                    want = x.astype(np.float64)
                    if what == "float_rescaled":
                        want = want * number(p.get("scale", 1.0)) + number(p.get("offset", 0.0))
                    elif what == "float_normalized":
                        train = list(csv.reader(io.StringIO(case["train"])))
                        fit = np.array([row[train[0].index(column)] for row in train[1:]], np.float64)
                        want = (want - fit.mean()) / max(fit.std(), EPS)
                    want = want[:, None]
                elif p.get("output_mode") == "int":
                    want = np.asarray(codes)[:, None]
                else:
                    want = np.eye(width)[np.asarray(codes, int)]
                whole = f"{name}/{tag}"
                got = arrays[whole][:, start:at] if whole in arrays.files else arrays[f"{whole}/{column}"]
                report(name, f"{tag}/{column}", close(want, got))


CHECKS = {
    "activations": [check_layers],
    "layers": [check_layers],
    "masks": [check_layers],
    "containers": [check_layers],
    "images": [check_layers],
    "warps": [check_warps],
    "losses": [check_losses],
    "metrics": [check_metrics],
    "optimizers": [check_optimizers],
    "schedules": [check_schedules],
    "regularizers": [check_weights, check_layers],
    "constraints": [check_weights],
    "initializers": [check_initializers],
    "models": [check_models],
    "callbacks": [check_callbacks],
    "featurespace": [check_featurespace],
}


def main(names):
    bad = 0
    for family in names or CHECKS:
        cases, arrays = load(family)
        tried, failed, seen = 0, [], set()

        def report(case, what, complaint):
            nonlocal tried
            tried += 1
            seen.add(case)
            if complaint:
                failed.append(f"  {family}/{case}: {what}: {complaint}")

        for check in CHECKS[family]:
            check(cases, arrays, report)
        print(f"{family}: {len(cases)} cases, {len(seen)} checked, {tried} comparisons, {len(failed)} failed")
        for line in failed:
            print(line)
        bad += len(failed)
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
