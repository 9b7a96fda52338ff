"""A product catalogue: a table of products becomes studio photos by category, and a contact sheet of all of them."""
