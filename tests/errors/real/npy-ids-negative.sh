dltrain fit npy-ids-negative.yaml --run "$T/run" -v 0 -t 1 --reference
