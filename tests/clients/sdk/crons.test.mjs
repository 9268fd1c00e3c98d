// Crons: runs that begin by the clock.
import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";

import { HELLO, client, eventually, mark, method, newThread, rejectsWith } from "./method.mjs";

const YEARLY = "0 0 1 1 *";
const EVERY_SECOND = "* * * * * *";

/** The crons of one test; they are gone after it. */
function made(context) {
  const crons = [];
  context.after(() => Promise.all(crons.map((cron) => client.crons.delete(cron.cron_id).catch(() => undefined))));
  return (cron) => {
    crons.push(cron);
    return cron;
  };
}

method("crons.create", "makes threads of their own, by the clock", async (context) => {
  const of = mark();
  const cron = made(context)(
    await client.crons.create("agent", { schedule: EVERY_SECOND, input: HELLO, metadata: { of }, onRunCompleted: "keep" }),
  );
  assert.ok(cron.cron_id);
  assert.equal(cron.schedule, EVERY_SECOND);
  const threads = () => client.threads.search({ metadata: { of } });
  await eventually(async () => (await threads()).length > 1);
  const [{ thread_id: threadId }] = await threads();
  await eventually(async () => (await client.threads.getState(threadId)).values.messages?.length === 2);
  await rejectsWith(422, client.crons.create("agent", { schedule: "whenever", input: HELLO }));
  await rejectsWith(422, client.crons.create("nobody", { schedule: YEARLY, input: HELLO }));
});

method("crons.createForThread", "runs on the thread", async (context) => {
  const threadId = await newThread();
  const cron = made(context)(
    await client.crons.createForThread(threadId, "agent", { schedule: EVERY_SECOND, input: HELLO }),
  );
  assert.equal(cron.thread_id, threadId);
  await eventually(async () => (await client.runs.list(threadId, { status: "success" })).length > 0);
  await rejectsWith(404, client.crons.createForThread(randomUUID(), "agent", { schedule: YEARLY, input: HELLO }));
});

method("crons.update", "another time, and none for a while", async (context) => {
  const { cron_id: cronId } = made(context)(await client.crons.create("agent", { schedule: YEARLY, input: HELLO }));
  const changed = await client.crons.update(cronId, { schedule: "0 0 2 1 *", enabled: false });
  assert.equal(changed.schedule, "0 0 2 1 *");
  assert.equal(changed.enabled, false);
  await rejectsWith(404, client.crons.update(randomUUID(), { enabled: false }));
});

method("crons.delete", "and it is gone", async () => {
  const of = mark();
  const { cron_id: cronId } = await client.crons.create("agent", { schedule: YEARLY, input: HELLO, metadata: { of } });
  await client.crons.delete(cronId);
  assert.deepEqual(await client.crons.search({ metadata: { of } }), []);
  await rejectsWith(404, client.crons.delete(cronId));
});

method("crons.search", "by assistant, thread and metadata, in pages", async (context) => {
  const [of, threadId, keep] = [mark(), await newThread(), made(context)];
  const options = { schedule: YEARLY, input: HELLO, metadata: { of } };
  const first = keep(await client.crons.createForThread(threadId, "agent", options));
  const second = keep(await client.crons.create("slow", options));
  const ids = async (query) => {
    const sorted = { metadata: { of }, sortBy: "created_at", sortOrder: "asc", ...query };
    return (await client.crons.search(sorted)).map((cron) => cron.cron_id);
  };
  assert.deepEqual(await ids({}), [first.cron_id, second.cron_id]);
  assert.deepEqual(await ids({ threadId }), [first.cron_id]);
  assert.deepEqual(await ids({ assistantId: second.assistant_id }), [second.cron_id]);
  assert.deepEqual(await ids({ limit: 1, offset: 1 }), [second.cron_id]);
});

method("crons.count", "what a search would find", async (context) => {
  const of = mark();
  made(context)(await client.crons.create("agent", { schedule: YEARLY, input: HELLO, metadata: { of } }));
  assert.equal(await client.crons.count({ metadata: { of } }), 1);
});
