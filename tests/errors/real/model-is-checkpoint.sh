dltrain check ../../data/h5/keras.weights.h5
