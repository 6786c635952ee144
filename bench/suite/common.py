"""What the programs of bench/suite share: the models, their data, their first weights, and how a peer is talked to."""

import json
import pathlib
import sys
import time

import h5py
import numpy as np

HERE = pathlib.Path(__file__).resolve().parent
BATCHES = 60  # of data; the eleventh and later steps of a model with fewer see them again

# name: batch, shape of a sample, what a label is. Texts give the number of tokens.
MODELS = {
    "mlp-small": dict(batch=32, shape=(784,), classes=10),
    "mlp": dict(batch=128, shape=(784,), classes=10),
    "higgs": dict(batch=100, shape=(28,), classes=0),
    "autoencoder": dict(batch=128, shape=(784,), classes=-1),
    "lenet5": dict(batch=64, shape=(28, 28, 1), classes=10),
    "mnist-cnn": dict(batch=128, shape=(28, 28, 1), classes=10),
    "resnet18": dict(batch=128, shape=(32, 32, 3), classes=10),
    "lstm": dict(batch=64, shape=(100,), tokens=1000, classes=10),
    "gru": dict(batch=64, shape=(100,), tokens=1000, classes=10),
    "char-gpt": dict(batch=8, shape=(256,), tokens=65),
    "gpt2": dict(batch=1, shape=(256,), tokens=50257),
}


def config(name):
    return HERE / "models" / f"{name}.yaml"


def words(name, dropout, bf16):
    """Overrides for dltrain."""
    off = [] if dropout or "dropout:" not in config(name).read_text(encoding="utf-8") else ["-o", "vars.dropout=0"]
    return off + (["-o", "precision=mixed_bfloat16"] if bf16 else [])


def make_data(name, folder):
    """Samples that can be learned: classes of a random linear map, tokens of a random walk."""
    path = folder / f"{name}.npz"
    if path.exists():
        return
    about = MODELS[name]
    rng = np.random.default_rng(7)
    count = BATCHES * about["batch"]
    if "tokens" in about:
        length, tokens = about["shape"][0], about["tokens"]
        walk = rng.integers(0, tokens, (count, 1)) + np.cumsum(rng.integers(0, 4, (count, length + 1)), axis=1)
        walk = (walk % tokens).astype("int32")
        x = walk[:, :-1]
        y = walk[:, 1:] if "classes" not in about else (walk[:, 0] * about["classes"] // tokens).astype("int32")
    else:
        x = rng.random((count, *about["shape"]), dtype="float32")
        flat = (x - 0.5).reshape(count, -1)
        if about["classes"] > 0:
            y = np.argmax(flat @ rng.standard_normal((flat.shape[1], about["classes"]), dtype="float32"), axis=1).astype("int32")
        elif about["classes"] == 0:
            y = (flat @ rng.standard_normal((flat.shape[1], 1), dtype="float32") > 0).astype("float32")
        else:
            y = x
    np.savez(path, x=np.ascontiguousarray(x), y=np.ascontiguousarray(y))


def read_data(name, folder):
    """Batches [(x, y)], in the order in which all take them."""
    with np.load(folder / f"{name}.npz") as data:
        x, y = data["x"], data["y"]
    batch = MODELS[name]["batch"]
    return [(x[i : i + batch], y[i : i + batch]) for i in range(0, len(x), batch)]


def first_weights(checkpoint, weights):
    """Of a checkpoint after a step of size 0: what it began with, as Keras keeps weights, without optimizer and the like."""
    with h5py.File(checkpoint) as source, h5py.File(weights, "w") as to:
        source.copy("layers", to)

        def begin(name, node):
            if isinstance(node, h5py.Dataset) and "batch_normalization" in name.split("/")[-3]:
                if name.endswith(("vars/2", "vars/3")):  # moving mean and variance
                    node[...] = 0 if name.endswith("vars/2") else 1
        to.visititems(begin)


def read_weights(name, folder):
    """{path without 'layers' and 'vars': array}: 'dense/0', 'residual/main/conv2d/0'."""
    found = {}
    with h5py.File(folder / f"{name}.weights.h5") as f:
        def take(path, node):
            if isinstance(node, h5py.Dataset):
                found["/".join(p for p in path.split("/") if p not in ("layers", "vars"))] = node[...]
        f.visititems(take)
    return found


def serve(make):
    """Answers commands, one JSON object a line. argv: name, folder, settings as JSON; make(name, folder, settings) -> peer with
    losses(n) and run(n), which runs n steps with dropout. Begins with the seconds that the first step took from `began` on."""
    name, folder, settings = sys.argv[1], pathlib.Path(sys.argv[2]), json.loads(sys.argv[3])
    peer = make(name, folder, settings)
    peer.run(1)

    def answer(**values):
        print("PEER " + json.dumps(values), flush=True)
    answer(started=time.time())
    for line in sys.stdin:
        command = json.loads(line)
        if command["do"] == "losses":
            answer(losses=[float(x) for x in peer.losses(command["steps"])])
        elif command["do"] == "time":
            peer.run(command.get("warm", 2))
            start = time.perf_counter()
            peer.run(command["steps"])
            seconds = (time.perf_counter() - start) / command["steps"]
            answer(seconds=getattr(peer, "seconds", seconds))  # a peer may know better what belongs to its steps
        elif command["do"] == "memory":
            with open("/proc/self/status", encoding="ascii") as f:
                answer(bytes=next(1024 * int(line.split()[1]) for line in f if line.startswith("VmHWM")))
