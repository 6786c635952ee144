dltrain fit predict-image-cut.yaml --run "$T/run" -v 0 -t 1
dltrain predict "$T/run" --input data/broken/cat
