"""Names that the shop and its balancer have to agree on; light, for every server imports them."""

#: The request header by which limpet tells the shop where its sessions are: "memory" or "store".
SESSIONS_FIELD = "Shop-Sessions"
#: The cookie of the shop that keeps its logins in memory.
MEMORY_COOKIE = "shop_sid"
#: Environment variable: the port of the demo's page, which can show the cookies that limpet hides.
PAGE_PORT_VARIABLE = "LIMPET_DEMO_PAGE_PORT"
#: What one page of the shop takes.
SERVICE_S = 0.03
