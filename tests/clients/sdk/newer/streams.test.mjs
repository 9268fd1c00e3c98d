// Thread streams: the event protocol, over SSE and over a WebSocket (this file is run with each).
import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";

import { HELLO, answeredThread, client, collect, eventually, method, streaming, textsOf } from "../method.mjs";

const transport = process.env.TRANSPORT;

function opened(context, assistantId, threadId = randomUUID()) {
  return streaming(context, threadId, { assistantId, transport });
}

async function first(items) {
  for await (const item of items) return item;
  throw new Error("it ended without one");
}

async function interrupted(stream) {
  return eventually(() => stream.interrupted && stream.interrupts[0]);
}

method("threads.stream", "an id is made when none is given", async (context) => {
  const stream = client.threads.stream({ assistantId: "agent", transport });
  context.after(() => stream.close());
  await stream.run.start({ input: HELLO });
  await stream.output;
  assert.deepEqual(textsOf((await client.threads.getState(stream.threadId)).values), ["hi there", "echo: hi there"]);
});

method("stream.run.start", "starts a run, which can be found", async (context) => {
  const stream = opened(context, "ctx");
  const config = { configurable: { color: "red" }, tags: ["t"] };
  const { run_id: runId } = await stream.run.start({ input: {}, config, metadata: { ticket: 7 } });
  const { seen } = await stream.output;
  assert.equal(seen.configurable.color, "red");
  assert.deepEqual(seen.tags, ["t"]);
  assert.equal((await client.runs.get(stream.threadId, runId)).metadata.ticket, 7);
});

method("stream.run.start", "says what is wrong", async (context) => {
  await assert.rejects(opened(context, "nobody").run.start({ input: HELLO }), /nobody/);
  const stream = opened(context, "slow");
  await stream.run.start({ input: { steps: 20, delay: 0.1 } });
  const refused = stream.run.start({ input: { steps: 1 }, multitaskStrategy: "reject" });
  await assert.rejects(refused, /already running/);
});

method("stream.output", "the last values", async (context) => {
  const stream = opened(context, "agent");
  await stream.run.start({ input: HELLO });
  assert.deepEqual(textsOf(await stream.output), ["hi there", "echo: hi there"]);
});

method("stream.values", "each step's, then the last again for who awaits them", async (context) => {
  const stream = opened(context, "slow");
  const snapshots = collect(stream.values);
  await stream.run.start({ input: { steps: 3, delay: 0.02 } });
  assert.equal((await stream.values).done, 3);
  assert.deepEqual((await snapshots).map((values) => values.done).filter(Boolean), [1, 2, 3]);
});

method("stream.messages", "arrive in pieces", async (context) => {
  const stream = opened(context, "agent");
  const { messages } = stream;
  await stream.run.start({ input: HELLO });
  const message = await first(messages);
  const pieces = await collect(message.text);
  assert.ok(pieces.length > 1);
  assert.equal(pieces.join(""), "echo: hi there");
  assert.equal((await message.output).text, "echo: hi there");
});

method("stream.toolCalls", "with their inputs and outputs", async (context) => {
  const stream = opened(context, "tools");
  const { toolCalls } = stream;
  await stream.run.start({ input: HELLO });
  const call = await first(toolCalls);
  assert.equal(call.name, "add");
  assert.deepEqual(call.input, { a: 2, b: 3 });
  assert.equal(await call.output, "5");
});

method("stream.subgraphs", "are found, and read by themselves", async (context) => {
  const stream = opened(context, "delegating");
  const { subgraphs } = stream;
  await stream.run.start({ input: HELLO });
  const child = await first(subgraphs);
  assert.equal(child.graphName, "researcher");
  const message = await first(child.messages);
  assert.equal(await message.text, "found it");
});

method("stream.subagents", "a task tool's agent, with what it was told and what it said", async (context) => {
  const stream = opened(context, "delegating");
  const { subagents } = stream;
  await stream.run.start({ input: HELLO });
  const subagent = await first(subagents);
  assert.equal(subagent.name, "researcher");
  assert.equal(await subagent.taskInput, "find it");
  assert.match(JSON.stringify(await subagent.output), /found it/);
});

method("stream.images", "as blobs", async (context) => {
  await checkMedia(context, "images", "image/png");
});

method("stream.audio", "as blobs", async (context) => {
  await checkMedia(context, "audio", "audio/wav");
});

