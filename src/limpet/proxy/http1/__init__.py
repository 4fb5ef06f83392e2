"""HTTP/1.1 and 1.0 messages: one strict reading of each, or a ProtocolError.

Pure functions of bytes. A C parser (picohttpparser) splits the heads; what it lets through
and RFC 9110 or 9112 forbid, or what two readers could understand differently, is refused here.
"""
