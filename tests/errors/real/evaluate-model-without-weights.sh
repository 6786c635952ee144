dltrain evaluate evaluate-model-without-weights.yaml
