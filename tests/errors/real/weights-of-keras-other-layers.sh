dltrain fit weights-of-keras-other-layers.yaml --run "$T/run" --weights ../../data/h5/keras.weights.h5
