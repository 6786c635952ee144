"""One module a family (or a few that are made alike). Each has FAMILIES = {name: function that returns a Family}."""
