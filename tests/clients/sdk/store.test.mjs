// The store: items under namespaces.
import assert from "node:assert/strict";

import { client, eventually, mark, method } from "./method.mjs";

async function filled() {
  const root = `js-${mark()}`;
  await client.store.putItem([root, "users"], "ada", { name: "Ada", born: 1815 });
  await client.store.putItem([root, "users"], "alan", { name: "Alan", born: 1912 });
  await client.store.putItem([root, "notes", "old"], "n", { text: "hello" });
  return root;
}

method("store.putItem", "twice is the last one", async () => {
  const root = await filled();
  const { createdAt } = await client.store.getItem([root, "users"], "ada");
  await client.store.putItem([root, "users"], "ada", { name: "Countess" }, { index: false });
  const item = await client.store.getItem([root, "users"], "ada");
  assert.deepEqual(item.value, { name: "Countess" });
  assert.equal(item.createdAt, createdAt);
  await assert.rejects(client.store.putItem(["a.b"], "x", {}), /Invalid namespace label/);
});

method("store.getItem", "what was put", async () => {
  const root = await filled();
  const item = await client.store.getItem([root, "users"], "ada");
  assert.deepEqual(item.namespace, [root, "users"]);
  assert.equal(item.key, "ada");
  assert.deepEqual(item.value, { name: "Ada", born: 1815 });
  assert.ok(Date.parse(item.updatedAt) >= Date.parse(item.createdAt));
});

method("store.deleteItem", "and it is not found", async () => {
  const root = await filled();
  await client.store.deleteItem([root, "users"], "ada");
  const { items } = await client.store.searchItems([root, "users"]);
  assert.deepEqual(items.map((item) => item.key), ["alan"]);
});

method("store.searchItems", "under a prefix, filtered, in pages", async () => {
  const root = await filled();
  const keys = async (prefix, options) => (await client.store.searchItems(prefix, options)).items.map((item) => item.key);
  assert.deepEqual((await keys([root])).sort(), ["ada", "alan", "n"]);
  assert.deepEqual(await keys([root, "users"], { filter: { name: "Ada" } }), ["ada"]);
  assert.deepEqual(await keys([root, "users"], { filter: { born: { $gt: 1900 } } }), ["alan"]);
  const pages = [...(await keys([root], { limit: 2 })), ...(await keys([root], { limit: 2, offset: 2 }))];
  assert.deepEqual(pages.sort(), ["ada", "alan", "n"]);
});

method("store.listNamespaces", "by prefix and suffix, cut to a depth", async () => {
  const root = await filled();
  const names = async (options) => (await client.store.listNamespaces(options)).namespaces.map((name) => name.join("/"));
  assert.deepEqual((await names({ prefix: [root] })).sort(), [`${root}/notes/old`, `${root}/users`]);
  assert.deepEqual((await names({ prefix: [root], maxDepth: 2 })).sort(), [`${root}/notes`, `${root}/users`]);
  assert.deepEqual(await names({ prefix: [root], suffix: ["old"] }), [`${root}/notes/old`]);
});

method("store.searchItems", "by what they say", async () => {
  const root = `js-${mark()}`;
  await client.store.putItem([root], "pet", { text: "the cat sleeps on the sofa" });
  await client.store.putItem([root], "bill", { text: "an invoice from the paper mill" });
  const { items } = await client.store.searchItems([root], { query: "invoice paper", limit: 1 });
  assert.deepEqual(items.map((item) => item.key), ["bill"]);
});

method("store.putItem", "for a time only", async () => {
  const root = `js-${mark()}`;
  await client.store.putItem([root], "soon gone", { n: 1 }, { ttl: 0.03 });
  assert.equal((await client.store.getItem([root], "soon gone", { refreshTtl: false })).value.n, 1);
  await eventually(async () => (await client.store.searchItems([root], { refreshTtl: false })).items.length === 0);
});
