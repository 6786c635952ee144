dltrain fit predict-npy-wider.yaml --run "$T/run" -v 0 -t 1
dltrain predict "$T/run" --input data/x-wide.npy
