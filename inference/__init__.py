"""Messages in, pieces of a reply out; knows no file of the user, no command, no screen."""
