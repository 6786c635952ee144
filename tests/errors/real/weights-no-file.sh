dltrain fit weights-no-file.yaml --run "$T/run" --weights data/none.weights.h5
