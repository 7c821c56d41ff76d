"""`qwen-agent serve`: the engine for other programs, in the words of OpenAI's chat API."""
