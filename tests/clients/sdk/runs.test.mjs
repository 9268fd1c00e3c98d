// Runs: streamed, waited for, left alone, rejoined, stopped.
import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";

import { HELLO, client, collect, eventually, method, newThread, rejectsWith, textsOf } from "./method.mjs";

const SLOW = { steps: 20, delay: 0.1 };

async function running(threadId) {
  const { run_id: runId } = await client.runs.create(threadId, "slow", { input: SLOW });
  await eventually(async () => (await client.threads.getState(threadId)).values?.done);
  return runId;
}

method("runs.stream", "tokens, values and updates", async () => {
  const threadId = await newThread();
  let created;
  const parts = await collect(
    client.runs.stream(threadId, "agent", {
      input: HELLO,
      streamMode: ["values", "updates", "messages-tuple"],
      onRunCreated: (run) => (created = run),
    }),
  );
  assert.equal(parts[0].event, "metadata");
  assert.equal(parts[0].data.run_id, created.run_id);
  assert.equal(created.thread_id, threadId);
  const tokens = parts.filter((part) => part.event === "messages").map((part) => part.data[0].content);
  assert.equal(tokens.join(""), "echo: hi there");
  assert.ok(tokens.length > 2, "in pieces");
  assert.deepEqual(textsOf(parts.findLast((part) => part.event === "values").data), ["hi there", "echo: hi there"]);
  assert.ok(parts.some((part) => part.event === "updates" && part.data.model));
});

method("runs.stream", "messages grow, subgraphs are named, custom data comes", async () => {
  const payload = { input: HELLO, streamMode: ["messages", "custom"], streamSubgraphs: true };
  const parts = await collect(client.runs.stream(await newThread(), "nested", payload));
  const partial = parts.filter((part) => part.event === "messages/partial").map((part) => part.data[0].content);
  assert.equal(partial.at(-1), "from child");
  assert.ok(partial.length > 1 && partial[0].length < partial.at(-1).length);
  const custom = parts.filter((part) => part.event.startsWith("custom"));
  assert.deepEqual(custom.map((part) => part.data.progress), ["parent", "child"]);
  assert.match(custom[1].event, /^custom\|child:/);
});

method("runs.stream", "stops to ask, and goes on with the answer", async () => {
  const threadId = await newThread();
  const asked = await collect(client.runs.stream(threadId, "hitl", { input: HELLO }));
  assert.deepEqual(asked.at(-1).data.__interrupt__[0].value, { question: "approve?" });
  const answered = await collect(client.runs.stream(threadId, "hitl", { command: { resume: "yes" } }));
  assert.equal(answered.at(-1).data.answer, "yes");
});

method("runs.stream", "without a thread", async () => {
  const parts = await collect(client.runs.stream(null, "agent", { input: HELLO }));
  assert.deepEqual(textsOf(parts.at(-1).data), ["hi there", "echo: hi there"]);
});

method("runs.stream", "an error in a node ends it with an error", async () => {
  const parts = await collect(client.runs.stream(await newThread(), "fail", { input: HELLO }));
  assert.equal(parts.at(-1).event, "error");
  assert.deepEqual(parts.at(-1).data, { error: "ValueError", message: "boom" });
});

method("runs.create", "in the background, with metadata and context", async () => {
  const threadId = await newThread();
  const payload = { input: {}, metadata: { ticket: 7 }, context: { color: "green" } };
  const run = await client.runs.create(threadId, "ctx", payload);
  assert.equal(run.status, "pending");
  assert.equal(run.metadata.ticket, 7);
  const { seen } = await client.runs.join(threadId, run.run_id);
  assert.deepEqual(seen.context, { color: "green" });
  assert.equal(seen.metadata.ticket, 7);
  await rejectsWith(404, client.runs.create(randomUUID(), "agent", { input: HELLO }));
  await rejectsWith(422, client.runs.create(threadId, "nobody", { input: HELLO }), /nobody/);
});

method("runs.create", "busy threads refuse, queue or stop, as is asked", async () => {
  const threadId = await newThread();
  const first = await running(threadId);
  const again = (multitaskStrategy) => client.runs.create(threadId, "slow", { input: { steps: 1 }, multitaskStrategy });
  await rejectsWith(409, again("reject"), /already running/);
  const queued = await again("enqueue");
  assert.equal((await client.runs.get(threadId, queued.run_id)).status, "pending");
  const urgent = await again("interrupt");
  await client.runs.join(threadId, urgent.run_id);
  assert.equal((await client.runs.get(threadId, first)).status, "interrupted");
  assert.equal((await client.runs.get(threadId, urgent.run_id)).status, "success");
});

method("runs.createBatch", "one run each", async () => {
  const payload = { assistantId: "agent", input: HELLO };
  const runs = await client.runs.createBatch([payload, payload]);
  assert.equal(new Set(runs.map((run) => run.run_id)).size, 2);
});

