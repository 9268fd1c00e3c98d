// Assistants: made, found, changed, set back, described, deleted.
import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";

import { client, mark, method, newThread, rejectsWith } from "./method.mjs";

const create = (fields) => client.assistants.create({ graphId: "ctx", ...fields });

method("assistants.create", "with all that it can have, under an id of one's own", async () => {
  const assistantId = randomUUID();
  const fields = { context: { color: "red" }, metadata: { a: 1 }, name: "Red", description: "paints" };
  const made = await create({ assistantId, config: { tags: ["t"] }, ...fields });
  assert.equal(made.assistant_id, assistantId);
  assert.equal(made.version, 1);
  assert.equal(made.name, "Red");
  assert.equal(made.description, "paints");
  assert.deepEqual(made.metadata, { a: 1 });
  const { seen } = await client.runs.wait(await newThread(), assistantId, { input: {} });
  assert.deepEqual(seen.context, { color: "red" });
  await rejectsWith(409, create({ assistantId }), /already exists/);
  const same = await create({ assistantId, name: "Blue", ifExists: "do_nothing" });
  assert.equal(same.name, "Red");
  await rejectsWith(404, client.assistants.create({ graphId: "nobody" }), /nobody/);
});

method("assistants.get", "by id, and a graph's own by its name", async () => {
  const own = await client.assistants.get("agent");
  assert.equal(own.assistant_id, "fe096781-5601-53d2-b2f6-0d3403f7e9ca");
  assert.deepEqual(await client.assistants.get(own.assistant_id), own);
  await rejectsWith(404, client.assistants.get(randomUUID()));
});

method("assistants.update", "makes a version", async () => {
  const made = await create({ metadata: { a: 1 } });
  const next = await client.assistants.update(made.assistant_id, { name: "next", metadata: { b: 2 } });
  assert.equal(next.version, 2);
  assert.equal(next.name, "next");
  assert.deepEqual(next.metadata, { a: 1, b: 2 });
});

method("assistants.delete", "with its threads, when that is asked for", async () => {
  const made = await create();
  const threadId = await newThread();
  await client.runs.wait(threadId, made.assistant_id, { input: {} });
  await client.assistants.delete(made.assistant_id, { deleteThreads: true });
  await rejectsWith(404, client.assistants.get(made.assistant_id));
  await rejectsWith(404, client.threads.get(threadId));
});

method("assistants.search", "by graph, name and metadata, in order and in pages", async () => {
  const of = mark();
  for (const name of ["b", "a", "c"]) await create({ name: `${name}-${of}`, metadata: { of } });
  const names = async (query) => {
    const found = await client.assistants.search({ metadata: { of }, sortBy: "name", sortOrder: "asc", ...query });
    return found.map((assistant) => assistant.name[0]).join("");
  };
  assert.equal(await names({}), "abc");
  assert.equal(await names({ sortOrder: "desc", limit: 2 }), "cb");
  assert.equal(await names({ offset: 1 }), "bc");
  assert.equal(await names({ name: `a-${of}` }), "a");
  assert.equal(await names({ graphId: "agent" }), "");
  const page = await client.assistants.search({ metadata: { of }, limit: 2, includePagination: true });
  assert.equal(page.assistants.length, 2);
  assert.equal(page.next, "2");
  const [picked] = await client.assistants.search({ metadata: { of }, select: ["name"], limit: 1 });
  assert.deepEqual(Object.keys(picked), ["name"]);
});

method("assistants.count", "what a search would find", async () => {
  const of = mark();
  await create({ metadata: { of } });
  assert.equal(await client.assistants.count({ metadata: { of } }), 1);
  assert.equal(await client.assistants.count({ metadata: { of }, graphId: "agent" }), 0);
});

method("assistants.getVersions", "newest first", async () => {
  const { assistant_id: assistantId } = await create({ metadata: { n: 1 } });
  await client.assistants.update(assistantId, { metadata: { n: 2 } });
  const versions = await client.assistants.getVersions(assistantId);
  assert.deepEqual(versions.map(({ version, metadata }) => [version, metadata.n]), [[2, 2], [1, 1]]);
  assert.equal((await client.assistants.getVersions(assistantId, { limit: 1, offset: 1 }))[0].version, 1);
  assert.equal((await client.assistants.getVersions(assistantId, { metadata: { n: 2 } })).length, 1);
});

method("assistants.setLatest", "an older version comes back whole", async () => {
  const made = await create({ context: { color: "red" } });
  await client.assistants.update(made.assistant_id, { context: { color: "blue" } });
  const back = await client.assistants.setLatest(made.assistant_id, 1);
  assert.equal(back.version, 1);
  assert.deepEqual(back.context, { color: "red" });
  await rejectsWith(404, client.assistants.setLatest(made.assistant_id, 9));
});

method("assistants.getGraph", "as nodes and edges, subgraphs opened up when asked for", async () => {
  const { nodes, edges } = await client.assistants.getGraph("nested");
  assert.ok(nodes.some((node) => node.id === "child"));
  assert.ok(edges.some((edge) => edge.source === "before" && edge.target === "child"));
  const open = await client.assistants.getGraph("nested", { xray: true });
  assert.ok(open.nodes.some((node) => node.id === "child:child_model"));
  await rejectsWith(404, client.assistants.getGraph(randomUUID()));
});

method("assistants.getSchemas", "of input, output, state and context", async () => {
  const schemas = await client.assistants.getSchemas("ctx");
  assert.equal(schemas.graph_id, "ctx");
  assert.ok(schemas.state_schema.properties.seen);
  assert.ok(schemas.context_schema.properties.color);
});

method("assistants.getSubgraphs", "all, one, and those below", async () => {
  assert.deepEqual(Object.keys(await client.assistants.getSubgraphs("nested")), ["child"]);
  assert.deepEqual(Object.keys(await client.assistants.getSubgraphs("nested", { namespace: "child" })), ["child"]);
  assert.ok((await client.assistants.getSubgraphs("nested", { recurse: true })).child);
  assert.deepEqual(await client.assistants.getSubgraphs("agent"), {});
});
