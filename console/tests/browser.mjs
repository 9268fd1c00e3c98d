// What all tests of the console share: the browser, pages that are watched for mistakes, and requests to the server.
import axe from "axe-core";
import assert from "node:assert/strict";
import { after, before } from "node:test";
import { chromium } from "playwright-core";

const { API_KEY, BROWSER_URL, SERVER_URL, SCREENSHOTS } = process.env;
const WITHIN = 60_000;

let browser;
before(async () => {
  browser = await chromium.connectOverCDP(BROWSER_URL);
});
after(() => browser.close());

/** Opens the console in a browser of its own, logged in unless `key` is null. */
export async function open(context, place = "", options = {}) {
  return (await visitor(context, options))(place);
}

/** Opens tabs of one browser. */
export async function visitor(context, { width = 1440, scheme = "light", key = API_KEY, servers = [SERVER_URL] } = {}) {
  const visit = await browser.newContext({
    viewport: { width, height: 900 },
    colorScheme: scheme,
    permissions: ["clipboard-read", "clipboard-write"],
  });
  context.after(() => visit.close());
  return async (place) => newTab(await visit.newPage(), place, key, servers);
}

/** `servers`: the first has the console; requests to others are mistakes. */
async function newTab(page, place, key, servers) {
  const stored = JSON.stringify({ kind: "key", secret: key });
  if (key !== null) await page.addInitScript((text) => sessionStorage.setItem("runstead.credentials", text), stored);
  page.setDefaultTimeout(WITHIN);
  page.mistakes = [];
  page.on("pageerror", (error) => page.mistakes.push(String(error)));
  page.on("request", (request) => {
    if (!/^(blob|data):/.test(request.url()) && !servers.some((server) => request.url().startsWith(server)))
      page.mistakes.push(request.url());
  });
  page.on("console", (message) => {
    if (/Content Security Policy/.test(message.text())) page.mistakes.push(message.text());
  });
  await page.goto(`${servers[0]}/console/${place}`);
  return page;
}

/** Nothing was thrown, no other host was called, no rule of WCAG is broken, and nothing is wider than the page. */
export async function isWell(page, name) {
  await page.evaluate(axe.source.replace(/^/, "if (!window.axe) {") + "}");
  const { violations } = await page.evaluate(() =>
    window.axe.run(document, { runOnly: ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"] }),
  );
  const found = violations.map(({ id, nodes }) => `${id}: ${nodes.map(({ html }) => html.slice(0, 200)).join(" ")}`);
  assert.deepEqual(found, []);
  assert.deepEqual(page.mistakes, []);
  const [wide, seen] = await page.evaluate(() => {
    const { scrollWidth, clientWidth } = document.documentElement;
    return [scrollWidth, clientWidth];
  });
  assert.ok(wide <= seen, `the page is ${wide} px wide, and ${seen} are seen`);
  if (SCREENSHOTS) await page.screenshot({ path: `${SCREENSHOTS}/${name}.png`, fullPage: true });
}

/** A request of the user's; its parsed answer. */
export async function api(method, path, body) {
  const answer = await fetch(SERVER_URL + path, {
    method,
    headers: { "content-type": "application/json", "x-api-key": API_KEY },
    body: body === undefined ? undefined : JSON.stringify(body),
  });
  const text = await answer.text();
  assert.ok(answer.ok, `${method} ${path}: ${answer.status} ${text}`);
  return text ? JSON.parse(text) : null;
}

export function human(content) {
  return { messages: [{ role: "user", content }] };
}

/** A thread of its own, with a run that has ended, or only begun. */
export async function newRun(assistant, input, { wait = true, ...options } = {}) {
  const { thread_id } = await api("POST", "/threads", {});
  const body = { assistant_id: assistant, input, stream_resumable: true, ...options };
  const run = await api("POST", `/threads/${thread_id}/runs`, body);
  if (wait) await api("GET", `/threads/${thread_id}/runs/${run.run_id}/join`);
  return run;
}

export function addressOf(run) {
  return `#/run/${run.thread_id}/${run.run_id}`;
}
