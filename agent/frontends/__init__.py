"""How a person or a program talks to the agent: they read events and answer questions."""
