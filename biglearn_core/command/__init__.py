"""The command `biglearn`: fit, predict, score, sample and info, of one process or several."""
