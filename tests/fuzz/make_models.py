"""Makes seeds of fuzz_model.c: an example of each layer, and models over made-up data. Run in this folder, after
    cmake --build ../../build/release --target dltrain list_examples"""
import json
import pathlib
import subprocess

BUILD = pathlib.Path("../../build/release").resolve()
TRAINED = """data: {{train: {{Synthetic: {{task: {task}, samples: 64{more}}}}}, validation: {{split: 0.2}}}}
layers: [{layers}, Dense: {{units: 10, activation: softmax}}]
optimizer: {optimizer}
loss: {loss}
metrics: [{metrics}]
fit: {{epochs: 2, batch_size: 8, callbacks: [{callbacks}]}}
"""
MODELS = {
    "train-vectors": dict(task="classification", more="", layers="Dense: {units: 8, kernel_regularizer: {L2: {l2: 0.01}}}",
                          optimizer="{Adam: {learning_rate: {ExponentialDecay: {initial_learning_rate: 0.1, decay_steps: 3, "
                                    "decay_rate: 0.5}}, clipnorm: 1.0}}", loss="sparse_categorical_crossentropy",
                          metrics="accuracy, SparseTopKCategoricalAccuracy: {k: 2}",
                          callbacks="EarlyStopping: {patience: 1}, CSVLogger: {filename: a.csv}"),
    "train-images": dict(task="images", more=", shape: [12, 12, 3]",
                         layers="Conv2D: {filters: 4, kernel_size: 3, activation: relu}, MaxPooling2D, BatchNormalization, Flatten",
                         optimizer="{SGD: {momentum: 0.9, nesterov: true, gradient_accumulation_steps: 2}}",
                         loss="sparse_categorical_crossentropy", metrics="accuracy", callbacks="TerminateOnNaN"),
    "train-sequence": dict(task="sequence", more=", shape: [9]",
                           layers="Embedding: {input_dim: 10, output_dim: 4}, LSTM: {units: 5, return_sequences: true}, "
                                  "MultiHeadAttention: {num_heads: 2, key_dim: 3}", optimizer="RMSprop",
                           loss="sparse_categorical_crossentropy", metrics="accuracy", callbacks=""),
    "train-regression": dict(task="regression", more="", layers="Normalization, Residual: {layers: [Dense: {units: 8}]}",
                             optimizer="{AdamW: {weight_decay: 0.01, ema_momentum: 0.9, use_ema: true}}",
                             loss="{Huber: {delta: 2}}", metrics="mae", callbacks="ReduceLROnPlateau: {monitor: loss}"),
}


def main():
    out, longest = pathlib.Path("seeds/model"), {}
    out.mkdir(exist_ok=True)
    for line in subprocess.run([BUILD / "tests" / "list_examples"], check=True, stdout=subprocess.PIPE, text=True).stdout.splitlines():
        example = json.loads(line)
        if "layers" in example and len(example["layers"]) > len(longest.get(example["kind"], {"layers": ""})["layers"]):
            longest[example["kind"]] = example
    for kind, example in longest.items():
        kind_of = "" if example["dtype"] == "float32" else f", dtype: {example['dtype']}"
        shape = json.dumps(example["shape"][1:])
        (out / kind).write_text(f"layers: [Input: {{shape: {shape}{kind_of}}}, {example['layers'].strip()[1:-1]}]\n")
    for name, words in MODELS.items():
        (out / name).write_text(TRAINED.format(**words))
    for seed in sorted(out.iterdir()):
        check = subprocess.run([BUILD / "dltrain", "check", seed], check=False, stdout=subprocess.PIPE,
                               stderr=subprocess.STDOUT, text=True)
        if check.returncode != 0:
            print(f"{seed}: {check.stdout}")


if __name__ == "__main__":
    main()
