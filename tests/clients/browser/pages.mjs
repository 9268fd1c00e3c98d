// The pages, built from their sources and served from an address of their own: the server is another origin to them.
import { build } from "esbuild";
import { createServer } from "node:http";
import { fileURLToPath } from "node:url";

const sources = (name) => fileURLToPath(new URL(`../pages/${name}.jsx`, import.meta.url));
const html = (name) => `<!doctype html><title>${name}</title><div id="root"></div><script src="/${name}.js"></script>`;

/** Serves an empty page on an address of this machine; its port, and a way to stop. */
export async function serveBlank(address) {
  const server = createServer((_, response) => response.setHeader("content-type", "text/html").end("<title>blank</title>"));
  await new Promise((resolve, reject) => server.once("error", reject).listen(0, address, resolve));
  return { port: server.address().port, stop: () => server.close() };
}

/** Serves one page; its URL, and a way to stop. */
export async function servePage(name) {
  const { outputFiles } = await build({
    entryPoints: [sources(name)],
    bundle: true,
    write: false,
    format: "iife",
    jsx: "automatic",
    define: { "process.env.NODE_ENV": '"production"' },
    logLevel: "error",
  });
  const script = outputFiles[0].contents;
  const server = createServer((request, response) => {
    const isScript = request.url.endsWith(".js");
    response.setHeader("content-type", isScript ? "text/javascript" : "text/html");
    response.end(isScript ? script : html(name));
  });
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  return { url: `http://127.0.0.1:${server.address().port}/`, stop: () => server.close() };
}
