"""HTTP/2 with clients. Each stream is served as if it were a connection that speaks HTTP/1.1."""
