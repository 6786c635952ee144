dltrain fit fit-label-late.yaml --run "$T/run" -v 0 -t 1 --reference
