"""Sites that a run with a login finds out about, by what it reads or by chance among replicas."""

from __future__ import annotations

from doctor_lab.fault import STICKY, fault

_CDN = "http-response set-header Via '1.1 a.cloudfront.net (CloudFront)'"

FAULTS = (
    fault("memory", "A1", "Memory"),
    fault("memory, a new id on a miss", "A1", "MemoryNewId"),
    fault("memory behind a sticky balancer", "L2", "Memory", STICKY),
    fault("a key per process (Flask)", "A3", "OwnKey"),
    fault("a key per process (FastAPI)", "A3", "own_key", stack="fastapi"),
    fault("one replica with another key", "A6", "OddKey", is_named=True),
    fault("one replica with another store", "S8", "OddStore", is_named=True),
    fault("a mismatch ends the session", "A7", "Flushing"),
    fault("rotation without grace", "A20", "RotatingAtOnce"),
    fault("a copy of the store that lags", "S7", "Lagging", settles_s=1.0),
    fault("every other session is lost", "S10", "SomeLogins"),
    fault("a store that is full", "S2", "FullStore"),
    fault("another app, the same cookie", "A11", "OtherApp", also="other"),
    fault("a path that is too narrow", "A13", "NarrowPath", mode="lint"),
    fault("SameSite=None without Secure", "A16", "NoneWithoutSecure", mode="lint"),
    fault("__Host- without Secure", "A16", "SecureWithoutTls", mode="lint"),
    fault("a cookie too large", "A17", "Large", mode="lint"),
    fault("cookies too large together", "A18", "ManyCookies"),
    fault("SameSite=Strict", "A15", "Strict", mode="lint"),
    fault("Expires alone, and soon", "A10", "ShortExpires", mode="lint"),
    fault("a login by form_post", "A14", "FormPost", mode="lint"),
    fault("Partitioned and not", "B7", "Partitioned", mode="lint"),
    fault("bound to the user agent", "A24", "BoundToAgent"),
    fault("one session per user", "A26", "OneSession"),
    fault("a form's token of one replica", "A25", "ForeignToken"),
    fault("a link that logs out", "A27", "LogoutLink", mode="lint"),
    fault("a page that is kept", "B3", "KeptPage", mode="lint"),
    fault("two versions by turns", "L21", "Versions"),
    fault("a key ring per server", "A8", "KeyRings", mode="lint"),
    fault("a CDN that strips cookies", "L15", "Shared", _CDN, "http-request del-header Cookie"),
    fault("a sticky cookie of one path", "L10", "Shared",
           "http-response add-header Set-Cookie 'SERVERID=stays-with-a; path=/login'", mode="lint"),
    fault("two balancers, one cookie", "L12", "Shared",
           "http-response add-header Set-Cookie 'SERVERID=stays-with-a; path=/'",
           "http-response add-header Set-Cookie 'SERVERID=the-other-balancer-s; path=/'", mode="lint"),
    fault("nothing renews the cookie", "A29", "ShortCookie", mode="idle", idle_s=2.5),
)  # fmt: skip
