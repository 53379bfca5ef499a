// The application of web_apps.py for Node: `node web_app.js PORT`.
const parts = ["one\n", "two\n".repeat(5000), "three\n"];
require("http").createServer((request, response) => {
  const path = request.url.split("?")[0];
  const answer = (body) => {
    response.writeHead(200, {"Content-Type": "text/plain", "Content-Length": Buffer.byteLength(body)});
    response.end(body);
  };
  if (path === "/stream") {
    response.writeHead(200);
    for (const part of parts) response.write(part);
    response.end();
  } else if (path === "/empty") {
    response.writeHead(204).end();
  } else if (path === "/headers") {
    answer(JSON.stringify(request.headers));
  } else if (path === "/echo") {
    const body = [];
    request.on("data", (data) => body.push(data)).on("end", () => answer(Buffer.concat(body)));
  } else {
    answer(String(process.pid));
  }
}).listen(Number(process.argv[2]), "127.0.0.1");
