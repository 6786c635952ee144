dltrain fit fit-run-is-a-file.yaml --run data/animals.csv
