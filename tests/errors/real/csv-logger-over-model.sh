dltrain fit csv-logger-over-model.yaml --run "$T/run" -v 0 -t 1 --reference
