"""The suite in JAX: one jitted step with donated buffers. See suite.py."""

import functools
import os
import sys

os.environ["JAX_PLATFORMS"] = "cpu"
import jax  # noqa: E402
import jax.numpy as jnp  # noqa: E402
from jax import lax, nn  # noqa: E402

import common  # noqa: E402


def conv(p, path, x, stride=1, padding="VALID"):
    y = lax.conv_general_dilated(x, p[path + "/0"], (stride, stride), padding, dimension_numbers=("NHWC", "HWIO", "NHWC"))
    return y + p[path + "/1"] if path + "/1" in p else y


def dense(p, path, x):
    return x @ p[path + "/0"] + p[path + "/1"]


def pool(x, start, combine):
    return lax.reduce_window(x, start, combine, (1, 2, 2, 1), (1, 2, 2, 1), "VALID")


def max_pool(x):
    return pool(x, -jnp.inf, lax.max)


def avg_pool(x):
    return pool(x, 0.0, lax.add) / 4


def batch_norm(p, path, x):
    x32 = x.astype(jnp.float32)
    mean = x32.mean((0, 1, 2))
    var = (x32**2).mean((0, 1, 2)) - mean**2
    return ((x32 - mean) * (lax.rsqrt(var + 1e-5) * p[path + "/0"]) + p[path + "/1"]).astype(x.dtype), (mean, var)


def layer_norm(p, path, x):
    x32 = x.astype(jnp.float32)
    mean = x32.mean(-1, keepdims=True)
    var = ((x32 - mean) ** 2).mean(-1, keepdims=True)
    return ((x32 - mean) * lax.rsqrt(var + 1e-5) * p[path + "/0"] + p[path + "/1"]).astype(x.dtype)


def drop(key, rate, x):
    if rate == 0:
        return x
    return jnp.where(jax.random.bernoulli(key, 1 - rate, x.shape), x / (1 - rate), 0)


def resnet(p, x, stats):
    def norm(path, x):
        y, now = batch_norm(p, path, x)
        for i, value in zip((2, 3), now):
            stats[f"{path}/{i}"] = 0.9 * p[f"{path}/{i}"] + 0.1 * value
        return y
    x = nn.relu(norm("batch_normalization", conv(p, "conv2d", x, 1, "SAME")))
    for i in range(8):
        at, stride = "residual" + (f"_{i}" if i else ""), 2 if i in (2, 4, 6) else 1
        y = nn.relu(norm(at + "/main/batch_normalization", conv(p, at + "/main/conv2d", x, stride, "SAME")))
        y = norm(at + "/main/batch_normalization_1", conv(p, at + "/main/conv2d_1", y, 1, "SAME"))
        if stride != 1:
            x = norm(at + "/shortcut/batch_normalization", conv(p, at + "/shortcut/conv2d", x, stride, "SAME"))
        x = nn.relu(x + y)
    return dense(p, "dense", x.mean((1, 2)))


def lstm(p, x, unroll):
    kernel, recurrent, bias = (p[f"lstm/cell/{i}"] for i in range(3))
    inputs = (x @ kernel + bias).transpose(1, 0, 2)
    zero = jnp.zeros((x.shape[0], recurrent.shape[0]), x.dtype)

    def cell(state, z):
        h, c = state
        i, f, g, o = jnp.split(z + h @ recurrent, 4, axis=-1)
        c = nn.sigmoid(f) * c + nn.sigmoid(i) * jnp.tanh(g)
        return (nn.sigmoid(o) * jnp.tanh(c), c), None
    return lax.scan(cell, (zero, zero), inputs, unroll=unroll)[0][0]


def gru(p, x, unroll):
    kernel, recurrent, bias = (p[f"gru/cell/{i}"] for i in range(3))
    inputs = (x @ kernel + bias[0]).transpose(1, 0, 2)
    zero = jnp.zeros((x.shape[0], recurrent.shape[0]), x.dtype)

    def cell(h, z):
        zu, zr, zn = jnp.split(z, 3, axis=-1)
        hu, hr, hn = jnp.split(h @ recurrent + bias[1], 3, axis=-1)
        u = nn.sigmoid(zu + hu)
        n = jnp.tanh(zn + nn.sigmoid(zr + hr) * hn)
        return u * h + (1 - u) * n, None
    return lax.scan(cell, zero, inputs, unroll=unroll)[0]


def gpt(p, x, rate, key):
    names = sorted({k.split("/")[2] for k in p if k.startswith("repeat/")}, key=lambda n: int(n.split("_")[1]) if "_" in n else 0)
    keys = jax.random.split(key, 2 * len(names) + 1)
    table = p["reversible_embedding/0"]
    h = drop(keys[0], rate, table[x] + p["position_embedding/0"][: x.shape[1]])
    for i, name in enumerate(names):
        at = f"repeat/blocks/{name}/residual/main/"
        n = layer_norm(p, at + "layer_normalization", h)
        q, k, v = (jnp.einsum("btd,dhk->bthk", n, p[f"{at}multi_head_attention/{s}_dense/0"]) +
                   p[f"{at}multi_head_attention/{s}_dense/1"] for s in ("query", "key", "value"))
        y = nn.dot_product_attention(q, k, v, is_causal=True)
        y = jnp.einsum("bthk,hkd->btd", y, p[at + "multi_head_attention/output_dense/0"]) + p[at + "multi_head_attention/output_dense/1"]
        h = h + drop(keys[2 * i + 1], rate, y)
        at = f"repeat/blocks/{name}/residual_1/main/"
        y = dense(p, at + "dense_1", nn.gelu(dense(p, at + "dense", layer_norm(p, at + "layer_normalization", h)), approximate=False))
        h = h + drop(keys[2 * i + 2], rate, y)
    return layer_norm(p, "layer_normalization", h) @ table.T


