dltrain fit idx-gzip-cut.yaml --run "$T/run" -v 0 -t 1 --reference
