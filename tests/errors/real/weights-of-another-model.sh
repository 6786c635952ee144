dltrain fit weights-of-another-model.yaml --run "$T/run" -v 0 -t 1
dltrain fit weights-of-another-model.yaml --run "$T/other" --weights "$T/run/checkpoints/final.weights.h5" -o layers[0].Dense.units=5 -v 0
