dltrain fit image-bad-files-are-skipped.yaml --run "$T/run" -v 0 -t 1
