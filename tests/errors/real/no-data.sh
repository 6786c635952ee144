dltrain fit no-data.yaml --run "$T/run" -v 0 -t 1 --reference
