dltrain fit evaluate-ragged.yaml --run "$T/run" -v 0 -t 1
dltrain evaluate "$T/run" --data data/ragged.csv
