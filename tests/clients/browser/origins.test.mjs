// Which pages a server without authentication answers, seen from a real browser. *.example is this machine in it.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { chromium } from "playwright-core";

import { serveBlank } from "./pages.mjs";

const { SERVER_URL, BROWSER_URL } = process.env;
const { port: SERVER_PORT } = new URL(SERVER_URL);
let browser;
const pages = {};

before(async () => {
  browser = await chromium.connectOverCDP(BROWSER_URL);
  for (const address of ["127.0.0.1", "::1"]) pages[address] = await serveBlank(address);
});

after(async () => {
  await browser.close();
  for (const page of Object.values(pages)) page.stop();
});

/** What a page at this address gets: of a request, of one without a preflight, of a WebSocket. */
async function asked(context, place, api = SERVER_URL) {
  const visiting = await browser.newContext();
  context.after(() => visiting.close());
  const page = await visiting.newPage();
  await page.goto(place);
  return page.evaluate(async (api) => {
    const told = (promise) => promise.then((response) => response.status, () => "unreadable");
    const body = JSON.stringify({ metadata: { from: location.origin } });
    const headers = { "content-type": "application/json" };
    const thread = crypto.randomUUID?.() ?? "3f0e2d4c-0000-4000-8000-000000000001";
    return {
      read: await told(fetch(`${api}/info`)),
      write: await told(fetch(`${api}/threads`, { method: "POST", headers, body })),
      plain: await told(fetch(`${api}/threads`, { method: "POST", body })),
      untyped: await told(fetch(`${api}/threads`, { method: "POST", body: new Blob([body]) })),
      blind: await told(fetch(`${api}/threads`, { method: "POST", mode: "no-cors", body: new Blob([body]) })),
      socket: await new Promise((resolve) => {
        const socket = new WebSocket(`${api.replace("http", "ws")}/threads/${thread}/stream/events`);
        socket.onclose = ({ code }) => resolve(code);
        socket.onopen = () => socket.send(JSON.stringify({ id: 1, method: "no.such", params: {} }));
        socket.onmessage = () => resolve("answered");
      }),
    };
  }, api);
}

/** Threads that a page at this origin has made. */
async function madeFrom(origin) {
  const body = JSON.stringify({ metadata: { from: origin } });
  const headers = { "content-type": "application/json" };
  return (await fetch(`${SERVER_URL}/threads/search`, { method: "POST", headers, body })).json();
}

test("pages on other ports of this machine work", async (context) => {
  const { port } = pages["127.0.0.1"];
  const places = [`http://localhost:${port}`, `http://127.0.0.1:${port}`, `http://[::1]:${pages["::1"].port}`];
  for (const place of places) {
    const { read, write, plain, untyped, socket } = await asked(context, place);
    assert.deepEqual({ read, write, socket }, { read: 200, write: 200, socket: "answered" }, place);
    assert.deepEqual({ plain, untyped }, { plain: 415, untyped: 415 }, place);
    assert.equal((await madeFrom(place)).length, 1, place);
  }
});

test("a page of this machine reaches the server as localhost", async (context) => {
  const place = `http://127.0.0.1:${pages["127.0.0.1"].port}`;
  const { read, write } = await asked(context, place, `http://localhost:${SERVER_PORT}`);
  assert.deepEqual([read, write], [200, 200]);
});

test("a page from elsewhere reads and changes nothing", async (context) => {
  const place = `http://evil.example:${pages["127.0.0.1"].port}`;
  const { blind, socket, ...read } = await asked(context, place);
  assert.deepEqual(new Set(Object.values(read)), new Set(["unreadable"]));
  assert.equal(blind, 0);
  assert.equal(socket, 4403);
  assert.deepEqual(await madeFrom(place), []);
});

test("a page whose name was rebound to this machine reads and changes nothing", async (context) => {
  const rebound = `http://evil.example:${SERVER_PORT}`;
  const { read, write, socket } = await asked(context, `${rebound}/ok`, rebound);
  assert.deepEqual([read, write, socket], [403, 403, 4403]);
  assert.deepEqual(await madeFrom(rebound), []);
});