method("stream.video", "as blobs", async (context) => {
  await checkMedia(context, "video", "video/mp4");
});

method("stream.files", "as blobs", async (context) => {
  await checkMedia(context, "files", "application/pdf");
});

async function checkMedia(context, kind, type) {
  const stream = opened(context, "pictures");
  const found = first(stream[kind]);
  await stream.run.start({ input: HELLO });
  const blob = await (await found).blob;
  assert.equal(blob.type, type);
  assert.deepEqual([...new Uint8Array(await blob.arrayBuffer())], [0, 1, 2]);
}

method("stream.extensions", "custom data under its name", async (context) => {
  const stream = opened(context, "announcing");
  const { progress } = stream.extensions;
  const seen = collect(progress);
  await stream.run.start({ input: HELLO });
  assert.deepEqual(await seen, [{ percent: 50 }, { percent: 100 }]);
  assert.deepEqual(await progress, { percent: 100 });
});

method("stream.subscribe", "to channels, until it unsubscribes", async (context) => {
  const stream = opened(context, "slow");
  const ticks = await stream.subscribe(["custom", "updates", "checkpoints", "tasks"]);
  await stream.run.start({ input: { steps: 2, delay: 0.02 } });
  const events = await collect(ticks);
  const of = (name) => events.filter((event) => event.method === name);
  assert.deepEqual(of("custom").map((event) => event.params.data.payload.tick), [1, 2]);
  assert.equal(of("updates").length, 2);
  assert.ok(of("checkpoints").length >= 3);
  assert.ok(of("tasks").length >= 4);
  assert.equal(new Set(events.map((event) => event.event_id)).size, events.length);
  await ticks.unsubscribe();
});

method("stream.onEvent", "each event once, numbered upwards, over the runs of a thread", async (context) => {
  const stream = opened(context, "agent");
  const seen = [];
  const stop = stream.onEvent((event) => seen.push(event));
  stream.messages;
  for (let turn = 0; turn < 2; turn += 1) {
    await stream.run.start({ input: HELLO });
    const ends = () => seen.filter((event) => event.method === "lifecycle" && event.params.data.event === "completed");
    await eventually(() => ends().length === turn + 1);
  }
  stop();
  assert.equal(new Set(seen.map((event) => event.event_id)).size, seen.length);
  // Over a WebSocket each subscription replays by itself, so that only what follows both is in order for all.
  const begin = seen.findLast((event) => event.method === "lifecycle" && event.params.data.event === "running").seq;
  const seqs = seen.map((event) => event.seq).filter((seq) => seq >= begin);
  assert.deepEqual(seqs, [...seqs].sort((a, b) => a - b));
  assert.ok(seqs.length > 5 && seqs.length < seen.length);
});

method("stream.onError", "hears when the server is not to be had", async (context) => {
  const { Client } = await import("@langchain/langgraph-sdk");
  const nowhere = new Client({ apiUrl: "http://127.0.0.1:9", apiKey: null, callerOptions: { maxRetries: 0 } });
  const lost = nowhere.threads.stream(randomUUID(), { assistantId: "agent", transport, maxReconnectAttempts: 0 });
  const stream = streaming(context, lost);
  const errors = [];
  stream.onError((error) => errors.push(error));
  await assert.rejects(stream.run.start({ input: HELLO }));
  if (transport === "websocket") assert.ok(errors.length > 0);
});

method("stream.submitRun", "forks from a checkpoint", async (context) => {
  const stream = opened(context, "agent");
  await stream.submitRun({ input: HELLO });
  await eventually(async () => (await client.threads.get(stream.threadId)).status === "idle");
  const [, asked] = await client.threads.getHistory(stream.threadId);
  const values = stream.values;
  const again = { messages: [{ role: "user", content: "instead" }] };
  await stream.submitRun({ input: again, forkFrom: asked.parent_checkpoint.checkpoint_id });
  await eventually(async () => textsOf((await client.threads.getState(stream.threadId)).values).at(-1) === "echo: instead");
  assert.deepEqual(textsOf((await client.threads.getState(stream.threadId)).values), ["instead", "echo: instead"]);
  assert.ok(values);
});

