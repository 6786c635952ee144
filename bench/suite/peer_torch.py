"""The suite in PyTorch, eager or compiled. See suite.py."""

import os
import sys

os.environ.setdefault("TORCHINDUCTOR_FX_GRAPH_CACHE", "1")
import numpy as np  # noqa: E402
import torch  # noqa: E402
from torch import nn  # noqa: E402
from torch.nn import functional as F  # noqa: E402

import common  # noqa: E402


def put(parameter, array):
    with torch.no_grad():
        parameter.copy_(torch.from_numpy(np.ascontiguousarray(array)))


def dense(w, path, flattened=None):
    """flattened: (height, width, channels) that Keras flattened in this order; PyTorch has channels first."""
    kernel = w[path + "/0"]
    if flattened is not None:
        kernel = kernel.reshape(*flattened, -1).transpose(2, 0, 1, 3).reshape(kernel.shape)
    layer = nn.Linear(*kernel.shape)
    put(layer.weight, kernel.T)
    put(layer.bias, w[path + "/1"])
    return layer


def conv(w, path, stride=1, padding=0):
    kernel = w[path + "/0"].transpose(3, 2, 0, 1)
    bias = path + "/1" in w
    layer = nn.Conv2d(kernel.shape[1], kernel.shape[0], kernel.shape[2:], stride, padding, bias=bias)
    put(layer.weight, kernel)
    if bias:
        put(layer.bias, w[path + "/1"])
    return layer


def norm2d(w, path):
    layer = nn.BatchNorm2d(len(w[path + "/0"]), eps=1e-5, momentum=0.1)
    put(layer.weight, w[path + "/0"])
    put(layer.bias, w[path + "/1"])
    return layer


def norm(w, path):
    layer = nn.LayerNorm(len(w[path + "/0"]), eps=1e-5)
    put(layer.weight, w[path + "/0"])
    put(layer.bias, w[path + "/1"])
    return layer


class Block(nn.Module):
    def __init__(self, w, path, stride):
        super().__init__()
        self.stride = stride
        self.conv1 = conv(w, path + "/main/conv2d", stride, 1 if stride == 1 else 0)
        self.norm1 = norm2d(w, path + "/main/batch_normalization")
        self.conv2 = conv(w, path + "/main/conv2d_1", 1, 1)
        self.norm2 = norm2d(w, path + "/main/batch_normalization_1")
        self.way = None
        if stride != 1:
            self.way = nn.Sequential(conv(w, path + "/shortcut/conv2d", stride), norm2d(w, path + "/shortcut/batch_normalization"))

    def forward(self, x):
        # "same" of Keras pads an even size behind only
        y = F.relu(self.norm1(self.conv1(x if self.stride == 1 else F.pad(x, (0, 1, 0, 1)))))
        return F.relu(self.norm2(self.conv2(y)) + (x if self.way is None else self.way(x)))


class Recurrent(nn.Module):
    def __init__(self, w, kind):
        super().__init__()
        path = kind.lower()
        self.embedding = nn.Embedding(*w["embedding/0"].shape)
        put(self.embedding.weight, w["embedding/0"])
        kernel, recurrent, bias = w[path + "/cell/0"], w[path + "/cell/1"], w[path + "/cell/2"]
        units = recurrent.shape[0]
        self.layer = getattr(nn, kind)(kernel.shape[0], units, batch_first=True)
        if kind == "LSTM":  # gates in Keras' order; one bias there, so the other one stays 0
            put(self.layer.bias_ih_l0, bias)
            put(self.layer.bias_hh_l0, np.zeros_like(bias))
            self.layer.bias_hh_l0.requires_grad_(False)
        else:  # Keras: update, reset, new; PyTorch: reset, update, new
            order = np.r_[units : 2 * units, :units, 2 * units : 3 * units]
            kernel, recurrent, bias = kernel[:, order], recurrent[:, order], bias[:, order]
            put(self.layer.bias_ih_l0, bias[0])
            put(self.layer.bias_hh_l0, bias[1])
        put(self.layer.weight_ih_l0, kernel.T)
        put(self.layer.weight_hh_l0, recurrent.T)
        self.top = dense(w, "dense")

    def forward(self, x):
        return self.top(self.layer(self.embedding(x))[0][:, -1])