method("runs.wait", "answers with the last values", async () => {
  const threadId = await newThread();
  let created;
  const values = await client.runs.wait(threadId, "agent", { input: HELLO, onRunCreated: (run) => (created = run) });
  assert.deepEqual(textsOf(values), ["hi there", "echo: hi there"]);
  assert.equal((await client.runs.get(threadId, created.run_id)).status, "success");
  assert.deepEqual(textsOf(await client.runs.wait(null, "agent", { input: HELLO })), ["hi there", "echo: hi there"]);
  const asked = await client.runs.wait(threadId, "hitl", { input: HELLO });
  assert.deepEqual(asked.__interrupt__[0].value, { question: "approve?" });
});

method("runs.wait", "a failure is thrown, or told", async () => {
  await assert.rejects(client.runs.wait(await newThread(), "fail", { input: HELLO }), /ValueError.*boom/);
  const told = await client.runs.wait(await newThread(), "fail", { input: HELLO, raiseError: false });
  assert.deepEqual(told.__error__, { error: "ValueError", message: "boom" });
});

method("runs.list", "newest first, by status, in pages", async () => {
  const threadId = await newThread();
  for (const graph of ["agent", "fail", "agent"]) {
    await client.runs.wait(threadId, graph, { input: HELLO, raiseError: false });
  }
  const runs = await client.runs.list(threadId);
  assert.deepEqual(runs.map((run) => run.status), ["success", "error", "success"]);
  assert.equal((await client.runs.list(threadId, { status: "error" })).length, 1);
  assert.deepEqual(await client.runs.list(threadId, { limit: 1, offset: 1 }), [runs[1]]);
  const [picked] = await client.runs.list(threadId, { select: ["run_id", "status"], limit: 1 });
  assert.deepEqual(picked, { run_id: runs[0].run_id, status: "success" });
});

method("runs.get", "one run, and 404 for none", async () => {
  const threadId = await newThread();
  const { run_id: runId } = await client.runs.create(threadId, "agent", { input: HELLO });
  const run = await client.runs.get(threadId, runId);
  assert.equal(run.thread_id, threadId);
  await rejectsWith(404, client.runs.get(threadId, randomUUID()));
});

method("runs.cancel", "interrupt keeps what was done", async () => {
  const threadId = await newThread();
  const runId = await running(threadId);
  await client.runs.cancel(threadId, runId, true);
  assert.equal((await client.runs.get(threadId, runId)).status, "interrupted");
  assert.ok((await client.threads.getState(threadId)).values.done >= 1);
  await rejectsWith(404, client.runs.cancel(threadId, runId));
});

method("runs.cancel", "rollback leaves nothing", async () => {
  const threadId = await newThread();
  const runId = await running(threadId);
  await client.runs.cancel(threadId, runId, true, "rollback");
  await rejectsWith(404, client.runs.get(threadId, runId));
  assert.deepEqual((await client.threads.getState(threadId)).values, {});
});

method("runs.join", "waits for a run of somebody else's", async () => {
  const threadId = await newThread();
  const { run_id: runId } = await client.runs.create(threadId, "slow", { input: { steps: 3, delay: 0.05 } });
  assert.equal((await client.runs.join(threadId, runId)).done, 3);
  assert.equal((await client.runs.join(threadId, runId)).done, 3, "and afterwards at once");
});

method("runs.joinStream", "goes on after the last part that was seen, and misses none", async () => {
  const threadId = await newThread();
  const input = { steps: 6, delay: 0.1 };
  const stream = client.runs.stream(threadId, "slow", {
    input,
    streamMode: ["custom"],
    streamResumable: true,
    onDisconnect: "continue",
  });
  const seen = [];
  let runId;
  for await (const part of stream) {
    runId ??= part.data.run_id;
    seen.push(part);
    if (part.data?.tick === 2) break;
  }
  const rest = await collect(
    client.runs.joinStream(threadId, runId, { lastEventId: seen.at(-1).id, streamMode: ["custom"] }),
  );
  const ticks = [...seen, ...rest].filter((part) => part.event === "custom").map((part) => part.data.tick);
  assert.deepEqual(ticks, [1, 2, 3, 4, 5, 6]);
  const all = await collect(client.runs.joinStream(threadId, runId, { lastEventId: "-1" }));
  assert.deepEqual(all.filter((part) => part.event === "custom").map((part) => part.data.tick), [1, 2, 3, 4, 5, 6]);
});

method("runs.joinStream", "whoever leaves with cancelOnDisconnect stops the run", async () => {
  const threadId = await newThread();
  const runId = await running(threadId);
  const leaving = new AbortController();
  const stream = client.runs.joinStream(threadId, runId, { cancelOnDisconnect: true, signal: leaving.signal });
  await stream.next();
  leaving.abort();
  await stream.return?.().catch(() => undefined);
  await eventually(async () => (await client.runs.get(threadId, runId)).status === "interrupted");
});

method("runs.delete", "and it is gone, its thread stays", async () => {
  const threadId = await newThread();
  let runId;
  await client.runs.wait(threadId, "agent", { input: HELLO, onRunCreated: (run) => (runId = run.run_id) });
  await client.runs.delete(threadId, runId);
  await rejectsWith(404, client.runs.get(threadId, runId));
  assert.equal((await client.threads.get(threadId)).status, "idle");
});
