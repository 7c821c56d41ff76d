"""What the model may do: one tool, one file, with its schema, words and failures."""
