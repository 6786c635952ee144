"""Reads the checkpoint that tests/unit/test_checkpoint.c writes, with h5py. Exit status 77: h5py is not here."""
import hashlib
import sys

try:
    import h5py
    import numpy as np
except ImportError:
    sys.exit(77)

with h5py.File(sys.argv[1], "r") as f:
    assert f["layers/dense/vars"].attrs["name"] == "gr\u00fc\u00df"
    kernel = f["layers/dense/vars/0"]
    assert kernel.dtype == np.dtype("<f4") and kernel.shape == (2, 3) and kernel.chunks is None
    assert kernel[...].tolist() == [[1, 2, 3], [4, 5, -0.5]]
    assert len(f["layers/flatten/vars"]) == 0 and f["layers/flatten/vars"].attrs["name"] == "flatten"
    brain = f["layers/lstm/cell/vars/0"]
    assert brain.attrs["dtype"] == "bfloat16" and brain[...].tobytes() == bytes([0x80, 0x3F, 0x40, 0xC0])
    assert f["layers/lstm/cell/vars/1"].dtype == np.float16 and f["layers/lstm/cell/vars/1"][0] == 1
    assert f["optimizer/vars/0"].shape == () and f["optimizer/vars/0"][()] == 42
    assert f["optimizer/vars"].attrs["name"] == "adam" and f["vars"].attrs["name"] == "m"
    assert f["dltrain/config"][...].tobytes().decode().startswith("name: m\n")
    manifest = f["dltrain/manifest"][...].tobytes()
    assert hashlib.sha256(manifest).digest() == f["dltrain/manifest_sha256"][...].tobytes()
    lines = manifest.decode().splitlines()
    assert lines[0] == "dltrain checkpoint 1"
    listed = 0
    for line in lines[1:]:
        fields = line.split("\t")
        if fields[0] == "dataset":
            data = f[fields[1]]
            assert list(data.shape) == eval(fields[3])
            assert hashlib.sha256(data[...].tobytes()).hexdigest() == fields[4]
            listed += 1
    assert listed == 9
print("h5py", h5py.__version__, "reads it")
