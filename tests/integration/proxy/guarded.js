// A server that reads paths as browsers do: dot segments, escaped ones too, and backslashes are resolved.
const http = require("http");
http.createServer((request, response) => {
  let path = new URL("http://x" + request.url).pathname;
  try { path = decodeURIComponent(path); } catch { /* as it stands */ }
  path = require("path").posix.normalize(path).toLowerCase();
  response.end(path === "/admin" || path.startsWith("/admin/") ? "SECRET" : "open");
}).listen(process.argv[2]);
