// Chats in a real browser. This file is run for each client: CLIENT names the page, TRANSPORT what it talks over.
import { Client } from "@langchain/langgraph-sdk";
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { chromium } from "playwright-core";

import { proxied } from "./http2.mjs";
import { servePage } from "./pages.mjs";
import { Tab } from "./tab.mjs";

const { CLIENT, TRANSPORT, SERVER_URL, BROWSER_URL, CERTIFICATE } = process.env;
const WORDS = Array.from({ length: 40 }, (_, place) => `w${place + 1}`).join(" ");
const client = new Client({ apiUrl: SERVER_URL, apiKey: null });
let browser, pages;

before(async () => {
  pages = await servePage(CLIENT);
  browser = await chromium.connectOverCDP(BROWSER_URL);
});

after(async () => {
  await browser.close();
  pages.stop();
});

/** Tabs of one browser that nobody has used before. */
async function visitor(context) {
  const visiting = await browser.newContext({ ignoreHTTPSErrors: true });
  context.after(() => visiting.close());
  return async (assistant, query = {}) => {
    const place = new URL(pages.url);
    const asked = { api: SERVER_URL, assistant, ...(TRANSPORT && { transport: TRANSPORT }), ...query };
    for (const [name, value] of Object.entries(asked)) place.searchParams.set(name, value);
    const tab = new Tab(await visiting.newPage());
    await tab.page.goto(place.href);
    return tab;
  };
}

/** Lets the story on this thread go on. */
async function openGate(threadId) {
  await client.store.putItem(["gate"], threadId, {});
}

async function eventually(look) {
  for (let tries = 0; tries < 400; tries += 1) {
    if (await look()) return;
    await sleep(50);
  }
  throw new Error(`never came true: ${look}`);
}

test("tokens stream in", async (context) => {
  const tab = await (await visitor(context))("saga");
  await tab.send();
  // Half of it is there although the other half has not been said.
  await tab.sees("w20");
  await openGate(tab.threadId);
  await tab.sees("end1");
  await tab.rests();
  assert.deepEqual(await tab.answers(), [`${WORDS} end1`]);
  const seen = await tab.seen();
  seen.forEach((text, place) => assert.ok(place === 0 || text.startsWith(seen[place - 1]), "it only ever grows"));
  await tab.isWell();
});

test("a second turn follows the first", async (context) => {
  const tab = await (await visitor(context))("story");
  for (const turn of [1, 2]) {
    await tab.send();
    await tab.sees(`end${turn}`);
    await tab.rests();
  }
  assert.deepEqual(await tab.answers(), [`${WORDS} end1`, `${WORDS} end2`]);
  await tab.isWell();
});

test("tool calls are shown, and a human approves one", async (context) => {
  const tab = await (await visitor(context))("payments", { say: "pay invoice 2042" });
  await tab.send();
  await tab.sees("send_payment", ".question");
  assert.match(JSON.stringify(await tab.messages()), /lookup_invoice.*2042.*done/);
  await tab.approve();
  await tab.sees("The invoice is closed.");
  await tab.rests();
  const all = await tab.messages();
  const calls = all.flatMap((message) => message.calls);
  assert.equal(calls.length, 2, JSON.stringify(all));
  assert.match(calls[1], /send_payment.*done/);
  assert.equal(await tab.page.locator(".question").count(), 0);
  await tab.isWell();
});

test("a question is still asked after a reload", async (context) => {
  const tab = await (await visitor(context))("payments", { say: "pay invoice 2042" });
  await tab.send();
  await tab.sees("send_payment", ".question");
  await tab.reload();
  await tab.sees("send_payment", ".question");
  await tab.approve();
  await tab.sees("The invoice is closed.");
  const said = (await tab.answers()).filter((text) => text.includes("The invoice is closed."));
  assert.equal(said.length, 1);
});

test("stop stops the run, and keeps what was said", async (context) => {
  const tab = await (await visitor(context))("saga");
  await tab.send();
  await tab.sees("w20");
  await tab.stop();
  await tab.rests();
  await eventually(async () => (await client.runs.list(tab.threadId))[0].status === "interrupted");
  const half = WORDS.split(" w21")[0];
  const kept = (await client.threads.getState(tab.threadId)).values.messages.at(-1);
  assert.equal(kept.content.trim(), half);
  if (CLIENT === "legacy") {
    // It reads the thread anew without waiting for its stop to be carried out, and may show what was before.
    await tab.reload();
    await tab.sees("w20");
  }
  const [answer, ...more] = await tab.answers();
  assert.equal(answer.trim(), half);
  assert.deepEqual(more, []);
});

test("after a reload in the middle the answer is whole, and there once", async (context) => {
  const tab = await (await visitor(context))("saga", { leaving: "continue" });
  await tab.send();
  await tab.sees("w20");
  await tab.reload();
  if (CLIENT !== "assistant") await tab.sees("w20");
  await openGate(tab.threadId);
  await tab.sees("end1");
  await tab.rests();
  assert.deepEqual(await tab.answers(), [`${WORDS} end1`]);
  await tab.isWell();
});

test("two tabs on one thread show the same", async (context) => {
  const open = await visitor(context);
  const first = await open("saga", { leaving: "continue" });
  await first.send();
  await first.sees("w20");
  const second = await open("saga", { thread: first.threadId });
  if (CLIENT !== "assistant") await second.sees("w20");
  await openGate(first.threadId);
  await Promise.all([first.sees("end1"), second.sees("end1")]);
  await Promise.all([first.rests(), second.rests()]);
  assert.deepEqual(await first.answers(), [`${WORDS} end1`]);
  assert.deepEqual(await second.answers(), [`${WORDS} end1`]);
});

test("six tabs at once, each with a thread of its own", async (context) => {
  const open = await visitor(context);
  // Browsers make at most six connections to a server over HTTP/1.1, and this client keeps two of them per thread.
  const needsHttp2 = CLIENT === "react" && TRANSPORT === "sse";
  const before = needsHttp2 ? await proxied(SERVER_URL, CERTIFICATE) : { url: SERVER_URL, stop() {} };
  context.after(() => before.stop());
  const tabs = await Promise.all(Array.from({ length: 6 }, () => open("saga", { api: before.url })));
  await Promise.all(tabs.map((tab) => tab.send()));
  await Promise.all(tabs.map((tab) => tab.sees("w20")));
  const [stopped, ...others] = tabs;
  await stopped.stop();
  await stopped.rests();
  await Promise.all(others.map((tab) => openGate(tab.threadId)));
  await Promise.all(others.map((tab) => tab.sees("end1")));
  for (const tab of others) assert.deepEqual(await tab.answers(), [`${WORDS} end1`]);
});
