dltrain fit predict-format-typo.yaml --run "$T/run" -v 0 -t 1
dltrain predict "$T/run" --input data/animals.csv --format jsno
