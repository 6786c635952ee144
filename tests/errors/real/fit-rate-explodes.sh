dltrain fit fit-rate-explodes.yaml --run "$T/run" -v 0 -t 1 --reference
