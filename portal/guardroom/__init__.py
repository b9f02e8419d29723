"""The control room of the guard: what it shows and what it offers to do."""
