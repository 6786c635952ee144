dltrain fit predict-no-header-too-few.yaml --run "$T/run" -v 0 -t 1
printf '1,2\n' | dltrain predict "$T/run"
