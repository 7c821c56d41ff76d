"""`qwen-agent acp`: the agent in an editor, which speaks the Agent Client Protocol with it."""
