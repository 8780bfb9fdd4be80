"""Files of data, read strictly: what can be read in two ways is refused."""
