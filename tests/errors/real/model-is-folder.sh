dltrain check data
