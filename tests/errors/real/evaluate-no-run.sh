dltrain evaluate "$T/run"
