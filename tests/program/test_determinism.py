"""The same bits with 1, 2, 3 and 4 threads on each instruction set, with any number of threads that read ahead, from memory and
from a cache file; nearly the same losses on all instruction sets (decisions 19, 20)."""
import random

from support import Program, info, main, metrics, shipped, weights

# Batches of 24 and 13 rows do not divide the data: the last batch of an epoch has a program of its own.
LSTM = """
name: lstm
seed: 3
data:
  train: {Synthetic: {task: sequence, samples: 110, shape: [12], classes: 11, noise: 0.1}}
  validation: {split: 0.2}
layers:
  - Embedding: {input_dim: 11, output_dim: 16, mask_zero: true}
  - Bidirectional: {layer: {LSTM: {units: 24, return_sequences: true, recurrent_dropout: 0.1}}}
  - GRU: {units: 20, return_sequences: true}
  - LSTM: {units: 16, return_sequences: true, go_backwards: true}
  - Dense: {units: 11}
optimizer: {RMSprop: {learning_rate: 5e-3}}
loss: {SparseCategoricalCrossentropy: {from_logits: true}}
metrics: [accuracy]
fit: {epochs: 2, batch_size: 24}
"""
TRANSFORMER = """
name: transformer
seed: 4
data:
  train: {Synthetic: {task: sequence, samples: 70, shape: [16], classes: 19, noise: 0.1}}
  validation: {split: 0.2}
layers:
  - ReversibleEmbedding: {name: tokens, input_dim: 19, output_dim: 48}
  - PositionEmbedding: {sequence_length: 16}
  - Residual:
      layers:
        - LayerNormalization
        - MultiHeadAttention: {num_heads: 3, key_dim: 16, causal: true}
        - Dropout: {rate: 0.1}
  - Residual:
      layers:
        - LayerNormalization
        - Dense: {units: 96, activation: gelu}
        - Dense: {units: 48}
        - Dropout: {rate: 0.1}
  - LayerNormalization
  - Reuse: {layer: tokens, reverse: true}
optimizer: {AdamW: {learning_rate: 2e-3, weight_decay: 0.01, global_clipnorm: 1.0}}
loss: {SparseCategoricalCrossentropy: {from_logits: true}}
metrics: [accuracy]
fit: {epochs: 2, batch_size: 13}
"""
TABLE = """
name: table
seed: 5
data:
  train: {CSV: {path: table.csv, target: grade}}
  validation: {split: {fraction: 0.2, shuffle: true, stratify: true}}
layers:
  - FeatureSpace
  - Dense: {units: 64, activation: relu}
  - BatchNormalization
  - Dropout: {rate: 0.2}
  - Dense: {units: 32, activation: tanh}
  - Dense: {units: 3, activation: softmax}
optimizer: {SGD: {learning_rate: 0.05, momentum: 0.9, nesterov: true}}
loss: sparse_categorical_crossentropy
metrics: [accuracy]
fit: {epochs: 2, batch_size: 32, class_weight: balanced}
"""


def table(rows):
    """A table with numbers, integers, words, and holes."""
    r = random.Random(9)
    lines = ["area,rooms,colour,age,grade"]
    for _ in range(rows):
        area, rooms = r.gauss(80, 30), r.randrange(1, 20)
        colour = r.choice(["red", "green", "blue", "dark blue", ""])
        age = "" if r.random() < 0.1 else str(r.randrange(100))
        grade = "good" if area + rooms > 110 else "fair" if colour in ("red", "blue") else "poor"
        lines.append(f"{area:.3f},{rooms},{colour},{age},{grade}")
    return "\n".join(lines) + "\n"


