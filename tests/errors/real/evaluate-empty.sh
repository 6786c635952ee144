dltrain fit evaluate-empty.yaml --run "$T/run" -v 0 -t 1
dltrain evaluate "$T/run" --data data/empty