class GptBlock(nn.Module):
    def __init__(self, w, path, drop):
        super().__init__()
        at = path + "/residual/main/"
        self.norm1 = norm(w, at + "layer_normalization")
        parts = [w[f"{at}multi_head_attention/{k}_dense/0"] for k in ("query", "key", "value")]
        biases = [w[f"{at}multi_head_attention/{k}_dense/1"] for k in ("query", "key", "value")]
        self.width, self.heads, _ = parts[0].shape
        self.qkv = nn.Linear(self.width, 3 * self.width)
        put(self.qkv.weight, np.concatenate([p.reshape(self.width, -1) for p in parts], axis=1).T)
        put(self.qkv.bias, np.concatenate([b.reshape(-1) for b in biases]))
        self.out = nn.Linear(self.width, self.width)
        put(self.out.weight, w[at + "multi_head_attention/output_dense/0"].reshape(-1, self.width).T)
        put(self.out.bias, w[at + "multi_head_attention/output_dense/1"])
        at = path + "/residual_1/main/"
        self.norm2 = norm(w, at + "layer_normalization")
        self.up, self.down = dense(w, at + "dense"), dense(w, at + "dense_1")
        self.drop = nn.Dropout(drop)

    def forward(self, x):
        batch, length, _ = x.shape
        q, k, v = (t.view(batch, length, self.heads, -1).transpose(1, 2) for t in self.qkv(self.norm1(x)).split(self.width, dim=2))
        y = F.scaled_dot_product_attention(q, k, v, is_causal=True).transpose(1, 2).reshape(batch, length, self.width)
        x = x + self.drop(self.out(y))
        return x + self.drop(self.down(F.gelu(self.up(self.norm2(x)))))


class Gpt(nn.Module):
    def __init__(self, w, drop):
        super().__init__()
        self.tokens = nn.Parameter(torch.from_numpy(w["reversible_embedding/0"].copy()))
        self.places = nn.Parameter(torch.from_numpy(w["position_embedding/0"].copy()))
        self.drop = nn.Dropout(drop)
        names = sorted({p.split("/")[2] for p in w if p.startswith("repeat/")}, key=lambda n: int(n.split("_")[1]) if "_" in n else 0)
        self.blocks = nn.ModuleList(GptBlock(w, "repeat/blocks/" + n, drop) for n in names)
        self.norm = norm(w, "layer_normalization")

    def forward(self, x):
        x = self.drop(F.embedding(x, self.tokens) + self.places[: x.shape[1]])
        for block in self.blocks:
            x = block(x)
        return self.norm(x) @ self.tokens.T


def build(name, w, dropout):
    def drop(rate):
        return nn.Dropout(rate if dropout else 0)
    if name in ("mlp-small", "mlp", "higgs", "autoencoder"):
        layers = [dense(w, "dense" + (f"_{i}" if i else "")) for i in range(sum(p.endswith("/0") for p in w))]
        between = [nn.ReLU()] if name in ("mlp-small", "autoencoder") else [nn.Tanh()] if name == "higgs" else [nn.ReLU(), drop(0.2)]
        return nn.Sequential(*[m for layer in layers[:-1] for m in [layer, *between]], layers[-1])
    if name == "lenet5":
        return nn.Sequential(conv(w, "conv2d", 1, 2), nn.Tanh(), nn.AvgPool2d(2), conv(w, "conv2d_1"), nn.Tanh(), nn.AvgPool2d(2),
                             nn.Flatten(), dense(w, "dense", (5, 5, 16)), nn.Tanh(), dense(w, "dense_1"), nn.Tanh(), dense(w, "dense_2"))
    if name == "mnist-cnn":
        return nn.Sequential(conv(w, "conv2d"), nn.ReLU(), nn.MaxPool2d(2), conv(w, "conv2d_1"), nn.ReLU(), nn.MaxPool2d(2),
                             nn.Flatten(), drop(0.5), dense(w, "dense", (5, 5, 64)))
    if name == "resnet18":
        blocks = [Block(w, "residual" + (f"_{i}" if i else ""), 2 if i in (2, 4, 6) else 1) for i in range(8)]
        return nn.Sequential(conv(w, "conv2d", 1, 1), norm2d(w, "batch_normalization"), nn.ReLU(), *blocks,
                             nn.AdaptiveAvgPool2d(1), nn.Flatten(), dense(w, "dense"))
    if name in ("lstm", "gru"):
        return Recurrent(w, name.upper())
    return Gpt(w, {"char-gpt": 0.2, "gpt2": 0.1}[name] if dropout else 0)


