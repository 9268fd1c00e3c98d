// What the newer SDK can do with runs.
import assert from "node:assert/strict";

import { client, eventually, method, newThread } from "../method.mjs";

const SLOW = { steps: 50, delay: 0.1 };

method("runs.cancelMany", "those that are named, or all that wait on a thread", async () => {
  const threadId = await newThread();
  const runs = [];
  for (let made = 0; made < 4; made += 1) runs.push(await client.runs.create(threadId, "slow", { input: SLOW }));
  const statuses = async () => {
    const found = await Promise.all(runs.map((run) => client.runs.get(threadId, run.run_id)));
    return found.map((run) => run.status).join(" ");
  };
  await eventually(async () => (await statuses()).startsWith("running"));
  await client.runs.cancelMany({ threadId, runIds: [runs[3].run_id] });
  assert.equal(await statuses(), "running pending pending interrupted");
  await client.runs.cancelMany({ threadId, runIds: runs.map((run) => run.run_id) });
  await eventually(async () => (await statuses()) === "interrupted interrupted interrupted interrupted");
  const last = await client.runs.create(threadId, "slow", { input: SLOW });
  await eventually(async () => (await client.runs.get(threadId, last.run_id)).status === "running");
  await client.runs.cancelMany({ status: "all" });
  await eventually(async () => (await client.runs.get(threadId, last.run_id)).status === "interrupted");
});
