dltrain evalute run
