dltrain fit predict-no-file.yaml --run "$T/run" -v 0 -t 1
dltrain predict "$T/run" --input data/none.csv
