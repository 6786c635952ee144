dltrain evaluate data/animals.csv
