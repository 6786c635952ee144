dltrain fit predict-nothing.yaml --run "$T/run" -v 0 -t 1
printf "" | dltrain predict "$T/run"
