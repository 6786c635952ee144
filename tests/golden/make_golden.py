"""Makes the golden vectors: python make_golden.py [family ...]   (all families without arguments; --list names them)

Each family becomes NAME.yaml, the cases in dltrain's own syntax, and NAME.npz, the arrays that Keras gives for them. The
same script on the same versions and machine writes the same bytes. See README.md for the format.
"""

import argparse
import importlib
import importlib.metadata
import os
import platform
import subprocess
import sys
import time

GOLDEN = os.path.dirname(os.path.abspath(__file__))

# Which module makes which family, and on which backend it runs: a process has only one.
MODULES = {
    "activations": ("layers", "jax"),
    "layers": ("layers", "jax"),
    "masks": ("layers", "jax"),
    "containers": ("layers", "jax"),
    "images": ("images", "jax"),
    "warps": ("images", "jax"),
    "losses": ("losses", "jax"),
    "metrics": ("metrics", "jax"),
    "optimizers": ("optimizers", "jax"),
    "schedules": ("optimizers", "jax"),
    "regularizers": ("weights", "jax"),
    "constraints": ("weights", "jax"),
    "initializers": ("weights", "jax"),
    "models": ("models", "jax"),
    "mixed_bfloat16": ("models", "jax"),
    "callbacks": ("callbacks", "jax"),
    "featurespace": ("featurespace", "tensorflow"),
}


def environment(backend):
    """One thread and one code path, so that sums are always taken in the same order."""
    return {
        "KERAS_BACKEND": backend,
        "JAX_PLATFORMS": "cpu",
        "XLA_FLAGS": "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1",
        "CUDA_VISIBLE_DEVICES": "",
        "TF_CPP_MIN_LOG_LEVEL": "3",
        "TF_ENABLE_ONEDNN_OPTS": "0",
        "PYTHONHASHSEED": "0",
    }


def versions():
    """What decides about the bytes, as VERSIONS lists it."""
    packages = ("keras", "jax", "jaxlib", "numpy", "scipy", "ml_dtypes", "h5py", "tensorflow_cpu", "PyYAML")
    lines = [f"python {platform.python_version()}"] + [
        f"{name} {importlib.metadata.version(name)}" for name in packages
    ]
    return lines + [f"machine {platform.machine()}"]


def check_versions(any_version):
    with open(os.path.join(GOLDEN, "VERSIONS"), encoding="utf-8") as file:
        wanted = file.read().split("\n")
    other = [line for line in versions() if line not in wanted]
    if other:
        print(f"make_golden.py: not the versions of VERSIONS: {', '.join(other)}", file=sys.stderr)
    return any_version or not other


def make(names):
    """Makes families of one module in this process."""
    from families import common

    for name in names:
        began = time.time()
        module = importlib.import_module("families." + MODULES[name][0])
        family = module.FAMILIES[name]()
        if getattr(family, "write_yaml", True):
            with open(os.path.join(GOLDEN, name + ".yaml"), "w", encoding="utf-8", newline="\n") as file:
                file.write(common.dump(family))
        path = os.path.join(GOLDEN, name + ".npz")
        common.write_npz(path, family.arrays)
        size = os.path.getsize(path) + os.path.getsize(os.path.join(GOLDEN, name + ".yaml"))
        print(
            f"{name}: {len(family.cases)} cases, {len(family.arrays)} arrays, {size} bytes, {time.time() - began:.0f} s",
            flush=True,
        )


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("families", nargs="*", metavar="family", help="default: all")
    parser.add_argument("--list", action="store_true", help="print the names of the families")
    parser.add_argument("--any-version", action="store_true", help="go on with other versions than those in VERSIONS")
    parser.add_argument(
        "--here", action="store_true", help=argparse.SUPPRESS
    )  # the child: one module, environment set
    arguments = parser.parse_args()
    if arguments.list:
        print("\n".join(MODULES))
        return 0
    unknown = [name for name in arguments.families if name not in MODULES]
    if unknown:
        parser.error(f"no family '{unknown[0]}'; there are {', '.join(MODULES)}")
    names = arguments.families or list(MODULES)
    if arguments.here:
        make(names)
        return 0
    if not check_versions(arguments.any_version):
        return 2
    for module in dict.fromkeys(MODULES[name][0] for name in names):
        mine = [name for name in names if MODULES[name][0] == module]
        child = [sys.executable, os.path.abspath(__file__), "--here", *mine]
        done = subprocess.run(child, env={**os.environ, **environment(MODULES[mine[0]][1])}, cwd=GOLDEN)
        if done.returncode != 0:
            return done.returncode
    return 0


if __name__ == "__main__":
    sys.exit(main())
