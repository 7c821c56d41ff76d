"""What a run came to, for people: tables, JSON, pages with plots, what was said in each task."""