class Determinism(Program):
    def model(self, name):
        if name == "digits-cnn":
            return shipped("digits-cnn.yaml"), ("-o", "fit.steps_per_epoch=10", "-o", "fit.epochs=2")
        if name == "table":
            self.file("table.csv", table(300))
        text = {"lstm": LSTM, "transformer": TRANSFORMER, "table": TABLE}[name]
        return self.file(name + ".yaml", text), ()

    def equal_for_every_thread_count(self, name, *more):
        model, words = self.model(name)
        words += more
        initial = None
        for isa in self.instruction_sets():
            runs = [self.fit(model, "--isa", isa, "--threads", n, *words) for n in (1, 2, 3, 4)]
            for n, run in enumerate(runs, 1):
                self.assertIn("cpu " + isa, info(run)["device"])
                self.assertEqual(weights(run), weights(runs[0]), f"{name}, {isa}: weights with {n} threads and with 1")
                self.assertEqual((run / "metrics.jsonl").read_bytes(), (runs[0] / "metrics.jsonl").read_bytes(),
                                 f"{name}, {isa}: losses and metrics with {n} threads and with 1")
            initial = initial or weights(self.fit(model, *words, "-o", "optimizer.learning_rate=0"))
            self.assertNotEqual(weights(runs[0]), initial, "nothing was trained")

    def close_on_every_instruction_set(self, name, *more, tolerance=1e-5):
        """20 steps, each an epoch of its own, so that each step's loss is logged."""
        sets = self.instruction_sets()
        if len(sets) < 2:
            self.skipTest("this machine has plain kernels only")
        model, words = self.model(name)
        words += more
        losses = {}
        for isa in sets:
            run = self.fit(model, "--isa", isa, *words, "-o", "fit.epochs=20", "-o", "fit.steps_per_epoch=1",
                           "-o", "fit.callbacks=[]", "-o", "data.validation=null")
            losses[isa] = [epoch["loss"] for epoch in metrics(run)]
            self.assertEqual(len(losses[isa]), 20)
        for isa in sets[1:]:
            for step, (a, b) in enumerate(zip(losses[sets[0]], losses[isa]), 1):
                self.assertLessEqual(abs(a - b), tolerance * abs(a), f"{name}: loss of step {step}, {sets[0]} and {isa}: {a} {b}")

    def test_digits_cnn_threads(self):
        self.equal_for_every_thread_count("digits-cnn")

    def test_lstm_threads(self):
        self.equal_for_every_thread_count("lstm")

    def test_transformer_threads(self):
        self.equal_for_every_thread_count("transformer")

    def test_table_threads(self):
        self.equal_for_every_thread_count("table")

    def test_digits_cnn_instruction_sets(self):
        self.close_on_every_instruction_set("digits-cnn")

    def test_lstm_instruction_sets(self):
        self.close_on_every_instruction_set("lstm")

    def test_transformer_instruction_sets(self):
        self.close_on_every_instruction_set("transformer")

    def test_table_instruction_sets(self):
        self.close_on_every_instruction_set("table")

    def test_mixed_precision_threads(self):
        for name in ("digits-cnn", "lstm", "transformer"):
            self.equal_for_every_thread_count(name, "-o", "precision=mixed_bfloat16")

    def test_mixed_precision_instruction_sets(self):
        """What is rounded is the same with and without instructions for it; a sum between two bfloat16 goes either way."""
        for name in ("digits-cnn", "lstm", "transformer"):
            self.close_on_every_instruction_set(name, "-o", "precision=mixed_bfloat16", tolerance=2e-3)

    def test_reading_ahead_changes_no_bit(self):
        """However many threads read, in whatever order: the order of the records is the seed's alone."""
        model, _ = self.model("table")
        orders = set()
        for shuffle in ("true", "batch", "false"):
            runs = [self.fit(model, "-o", "fit.shuffle=" + shuffle, "-o", f"data.workers={n}") for n in (1, 2, 5)]
            for run in runs[1:]:
                self.assertEqual(weights(run), weights(runs[0]), "shuffle: " + shuffle)
            orders.add(weights(runs[0]))
        self.assertEqual(len(orders), 3, "the orders do not differ, so nothing was shown")
        other = self.fit(model, "-o", "seed=6")
        self.assertNotIn(weights(other), orders, "another seed is another order")

    def test_records_in_a_cache_file_are_the_same(self):
        self.file("table.csv", table(30000))  # more than data.memory, which is 1 MiB at least
        text = TABLE.replace("epochs: 2", "epochs: 1, steps_per_epoch: 20")
        model = self.file("table.yaml", text)
        memory = self.fit(model)
        cache = self.fit(model, "-o", "data.memory=1048576")
        self.assertTrue(any(p.is_file() for p in (self.folder / "cache").rglob("*")), "no cache file was written")
        self.assertEqual(weights(memory), weights(cache))


if __name__ == "__main__":
    main()
