"""How values show themselves: a screenful in a terminal and in a notebook, all of it as plain data and as a table."""
