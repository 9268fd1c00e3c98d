// A test of one method of the SDK: it fails when it ends without having called what its title names.
import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";

import { nounsOf, sdk, verbsOf } from "./methods.mjs";

export const url = process.env.SERVER_URL;
export const { Client } = sdk;
export const HELLO = { messages: [{ role: "user", content: "hi there" }] };

const called = new Set();
let onStream = () => {};

async function noticing(input, init) {
  const response = await fetch(input, init);
  if (String(input.url ?? input).includes("/stream")) onStream();
  return response;
}

export const client = watched(
  new Client({ apiUrl: url, apiKey: null, callerOptions: { maxRetries: 0, fetch: noticing } }),
);

/** Resolves when the next stream that the client asks for has been opened by the server. */
export const streamOpened = () => new Promise((resolve) => (onStream = resolve));

export function method(name, title, check) {
  test(`${name}: ${title}`, async (context) => {
    called.clear();
    await check(context);
    assert.ok(called.has(name), `${name} was not called`);
  });
}

/** A thread's stream, or the one that is given, whose members are noted when used; closed at the end of the test. */
export function streaming(context, thread, options) {
  const stream = typeof thread === "string" ? client.threads.stream(thread, options) : thread;
  context.after(() => stream.close());
  return noted(stream, "stream");
}

export async function newThread(options) {
  return (await client.threads.create(options)).thread_id;
}

/** A thread on which `assistant` has answered `input`. */
export async function answeredThread(assistant = "agent", input = HELLO) {
  const threadId = await newThread();
  await client.runs.wait(threadId, assistant, { input });
  return threadId;
}

export function textsOf(values) {
  return values.messages.map((message) => message.content);
}

export async function collect(stream) {
  const parts = [];
  for await (const part of stream) parts.push(part);
  return parts;
}

/** What `look` finds, once it finds something; looks again and again for 20 seconds. */
export async function eventually(look) {
  for (let tries = 0; tries < 400; tries += 1) {
    const found = await look();
    if (found) return found;
    await sleep(50);
  }
  throw new Error(`never came true: ${look}`);
}

export function mark() {
  return randomUUID();
}

export async function rejectsWith(status, promise, pattern = /./) {
  await assert.rejects(promise, (error) => {
    assert.equal(error.status, status, `${error}`);
    assert.match(`${error.message} ${error.text}`, pattern);
    return true;
  });
}

function watched(real) {
  for (const noun of nounsOf(real)) {
    for (const verb of verbsOf(real[noun])) {
      const original = real[noun][verb];
      real[noun][verb] = function (...given) {
        called.add(`${noun}.${verb}`);
        return original.apply(this, given);
      };
    }
  }
  return real;
}

function noted(object, path) {
  return new Proxy(object, {
    get(target, name) {
      const value = target[name];
      if (typeof name !== "string") return value;
      called.add(`${path}.${name}`);
      if (typeof value === "function") return value.bind(target);
      return ["run", "agent", "input", "state"].includes(name) ? noted(value, `${path}.${name}`) : value;
    },
  });
}
