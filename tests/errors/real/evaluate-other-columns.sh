dltrain fit evaluate-other-columns.yaml --run "$T/run" -v 0 -t 1
dltrain evaluate "$T/run" --data data/other-columns.csv