def forward(name, p, x, key, dropout, stats, unroll):
    if name in ("mlp-small", "mlp", "higgs", "autoencoder"):
        act, rate = jnp.tanh if name == "higgs" else nn.relu, 0.2 if name == "mlp" and dropout else 0
        last = sum(k.endswith("/0") for k in p) - 1
        for i in range(last):
            x = drop(jax.random.fold_in(key, i), rate, act(dense(p, "dense" + (f"_{i}" if i else ""), x)))
        return dense(p, f"dense_{last}", x)
    if name == "lenet5":
        x = avg_pool(jnp.tanh(conv(p, "conv2d", x, 1, "SAME")))
        x = avg_pool(jnp.tanh(conv(p, "conv2d_1", x))).reshape(len(x), -1)
        return dense(p, "dense_2", jnp.tanh(dense(p, "dense_1", jnp.tanh(dense(p, "dense", x)))))
    if name == "mnist-cnn":
        x = max_pool(nn.relu(conv(p, "conv2d", x)))
        x = max_pool(nn.relu(conv(p, "conv2d_1", x))).reshape(len(x), -1)
        return dense(p, "dense", drop(key, 0.5 if dropout else 0, x))
    if name == "resnet18":
        return resnet(p, x, stats)
    if name in ("lstm", "gru"):
        return dense(p, "dense", (lstm if name == "lstm" else gru)(p, p["embedding/0"][x], unroll))
    return gpt(p, x, {"char-gpt": 0.2, "gpt2": 0.1}[name] if dropout else 0, key)


def loss_of(name, z, y):
    z = z.astype(jnp.float32)
    if name in ("higgs", "autoencoder"):
        return (jnp.maximum(z, 0) - z * y + jnp.log1p(jnp.exp(-jnp.abs(z)))).mean()
    return -jnp.take_along_axis(nn.log_softmax(z), y[..., None], axis=-1).mean()


class Peer:
    def __init__(self, name, folder, settings):
        self.name, self.folder, self.settings = name, folder, settings
        self.batches = [(jnp.asarray(x), jnp.asarray(y)) for x, y in common.read_data(name, folder)]
        self.step, self.state, self.at = self.make(True), self.begin(), 0

    def begin(self):
        p = {k: jnp.asarray(v) for k, v in common.read_weights(self.name, self.folder).items()}
        zeros = jax.tree.map(jnp.zeros_like, p)
        return p, zeros, jax.tree.map(jnp.zeros_like, p), jnp.zeros((), jnp.int32)

    def make(self, dropout):
        name, unroll = self.name, self.settings.get("unroll", 1)
        bf16 = self.settings.get("precision") == "bf16"
        sgd = name in ("mlp-small", "higgs", "lenet5", "resnet18")
        rate, epsilon = {"mlp-small": (0.01, 0), "gpt2": (1e-4, 1e-8), "char-gpt": (1e-3, 1e-8)}.get(name, (0.05, 0) if sgd else (1e-3, 1e-7))

        def loss(p, x, y, key):
            stats = {}
            if bf16:
                p = {k: v if "norm" in k else v.astype(jnp.bfloat16) for k, v in p.items()}
                x = x.astype(jnp.bfloat16) if x.dtype == jnp.float32 else x
            return loss_of(name, forward(name, p, x, key, dropout, stats, unroll), y), stats

        @functools.partial(jax.jit, donate_argnums=0)
        def step(state, x, y):
            p, m, v, t = state
            key = jax.random.fold_in(jax.random.key(1), t) if dropout else jax.random.key(1)
            (value, stats), g = jax.value_and_grad(loss, has_aux=True)(p, x, y, key)
            t = t + 1
            if sgd:
                momentum = 0 if name == "mlp-small" else 0.9
                m = jax.tree.map(lambda m, g: momentum * m - rate * g, m, g)
                p = jax.tree.map(jnp.add, p, m)
            else:
                size = rate * jnp.sqrt(1 - 0.999**t) / (1 - 0.9**t)
                m = jax.tree.map(lambda m, g: 0.9 * m + 0.1 * g, m, g)
                v = jax.tree.map(lambda v, g: 0.999 * v + 0.001 * g * g, v, g)
                p = jax.tree.map(lambda p, m, v: p - size * m / (jnp.sqrt(v) + epsilon), p, m, v)
            return ({**p, **stats}, m, v, t), value
        return step

    def losses(self, steps):
        step, state, found = self.make(False), self.begin(), []
        for i in range(steps):
            state, value = step(state, *self.batches[i % len(self.batches)])
            found.append(value.item())
        return found

    def run(self, steps):
        value = None
        for _ in range(steps):
            self.state, value = self.step(self.state, *self.batches[self.at % len(self.batches)])
            self.at += 1
        value.block_until_ready()


if __name__ == "__main__":
    sys.path.insert(0, str(common.HERE))
    common.serve(Peer)
