dltrain check data/animals.csv