def loss_of(name, logits, y):
    if name in ("higgs", "autoencoder"):
        return F.binary_cross_entropy_with_logits(logits, y)
    return F.cross_entropy(logits.reshape(-1, logits.shape[-1]), y.reshape(-1))


class Peer:
    def __init__(self, name, folder, settings):
        torch.set_num_threads(settings["threads"])
        self.name, self.folder, self.settings = name, folder, settings
        self.last = settings.get("channels_last", False) and len(common.MODELS[name]["shape"]) == 3
        self.bf16 = settings.get("precision") == "bf16"
        self.batches = [self.batch(x, y) for x, y in common.read_data(name, folder)]
        self.step, self.at = self.make(True), 0

    def batch(self, x, y):
        x, y = torch.from_numpy(x.copy()), torch.from_numpy(y.copy())
        if x.dtype == torch.float32 and x.ndim == 4:
            x = x.permute(0, 3, 1, 2)
            x = x.contiguous(memory_format=torch.channels_last if self.last else torch.contiguous_format)
        return (x.long() if x.dtype == torch.int32 else x), (y.long() if y.dtype == torch.int32 else y)

    def make(self, dropout):
        torch.manual_seed(1)
        model = build(self.name, common.read_weights(self.name, self.folder), dropout).train()
        if self.last:
            model = model.to(memory_format=torch.channels_last)
        weights = [p for p in model.parameters() if p.requires_grad]
        fused = self.settings.get("fused", False)
        if self.name in ("mlp-small", "higgs", "lenet5", "resnet18"):
            optimizer = torch.optim.SGD(weights, lr=0.01 if self.name == "mlp-small" else 0.05,
                                        momentum=0 if self.name == "mlp-small" else 0.9, fused=fused)
        else:
            rate, epsilon = {"gpt2": (1e-4, 1e-8), "char-gpt": (1e-3, 1e-8)}.get(self.name, (1e-3, 1e-7))
            optimizer = torch.optim.Adam(weights, lr=rate, eps=epsilon, fused=fused)

        def forward(x, y):
            with torch.autocast("cpu", dtype=torch.bfloat16, enabled=self.bf16):
                return loss_of(self.name, model(x), y) if not self.bf16 else loss_of(self.name, model(x).float(), y)
        mode = self.settings.get("compile")
        if mode:
            forward = torch.compile(forward, mode=None if mode == "default" else mode)

        steps = 0

        def step(x, y):
            nonlocal steps
            optimizer.zero_grad(set_to_none=True)
            loss = forward(x, y)
            loss.backward()
            if not dropout and "eps" in optimizer.defaults:  # where losses are compared: Keras adds epsilon before the correction of v, PyTorch behind it
                steps += 1
                optimizer.param_groups[0]["eps"] = epsilon / (1 - 0.999**steps) ** 0.5
            optimizer.step()
            return loss.detach()
        return step

    def losses(self, steps):
        step = self.make(False)
        return [step(*self.batches[i % len(self.batches)]).item() for i in range(steps)]

    def run(self, steps):
        for _ in range(steps):
            self.step(*self.batches[self.at % len(self.batches)])
            self.at += 1


if __name__ == "__main__":
    sys.path.insert(0, str(common.HERE))
    common.serve(Peer)
