// Echo for Node: answers with what it read, as JSON of Latin-1 text. Usage: node echo.js SOCKET
const http = require("node:http");

const server = http.createServer((request, response) => {
  const parts = [];
  request.on("data", (part) => parts.push(part));
  request.on("end", () => {
    const fields = [];
    for (let i = 0; i < request.rawHeaders.length; i += 2) {
      fields.push([request.rawHeaders[i].toLowerCase(), request.rawHeaders[i + 1]]);
    }
    const data = Buffer.from(
      JSON.stringify({
        method: request.method,
        path: request.url,
        body: Buffer.concat(parts).toString("latin1"),
        fields: fields,
        trailers: request.rawTrailers,
      }),
    );
    response.writeHead(200, { "Content-Type": "application/json", "Content-Length": data.length });
    response.end(data);
  });
});
server.keepAliveTimeout = 60000;
server.listen(process.argv[2]);
