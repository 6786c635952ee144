dltrain fit resume-from-text.yaml --run "$T/run" -v 0 -t 1
dltrain fit resume-from-text.yaml --run "$T/other" --resume data/animals.csv
