"""What is made of a finished sweep for readers: a page for the browser, tables and pictures for a paper."""
