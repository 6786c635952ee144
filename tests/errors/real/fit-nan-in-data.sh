dltrain fit fit-nan-in-data.yaml --run "$T/run" -v 0 -t 1 --reference
