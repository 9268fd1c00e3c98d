// DeerFlow's frontend as a client: the version of the SDK that it pins, and the calls that it makes.
import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { test } from "node:test";
import { Client } from "langgraph-sdk-1.6";

import { recovering } from "./client.mjs";

const { SERVER_URL } = process.env;
const MODES = ["values", "messages-tuple", "updates", "custom"];
const WORDS = Array.from({ length: 40 }, (_, place) => `w${place + 1}`).join(" ");
const client = recovering(new Client({ apiUrl: SERVER_URL, apiKey: null }));

const human = (content) => ({ messages: [{ type: "human", content: [{ type: "text", text: content }] }] });

async function collect(stream) {
  const parts = [];
  for await (const part of stream) parts.push(part);
  return parts;
}

/** A run as the page submits it, on a thread whose id it made itself. */
async function submitted(text, { context = {}, metadata, threadId = randomUUID(), ...more } = {}) {
  await client.threads.create({ threadId, metadata, ifExists: "do_nothing" });
  let runId;
  const parts = await collect(
    client.runs.stream(threadId, "lead_agent", {
      input: human(text),
      config: { recursion_limit: 1000 },
      context: { model_name: "fake", thinking_enabled: false, is_plan_mode: false, ...context, thread_id: threadId },
      onDisconnect: "continue",
      streamMode: MODES,
      streamResumable: true,
      onRunCreated: (run) => (runId = run.run_id),
      ...more,
    }),
  );
  return { threadId, runId, parts };
}

const of = (parts, event) => parts.filter((part) => part.event.split("|")[0] === event).map((part) => part.data);
const textOf = (message) => (typeof message.content === "string" ? message.content : message.content[0].text);

test("a new thread is streamed in several modes, and titled", async () => {
  const { threadId, runId, parts } = await submitted("tell", { streamSubgraphs: true });
  assert.equal(parts[0].event, "metadata");
  assert.deepEqual([parts[0].data.run_id, parts[0].data.attempt], [runId, 1]);
  const tokens = of(parts, "messages").map(([message]) => message);
  assert.equal(tokens.map((message) => message.content).join(""), `${WORDS} end1`);
  assert.equal(new Set(tokens.map((message) => message.id)).size, 1);
  assert.ok(of(parts, "updates").some((update) => Object.values(update)[0]?.title === "About tell"));
  const [first, ...rest] = of(parts, "values");
  assert.equal(textOf(first.messages[0]), "tell");
  assert.equal(rest.at(-1).title, "About tell");
  const state = await client.threads.getState(threadId);
  assert.deepEqual(state.values, rest.at(-1));
  assert.deepEqual(state.next, []);
});

test("a subagent reports in custom events of the root", async () => {
  const { parts } = await submitted("research whales", { context: { subagent_enabled: true } });
  assert.deepEqual(of(parts, "custom").map(({ type }) => type), ["task_started", "task_running", "task_completed"]);
  assert.equal(of(parts, "custom")[1].message.content, "found research whales");
  // Without streamSubgraphs nothing of the subagent's own shows.
  assert.ok(parts.every(({ event }) => !event.includes("|")));
  assert.equal(of(parts, "values").at(-1).messages.at(-1).content, "The subagent says: found research whales");
});

test("a question ends the turn with success, and the next message answers it", async () => {
  const { threadId, runId, parts } = await submitted("unclear");
  assert.equal(of(parts, "values").at(-1).messages.at(-1).content, "Which one?");
  assert.equal((await client.runs.get(threadId, runId)).status, "success");
  const { parts: more } = await submitted("this one", { threadId });
  assert.equal(of(more, "values").at(-1).messages.at(-1).content, `${WORDS} end2`);
});

test("the lists of threads: pages, fields, titles, metadata", async () => {
  const metadata = { agent_name: `agent-${randomUUID()}` };
  const ids = [];
  for (const text of ["one", "two", "three"]) ids.push((await submitted(text, { metadata })).threadId);
  const query = { sortBy: "updated_at", sortOrder: "desc", select: ["thread_id", "updated_at", "values", "metadata"] };
  const page = (offset) => client.threads.search({ ...query, metadata, limit: 2, offset });
  const found = [...(await page(0)), ...(await page(2))];
  assert.deepEqual(found.map((thread) => thread.thread_id), ids.toReversed());
  assert.deepEqual(Object.keys(found[0]).sort(), ["metadata", "thread_id", "updated_at", "values"]);
  assert.deepEqual(found.map((thread) => thread.values.title), ["About three", "About two", "About one"]);

  await client.threads.updateState(ids[0], { values: { title: "renamed" } });
  await client.threads.update(ids[0], { metadata: { pinned: true } });
  const [renamed] = await page(0);
  assert.equal(renamed.thread_id, ids[0]);
  assert.equal(renamed.values.title, "renamed");
  assert.deepEqual(renamed.metadata.pinned, true);
  assert.equal((await client.threads.getState(ids[0])).values.title, "renamed");
  const [latest, ...none] = await client.threads.getHistory(ids[0], { limit: 1 });
  assert.equal(latest.values.title, "renamed");
  assert.deepEqual(none, []);

  await client.threads.delete(ids[2]);
  await assert.rejects(client.threads.get(ids[2]), { status: 404 });
  assert.deepEqual((await page(0)).map((thread) => thread.thread_id), [ids[0], ids[1]]);
});

test("a finished run is not joined, and its frames are there for who asks", async () => {
  const { threadId, runId, parts } = await submitted("tell");
  assert.deepEqual(await collect(client.runs.joinStream(threadId, runId, { lastEventId: "-1" })), []);
  const plain = new Client({ apiUrl: SERVER_URL, apiKey: null });
  const kept = await collect(plain.runs.joinStream(threadId, runId, { lastEventId: "-1", streamMode: MODES }));
  assert.deepEqual(kept.map(({ event, data }) => [event, data]), parts.map(({ event, data }) => [event, data]));
  assert.ok(kept.every(({ id }) => id));
  const [run] = await client.runs.list(threadId);
  assert.equal(run.run_id, runId);
});

test("stop cancels the run, and keeps the half that was said", async () => {
  const threadId = randomUUID();
  let runId;
  const running = submitted("slow tell", { threadId, onRunCreated: (run) => (runId = run.run_id) });
  const saidHalf = async () => runId && (await client.runs.get(threadId, runId)).status === "running";
  while (!(await saidHalf())) await new Promise((resolve) => setTimeout(resolve, 50));
  await client.runs.cancel(threadId, runId, true, "interrupt");
  await running;
  assert.equal((await client.runs.get(threadId, runId)).status, "interrupted");
  const { parts } = await submitted("tell", { threadId });
  assert.match(of(parts, "values").at(-1).messages.at(-1).content, /end2$/);
});

test("a message that is sent while a run goes on waits for its end", async () => {
  const threadId = randomUUID();
  const first = submitted("slow tell", { threadId });
  while (!(await client.runs.list(threadId).catch(() => [])).length) await new Promise((go) => setTimeout(go, 50));
  const second = submitted("tell", { threadId, multitaskStrategy: "enqueue" });
  await client.store.putItem(["gate"], threadId, {});
  const [, { parts }] = await Promise.all([first, second]);
  assert.match(of(parts, "values").at(-1).messages.at(-1).content, /end2$/);
});
