dltrain fit idx-gzip-crc.yaml --run "$T/run" -v 0 -t 1 --reference
