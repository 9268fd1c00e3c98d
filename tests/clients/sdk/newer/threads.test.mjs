// What the newer SDK can do with threads.
import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";

import { answeredThread, client, method, newThread, rejectsWith } from "../method.mjs";

method("threads.prune", "deletes threads, or all but their latest state", async () => {
  const [kept, gone] = [await answeredThread(), await answeredThread()];
  const { pruned_count: pruned } = await client.threads.prune([kept], { strategy: "keep_latest" });
  assert.equal(pruned, 1);
  assert.equal((await client.threads.getHistory(kept)).length, 1);
  assert.equal((await client.threads.getState(kept)).values.messages.length, 2);
  await client.threads.prune([gone]);
  await rejectsWith(404, client.threads.get(gone));
});

method("threads.update", "with nothing in the answer, where nothing is wanted", async () => {
  const threadId = await newThread();
  assert.equal(await client.threads.update(threadId, { metadata: { a: 1 }, returnMinimal: true }), undefined);
  assert.deepEqual((await client.threads.get(threadId)).metadata, { a: 1 });
  await rejectsWith(404, client.threads.update(randomUUID(), { metadata: {}, returnMinimal: true }));
});

method("threads.get", "a time to live, where it is asked for", async () => {
  const threadId = await newThread({ ttl: 60 });
  const { ttl } = await client.threads.get(threadId, { include: ["ttl"] });
  assert.equal(ttl.ttl_minutes ?? ttl.ttl, 60);
});

method("threads.create", "having gone through supersteps", async () => {
  const values = { messages: [{ role: "user", content: "before" }] };
  const supersteps = [{ updates: [{ values, asNode: "__start__" }] }];
  const threadId = await newThread({ graphId: "agent", supersteps });
  assert.equal((await client.threads.getState(threadId)).values.messages[0].content, "before");
});
