dltrain fit no-data-but-input.yaml --run "$T/run"
