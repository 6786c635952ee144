dltrain fit loss-missing.yaml --run "$T/run" -v 0 -t 1 --reference
