dltrain fit shape-embedding-of-numbers.yaml --run "$T/run" -v 0 -t 1 --reference
