// A server dies while DeerFlow's page streams from it, and the page is reloaded while the second attempt is under way.
// The server kills itself where the agent is told to, and is started again by the test's other half.
import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { Client } from "langgraph-sdk-1.6";
import { chromium } from "playwright-core";

import { servePage } from "../browser/pages.mjs";
import { Tab } from "../browser/tab.mjs";
import { recovering } from "./client.mjs";

const { SERVER_URL, BROWSER_URL } = process.env;
const WORDS = Array.from({ length: 40 }, (_, place) => `w${place + 1}`).join(" ");
const MODES = ["values", "messages-tuple", "updates", "custom"];
const plain = new Client({ apiUrl: SERVER_URL, apiKey: null });

/** What `look` finds, once it finds something, over any outage. */
async function eventually(look) {
  for (let tries = 0; tries < 600; tries += 1) {
    const found = await Promise.resolve().then(look).catch(() => undefined);
    if (found) return found;
    await sleep(50);
  }
  throw new Error(`never came true: ${look}`);
}

/** Kills the server in the middle of the run's first attempt; returns when the second one stands where the first did. */
async function crash(threadId, runId) {
  // The server may be gone before its answer has arrived; the wait below fails if the item was not stored.
  await plain.store.putItem(["crash"], threadId, {}).catch(() => undefined);
  const seen = new AbortController();
  await eventually(async () => {
    let words = 0;
    const parts = new Client({ apiUrl: SERVER_URL, apiKey: null }).runs.joinStream(threadId, runId, {
      lastEventId: "-1",
      signal: seen.signal,
      streamMode: MODES,
    });
    for await (const { event, data } of parts) {
      if (event === "metadata" && data.attempt < 2) return false;
      if (event === "messages" && data[0].content && (words += 1) === 20) return true;
    }
    return false;
  });
  seen.abort();
}

const openGate = (threadId) => plain.store.putItem(["gate"], threadId, {});

test("a client that joins during the second attempt gets all of it, after one gap", async () => {
  const threadId = randomUUID();
  await plain.threads.create({ threadId });
  const input = { messages: [{ type: "human", content: "slow tell" }] };
  const { run_id: runId } = await plain.runs.create(threadId, "lead_agent", { input, streamMode: MODES });
  await crash(threadId, runId);

  const client = recovering(new Client({ apiUrl: SERVER_URL, apiKey: null }));
  const parts = [];
  for await (const part of client.runs.joinStream(threadId, runId, { lastEventId: "-1", streamMode: MODES })) {
    parts.push(part);
    const tokens = parts.filter(({ event }) => event === "messages").map(({ data }) => data[0].content);
    // Half of the answer is there, from its first word on, while the other half has not been said.
    if (tokens.filter(Boolean).length === 20) {
      assert.equal(tokens.join(""), WORDS.split(" w21")[0]);
      await openGate(threadId);
    }
  }
  const gaps = parts.filter(({ event, data }) => event === "custom" && data.type === "stream_replay_gap");
  assert.equal(gaps.length, 1);
  const ids = parts.map(({ id }) => id).filter(Boolean);
  assert.equal(ids[0], "2-1");
  assert.deepEqual(ids, ids.map((_, place) => `2-${place + 1}`));
  assert.equal(parts.findLast(({ event }) => event === "values").data.messages.at(-1).content, `${WORDS} end1`);
});

test("the page that is reloaded during the second attempt shows the answer, once and whole", async (context) => {
  const pages = await servePage("deerflow");
  const browser = await chromium.connectOverCDP(BROWSER_URL);
  context.after(() => Promise.all([browser.close(), pages.stop()]));
  const visiting = await browser.newContext();
  context.after(() => visiting.close());
  const tab = new Tab(await visiting.newPage());
  await tab.page.goto(`${pages.url}?api=${encodeURIComponent(SERVER_URL)}&assistant=lead_agent&say=slow%20tell`);
  await tab.send();
  await tab.sees("w20");
  const [{ run_id: runId }] = await plain.runs.list(tab.threadId);
  await crash(tab.threadId, runId);
  await tab.reload();
  await tab.sees("w20");
  assert.deepEqual((await tab.answers()).map((text) => text.trim()), [WORDS.split(" w21")[0]]);
  await openGate(tab.threadId);
  await tab.sees("end1");
  await tab.rests();
  assert.deepEqual(await tab.answers(), [`${WORDS} end1`]);
  assert.equal(await tab.page.evaluate(() => window.gaps), 1);
  await tab.isWell();
});
