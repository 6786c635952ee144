dltrain fit predict-output-folder-missing.yaml --run "$T/run" -v 0 -t 1
dltrain predict "$T/run" --input data/animals.csv --output "$T/none/out.csv"
