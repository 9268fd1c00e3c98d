// @ag-ui/langgraph, which CopilotKit talks to LangGraph servers with: its agent runs graphs of this server, and
// @ag-ui/client checks the order of every event that comes out of it.
import { LangGraphAgent } from "@ag-ui/langgraph";
import { Client } from "@langchain/langgraph-sdk";
import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";

const { SERVER_URL } = process.env;
const WORDS = Array.from({ length: 40 }, (_, place) => `w${place + 1}`).join(" ");
const APPROVE = { decisions: [{ type: "approve" }] };
const client = new Client({ apiUrl: SERVER_URL, apiKey: null });

function agentOf(graphId, config = {}) {
  return new LangGraphAgent({ deploymentUrl: SERVER_URL, graphId, threadId: randomUUID(), ...config });
}

function say(agent, content) {
  agent.addMessage({ id: randomUUID(), role: "user", content });
}

/** One run: its events, and the messages that it added. */
async function run(agent, parameters = {}) {
  const events = [];
  const { newMessages } = await agent.runAgent(parameters, {
    onEvent: ({ event }) => {
      events.push(event);
    },
  });
  assert.equal(events[0].type, "RUN_STARTED");
  assert.equal(events.at(-1).type, "RUN_FINISHED");
  return { events, newMessages, types: events.map(({ type }) => type) };
}

function spoken(events) {
  return events.filter(({ type }) => type === "TEXT_MESSAGE_CONTENT").map(({ delta }) => delta);
}

async function eventually(look) {
  for (let tries = 0; tries < 400; tries += 1) {
    const found = await look();
    if (found) return found;
    await sleep(50);
  }
  throw new Error(`never came true: ${look}`);
}

test("tokens stream in, and the state at the end is the thread's", async () => {
  const agent = agentOf("story");
  say(agent, "hello");
  const { events, newMessages } = await run(agent);
  assert.equal(spoken(events).join(""), `${WORDS} end1`);
  assert.ok(spoken(events).length > 20, "in pieces");
  assert.deepEqual(newMessages.map(({ role, content }) => [role, content]), [["assistant", `${WORDS} end1`]]);
  const state = await client.threads.getState(agent.threadId);
  assert.deepEqual(agent.messages.map(({ id }) => id), state.values.messages.map(({ id }) => id));
});

test("a second turn follows the first", async () => {
  const agent = agentOf("agent");
  for (const text of ["one", "two"]) {
    say(agent, text);
    const { newMessages } = await run(agent);
    assert.deepEqual(newMessages.map(({ content }) => content), [`echo: ${text}`]);
  }
  assert.deepEqual(agent.messages.map(({ content }) => content), ["one", "echo: one", "two", "echo: two"]);
});

test("tool calls and their results", async () => {
  const agent = agentOf("tools");
  say(agent, "add");
  const { events, newMessages } = await run(agent);
  const args = events.filter(({ type }) => type === "TOOL_CALL_ARGS").map(({ delta }) => delta);
  assert.deepEqual(JSON.parse(args.join("")), { a: 2, b: 3 });
  assert.equal(events.find(({ type }) => type === "TOOL_CALL_START").toolCallName, "add");
  assert.equal(events.find(({ type }) => type === "TOOL_CALL_RESULT").content, "5");
  assert.ok(newMessages.some(({ content }) => content === "sum is 5"));
});

test("a subgraph speaks", async () => {
  const agent = agentOf("nested");
  say(agent, "hello");
  const { events, newMessages } = await run(agent);
  assert.equal(spoken(events).join(""), "from child");
  assert.deepEqual(newMessages.map(({ content }) => content), ["from parent", "from child"]);
});

test("a question ends the run, and its answer resumes it", async () => {
  const agent = agentOf("payments", { emitInterruptOutcome: true });
  say(agent, "pay invoice 2042");
  const asked = await run(agent);
  assert.equal(asked.events.at(-1).outcome.type, "interrupt");
  const [question] = agent.pendingInterrupts;
  assert.equal(question.metadata.langgraph.raw.action_requests[0].name, "send_payment");
  const resume = [{ interruptId: question.id, status: "resolved", payload: APPROVE }];
  const { newMessages } = await run(agent, { resume });
  assert.ok(newMessages.some(({ content }) => content.includes("The invoice is closed.")));
  assert.deepEqual(agent.pendingInterrupts, []);
});

test("a question is answered with a command, as CopilotKit does it", async () => {
  const agent = agentOf("hitl");
  say(agent, "hello");
  const { events } = await run(agent);
  assert.equal(events.find(({ type, name }) => type === "CUSTOM" && name === "on_interrupt") !== undefined, true);
  const { newMessages } = await run(agent, { forwardedProps: { command: { resume: "yes" } } });
  assert.deepEqual(newMessages.map(({ content }) => content), ["answer=yes"]);
});

test("a run is stopped in the middle of a message", async () => {
  const agent = agentOf("saga");
  say(agent, "hello");
  const running = run(agent);
  running.catch(() => {});
  await eventually(async () => agent.messages.at(-1).content.includes("w20"));
  agent.abortRun();
  // The adapter does not end the message that was under way, and @ag-ui/client objects to that.
  await assert.rejects(running, /text messages are still active/);
  const [{ status }] = await eventually(async () => {
    const runs = await client.runs.list(agent.threadId);
    return runs[0].status !== "running" && runs;
  });
  assert.equal(status, "interrupted");
});

test("a run that fails says why", async () => {
  const agent = agentOf("fail");
  say(agent, "hello");
  const errors = [];
  const running = agent.runAgent({}, { onRunErrorEvent: ({ event }) => void errors.push(event.message) });
  // The adapter ends a step after the error, and @ag-ui/client objects to that.
  await assert.rejects(running, /already errored/);
  assert.deepEqual(errors, ["boom"]);
});

test("an earlier message is answered anew, and what followed it is gone", async () => {
  const agent = agentOf("agent");
  for (const text of ["one", "two"]) {
    say(agent, text);
    await run(agent);
  }
  // Fewer messages than the thread has, one of them unknown to it: the adapter forks from before the last question.
  agent.setMessages([{ id: randomUUID(), role: "assistant", content: "welcome" }, agent.messages[0]]);
  const { newMessages } = await run(agent);
  assert.deepEqual(newMessages.map(({ content }) => content), ["echo: one"]);
  const state = await client.threads.getState(agent.threadId);
  assert.deepEqual(state.values.messages.map(({ content }) => content), ["one", "echo: one"]);
});

test("what the adapter asks of a server, it gets", async () => {
  const agent = agentOf("agent");
  const assistant = await agent.getAssistant();
  assert.equal(assistant.graph_id, "agent");
  const keys = await agent.getSchemaKeys();
  assert.ok(keys.input.includes("messages") && keys.output.includes("messages"), JSON.stringify(keys));
  assert.ok(await agent.getCapabilities());
});
