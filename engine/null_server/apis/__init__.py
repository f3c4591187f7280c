"""The APIs of the null server, one file for each: what a request asks for, and how an answer is written."""
