// Threads: made, found, read, changed, followed.
import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";

import { HELLO, answeredThread, client, mark, method, newThread, rejectsWith, streamOpened, textsOf } from "./method.mjs";

method("threads.create", "under an id, with metadata and a graph", async () => {
  const threadId = randomUUID();
  const thread = await client.threads.create({ threadId, metadata: { owner: "x" }, graphId: "agent" });
  assert.equal(thread.thread_id, threadId);
  assert.equal(thread.status, "idle");
  assert.deepEqual(thread.metadata, { owner: "x", graph_id: "agent" });
  await rejectsWith(409, client.threads.create({ threadId }), /already exists/);
  const same = await client.threads.create({ threadId, ifExists: "do_nothing", metadata: { owner: "y" } });
  assert.equal(same.metadata.owner, "x");
});

method("threads.get", "what was made, and 404 for what was not", async () => {
  const threadId = await newThread({ metadata: { n: 1 } });
  const thread = await client.threads.get(threadId);
  assert.deepEqual(thread.metadata, { n: 1 });
  assert.ok(Date.parse(thread.created_at) <= Date.parse(thread.updated_at));
  await rejectsWith(404, client.threads.get(randomUUID()), /not found/);
});

method("threads.update", "metadata is merged", async () => {
  const threadId = await newThread({ metadata: { a: 1 } });
  const changed = await client.threads.update(threadId, { metadata: { b: 2 } });
  assert.deepEqual(changed.metadata, { a: 1, b: 2 });
});

method("threads.delete", "and it is gone", async () => {
  const threadId = await answeredThread();
  await client.threads.delete(threadId);
  await rejectsWith(404, client.threads.get(threadId));
});

method("threads.search", "by metadata, status and values, in order and in pages", async () => {
  const of = mark();
  const made = [];
  for (const n of [0, 1, 2]) made.push(await newThread({ metadata: { of, n } }));
  await client.runs.wait(made[1], "hitl", { input: HELLO });
  const ids = async (query) => {
    const sorted = { sortBy: "created_at", sortOrder: "asc", metadata: { of }, ...query };
    return (await client.threads.search(sorted)).map((thread) => thread.thread_id);
  };
  assert.deepEqual(await ids({}), made);
  assert.deepEqual(await ids({ sortOrder: "desc", limit: 2 }), [made[2], made[1]]);
  assert.deepEqual(await ids({ offset: 2 }), [made[2]]);
  assert.deepEqual(await ids({ status: "interrupted" }), [made[1]]);
  assert.deepEqual(await ids({ metadata: { of, n: 2 } }), [made[2]]);
});

method("threads.count", "what a search would find", async () => {
  const of = mark();
  await newThread({ metadata: { of } });
  await newThread({ metadata: { of } });
  assert.equal(await client.threads.count({ metadata: { of } }), 2);
  assert.equal(await client.threads.count({ metadata: { of }, status: "busy" }), 0);
});

method("threads.getState", "now, and at a checkpoint named in either way", async () => {
  const threadId = await answeredThread();
  const state = await client.threads.getState(threadId);
  assert.deepEqual(textsOf(state.values), ["hi there", "echo: hi there"]);
  assert.deepEqual(state.next, []);
  assert.deepEqual(await client.threads.getState(threadId, state.checkpoint), state);
  assert.deepEqual(await client.threads.getState(threadId, state.checkpoint.checkpoint_id), state);
  await rejectsWith(404, client.threads.getState(threadId, randomUUID()));
});

method("threads.updateState", "goes through the reducers, also from the past", async () => {
  const threadId = await answeredThread();
  const before = (await client.threads.getState(threadId)).checkpoint;
  const values = { messages: [{ role: "user", content: "more" }] };
  await client.threads.updateState(threadId, { values, asNode: "model" });
  assert.deepEqual(textsOf((await client.threads.getState(threadId)).values), ["hi there", "echo: hi there", "more"]);
  const fork = await client.threads.updateState(threadId, { values, asNode: "model", checkpoint: before });
  assert.equal((await client.threads.getState(threadId)).checkpoint.checkpoint_id, fork.checkpoint.checkpoint_id);
  await rejectsWith(400, client.threads.updateState(threadId, { values, asNode: "nobody" }));
});

method("threads.patchState", "adds metadata to the thread", async () => {
  const threadId = await newThread({ metadata: { a: 1 } });
  await client.threads.patchState(threadId, { b: 2 });
  await client.threads.patchState({ configurable: { thread_id: threadId } }, { c: 3 });
  assert.deepEqual((await client.threads.get(threadId)).metadata, { a: 1, b: 2, c: 3 });
  await rejectsWith(404, client.threads.patchState(randomUUID(), { b: 2 }));
});

method("threads.getHistory", "newest first, before a checkpoint, by metadata", async () => {
  const threadId = await answeredThread();
  const history = await client.threads.getHistory(threadId);
  assert.deepEqual(history.map((state) => state.metadata.step), [1, 0, -1]);
  assert.equal((await client.threads.getHistory(threadId, { limit: 1 })).length, 1);
  const before = { configurable: history[0].checkpoint };
  assert.deepEqual(await client.threads.getHistory(threadId, { before }), history.slice(1));
  const input = await client.threads.getHistory(threadId, { metadata: { source: "input" } });
  assert.deepEqual(input, history.slice(2));
});

method("threads.copy", "has the same messages, and a life of its own", async () => {
  const threadId = await answeredThread();
  const copy = await client.threads.copy(threadId);
  assert.notEqual(copy.thread_id, threadId);
  await client.runs.wait(copy.thread_id, "agent", { input: HELLO });
  assert.equal(textsOf((await client.threads.getState(copy.thread_id)).values).length, 4);
  assert.equal(textsOf((await client.threads.getState(threadId)).values).length, 2);
});

method("threads.joinStream", "hears of runs that begin later, until it leaves", async () => {
  const threadId = await newThread();
  const leaving = new AbortController();
  const stream = client.threads.joinStream(threadId, { streamMode: "run_modes", signal: leaving.signal });
  const heard = [];
  const opened = streamOpened();
  const reading = (async () => {
    for await (const part of stream) {
      heard.push(part);
      if (part.data?.status === "run_done") break;
    }
  })();
  await opened;
  const { run_id: runId } = await client.runs.create(threadId, "agent", { input: HELLO, streamMode: ["values"] });
  await reading;
  leaving.abort();
  assert.ok(heard.every((part) => part.id), "each part has an id");
  assert.equal(heard[0].data.run_id, runId);
  assert.equal(heard.at(-1).data.run_id, runId);
  const values = heard.filter((part) => part.event === "values");
  assert.deepEqual(textsOf(values.at(-1).data), ["hi there", "echo: hi there"]);
  // Whoever comes back gets what came after the part they know.
  const again = client.threads.joinStream(threadId, { lastEventId: heard[0].id, signal: AbortSignal.timeout(5_000) });
  const { value } = await again.next();
  assert.equal(value.id, heard[1].id);
  await again.return();
});
