dltrain fit split-stratify-numbers.yaml --run "$T/run" -v 0 -t 1 --reference
