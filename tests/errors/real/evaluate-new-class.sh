dltrain fit evaluate-new-class.yaml --run "$T/run" -v 0 -t 1
dltrain evaluate "$T/run" --data data/wolf.csv
