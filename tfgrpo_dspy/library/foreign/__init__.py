"""Libraries in the forms that other tools have for them, a module each: how they are read, how they are written."""
