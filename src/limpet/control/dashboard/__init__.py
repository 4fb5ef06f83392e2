"""What the admin listener shows to people: a page, and the feed of numbers that it and `limpet top` read."""
