dltrain fit predict-missing-value.yaml --run "$T/run" -v 0 -t 1
dltrain predict "$T/run" --input data/missing.csv
