dltrain fit predict-fewer-columns.yaml --run "$T/run" -v 0 -t 1
dltrain predict "$T/run" --input data/fewer-columns.csv
