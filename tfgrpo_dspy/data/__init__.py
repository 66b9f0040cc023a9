"""Examples from files, the Hub and Python: rows and the columns that hold what a program reads and is asked for."""
