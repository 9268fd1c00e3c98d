// A proxy as it stands before a server in production: HTTP/2 over TLS to browsers, HTTP/1.1 to the server.
import { createSecureServer } from "node:http2";
import { request as requestOf } from "node:http";
import { readFileSync } from "node:fs";

const OWN = ["connection", "keep-alive", "transfer-encoding"];

/** A proxy before the server at `target`; its URL, and a way to stop. */
export async function proxied(target, pemFile) {
  const pem = readFileSync(pemFile);
  const server = createSecureServer({ key: pem, cert: pem }, (asked, answer) => {
    const headers = Object.entries(asked.headers).filter(([name]) => !name.startsWith(":"));
    const options = { method: asked.method, headers: Object.fromEntries(headers) };
    const passed = requestOf(new URL(asked.url, target), options, (told) => {
      const kept = Object.entries(told.headers).filter(([name]) => !OWN.includes(name));
      answer.writeHead(told.statusCode, Object.fromEntries(kept));
      told.pipe(answer);
    });
    passed.on("error", () => answer.stream?.close());
    answer.on("close", () => passed.destroy());
    asked.pipe(passed);
  });
  const sessions = new Set();
  server.on("session", (session) => sessions.add(session));
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  const stop = () => {
    sessions.forEach((session) => session.destroy());
    server.close();
  };
  return { url: `https://127.0.0.1:${server.address().port}`, stop };
}
