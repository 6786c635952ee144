"""Models that train in a blink and whose checkpoints have few bytes, with their data: for sweeps over damaged files and for
the seeds of tests/fuzz/fuzz_checkpoint.c. Everything that a checkpoint can hold is in one of them."""
import struct

TABLE = """name: table
data:
  train: {CSV: {path: table.csv, header: true, target: kind}}
layers:
  - FeatureSpace: {features: {size: float_normalized, colour: string_categorical, weight: float_discretized}}
  - Dense: {units: 4, activation: relu}
  - Dense: {units: 3, activation: softmax}
optimizer: {Adam: {learning_rate: 0.01}}
loss: sparse_categorical_crossentropy
metrics: [accuracy]
fit: {epochs: 3, batch_size: 8, callbacks: [EarlyStopping: {monitor: loss, patience: 5, restore_best_weights: true}]}
"""
VECTORS = """name: vectors
data:
  train: {NPY: {features: x.npy, labels: y.npy}}
layers:
  - Dense: {units: 5}
  - BatchNormalization
  - Dropout: {rate: 0.2}
  - Dense: {units: 2, activation: softmax}
optimizer: {SGD: {learning_rate: {CosineDecay: {initial_learning_rate: 0.1, decay_steps: 20}}, momentum: 0.9}}
loss: sparse_categorical_crossentropy
fit: {epochs: 3, batch_size: 8, callbacks: [TerminateOnNaN]}
"""
LETTERS = """name: letters
data:
  train: {Text: {path: letters.txt, sequence_length: 6}}
layers:
  - Embedding: {input_dim: 5, output_dim: 3}
  - GRU: {units: 4, return_sequences: true}
  - Dense: {units: 5, activation: softmax}
optimizer: RMSprop
loss: sparse_categorical_crossentropy
fit: {epochs: 3, batch_size: 8}
"""


def npy(path, descr, shape, values):
    head = f"{{'descr': '{descr}', 'fortran_order': False, 'shape': {shape}, }}"
    head += " " * (117 - len(head)) + "\n"
    path.write_bytes(b"\x93NUMPY\x01\x00" + struct.pack("<H", len(head)) + head.encode()
                     + struct.pack("<%d%s" % (len(values), {"<f4": "f", "<i4": "i"}[descr]), *values))


def write(folder):
    """Data and model files; gives [(model file, rows that predict takes), ...]."""
    colours = ["red", "green", "blue", "gr\u00fcn, hell"]
    rows = [f'{i % 7}.{i % 10},"{colours[i % 4]}",{i * i % 11},{"abc"[i % 3]}\n' for i in range(24)]
    (folder / "table.csv").write_text("size,colour,weight,kind\n" + "".join(rows), encoding="utf-8")
    (folder / "rows.csv").write_text("size,colour,weight\n1.5,red,3\n,violet,\n7,blue,1e9\n")
    npy(folder / "x.npy", "<f4", (24, 3), [(i * 37 % 19) / 7 for i in range(72)])
    npy(folder / "y.npy", "<i4", (24,), [i % 2 for i in range(24)])
    npy(folder / "rows.npy", "<f4", (2, 3), [1, 2, 3, -4, 5e9, 0.25])
    (folder / "letters.txt").write_text("abcdea" * 12)
    (folder / "rows.txt").write_text("abcabcedcbaa")
    for name, text in (("table", TABLE), ("vectors", VECTORS), ("letters", LETTERS)):
        (folder / f"{name}.yaml").write_text(text)
    return [(folder / "table.yaml", folder / "rows.csv"), (folder / "vectors.yaml", folder / "rows.npy"),
            (folder / "letters.yaml", folder / "rows.txt")]
