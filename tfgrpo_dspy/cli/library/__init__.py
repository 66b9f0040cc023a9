"""`tfgrpo library`: the commands on library files and their history."""
