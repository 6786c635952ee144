dltrain fit evaluate-without-labels.yaml --run "$T/run" -v 0 -t 1
dltrain evaluate "$T/run" --data data/no-kind.csv
