dltrain fit image-bad-files.yaml --run "$T/run" -v 0 -t 1
