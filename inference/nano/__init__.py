"""The few-million-parameter model that we trained: weights, tokenizer, template, profile."""