method("stream.input.respond", "the run goes on with the answer", async (context) => {
  const stream = opened(context, "hitl");
  await stream.run.start({ input: HELLO });
  const asked = await interrupted(stream);
  assert.deepEqual(asked.payload, { question: "approve?" });
  await stream.input.respond({ interrupt_id: asked.interruptId, namespace: asked.namespace, response: "yes" });
  await eventually(async () => (await client.threads.get(stream.threadId)).status === "idle");
  assert.equal((await client.threads.getState(stream.threadId)).values.answer, "yes");
  const twice = { interrupt_id: asked.interruptId, namespace: asked.namespace, response: "no" };
  await assert.rejects(stream.input.respond(twice), /no_such_interrupt|already-consumed/);
});

method("stream.respondInput", "answers to two questions at once", async (context) => {
  const stream = opened(context, "multi");
  await stream.run.start({ input: {} });
  await eventually(() => stream.interrupted && stream.interrupts.length === 2);
  const responses = stream.interrupts.map(({ interruptId, namespace, payload }) => ({
    interrupt_id: interruptId,
    namespace,
    response: `to ${payload}`,
  }));
  await stream.respondInput({ responses });
  await eventually(async () => (await client.threads.get(stream.threadId)).status === "idle");
  const { values } = await client.threads.getState(stream.threadId);
  assert.deepEqual(values.answers.sort(), ["a=to a?", "b=to b?"]);
});

method("stream.input.inject", "a message in between", async (context) => {
  const stream = opened(context, "agent", await answeredThread());
  await stream.input.inject({ message: { role: "user", content: "and more" } });
  const last = async () => textsOf((await client.threads.getState(stream.threadId)).values).at(-1);
  await eventually(async () => (await last()) === "echo: and more");
});

method("stream.state.get", "values by key", async (context) => {
  const stream = opened(context, "agent", await answeredThread());
  const { values, checkpoint } = await stream.state.get({ keys: ["messages"] });
  assert.deepEqual(textsOf(values), ["hi there", "echo: hi there"]);
  assert.equal(checkpoint.id, (await client.threads.getState(stream.threadId)).checkpoint.checkpoint_id);
});

method("stream.state.listCheckpoints", "newest first", async (context) => {
  const stream = opened(context, "agent", await answeredThread());
  const { checkpoints } = await stream.state.listCheckpoints({});
  assert.deepEqual(checkpoints.map(({ step }) => step), [1, 0, -1]);
  const { checkpoints: older } = await stream.state.listCheckpoints({ before: checkpoints[0].id, limit: 1 });
  assert.deepEqual(older, [checkpoints[1]]);
});

method("stream.state.fork", "goes on from the past", async (context) => {
  const stream = opened(context, "agent", await answeredThread());
  const { checkpoints } = await stream.state.listCheckpoints({});
  const input = { messages: [{ role: "user", content: "instead" }] };
  const { run_id: runId } = await stream.state.fork({ checkpoint_id: checkpoints.at(-1).id, input });
  await client.runs.join(stream.threadId, runId);
  const texts = textsOf((await client.threads.getState(stream.threadId)).values);
  assert.equal(texts.at(-1), "echo: instead");
});

method("stream.agent.getTree", "the run and its subgraphs", async (context) => {
  const stream = opened(context, "nested");
  await assert.rejects(stream.agent.getTree(), /no_such_run|No active run/);
  await stream.run.start({ input: HELLO });
  await stream.output;
  const { tree } = await stream.agent.getTree();
  assert.equal(tree.graph_name, "nested");
  assert.equal(tree.children[0].graph_name, "child");
});

method("stream.startLifecycleWatcher", "sees what somebody else has started", async (context) => {
  const threadId = await answeredThread("nested");
  const stream = opened(context, "nested", threadId);
  const seen = [];
  stream.onEvent(({ method, params }) => seen.push([method, params.data.event, params.data.graph_name].join(" ")));
  const ended = (graph) => seen.filter((what) => what === `lifecycle completed ${graph}`).length;
  stream.startLifecycleWatcher();
  await eventually(() => ended("nested") === 1);
  await client.runs.create(threadId, "nested", { input: HELLO, streamMode: ["tasks"], streamSubgraphs: true });
  await eventually(() => ended("nested") === 2 && ended("child") === 1);
});

method("stream.close", "its iterators end", async () => {
  const stream = streaming({ after() {} }, randomUUID(), { assistantId: "slow", transport });
  await stream.run.start({ input: { steps: 30, delay: 0.1 } });
  const events = await stream.subscribe(["custom"]);
  const reading = collect(events);
  await stream.close();
  await reading;
});
