// Assistants, crons, the store, webhooks, usage, the queue, files and the audit log, in a real browser.
import assert from "node:assert/strict";
import { test } from "node:test";

import { addressOf, api, human, isWell, newRun, open } from "./browser.mjs";

test("an assistant shows its graph, schemas and versions, and an older version is made current", async (context) => {
  const created = await api("POST", "/assistants", { graph_id: "payments", name: "Payer", config: { tags: ["one"] } });
  await api("PATCH", `/assistants/${created.assistant_id}`, { config: { tags: ["two"] } });
  const page = await open(context, "#/assistants");
  await page.getByRole("link", { name: "Payer" }).click();
  await page.getByRole("img", { name: /5 nodes and 6 edges/ }).waitFor();
  await page.getByText("lookup_invoice").or(page.getByText("tools")).first().waitFor();
  await isWell(page, "assistant-light-1440");
  await page.getByRole("tab", { name: "Schemas" }).click();
  await page.getByText("input_schema").first().waitFor();
  await page.getByRole("tab", { name: "Versions" }).click();
  await page.getByRole("button", { name: "Make version 1 current" }).click();
  await page.getByRole("button", { name: "Make version 2 current" }).waitFor();
  assert.equal((await api("GET", `/assistants/${created.assistant_id}`)).version, 1);
});

test("a cron is created, paused, run and deleted", async (context) => {
  const page = await open(context, "#/crons");
  page.on("dialog", (dialog) => dialog.accept());
  await page.getByText("New cron").click();
  await page.getByLabel("Graph or assistant").selectOption("story");
  await page.getByLabel("Schedule").fill("nonsense");
  await page.getByRole("button", { name: "Create" }).click();
  await page.getByRole("alert").waitFor();
  await page.getByLabel("Schedule").fill("0 0 29 2 *");
  await page.getByRole("button", { name: "Create" }).click();
  const row = page.getByRole("row", { name: /0 0 29 2/ });
  await row.getByRole("button", { name: "Pause" }).click();
  await row.getByText("paused").waitFor();
  await isWell(page, "crons-light-1440");
  await row.getByRole("button", { name: "Run now" }).click();
  await page.locator(".status-success").waitFor();
  await page.goBack();
  await row.getByRole("button", { name: "Delete" }).click();
  await row.waitFor({ state: "detached" });
});

test("items of the store are found, written, changed and deleted", async (context) => {
  await api("PUT", "/store/items", { namespace: ["console", "notes"], key: "first", value: { text: "hello" } });
  const page = await open(context, "#/store");
  await page.getByRole("button", { name: "console / notes", exact: true }).click();
  await page.getByRole("button", { name: "console / notes / first" }).click();
  await page.getByLabel("Value (JSON)").fill('{"text": "changed"}');
  await isWell(page, "store-light-1440");
  const saving = page.waitForResponse((response) => response.request().method() === "PUT");
  await page.getByRole("button", { name: "Save" }).click();
  assert.equal((await saving).status(), 204);
  const { value } = await api("GET", "/store/items?namespace=console.notes&key=first");
  assert.deepEqual(value, { text: "changed" });
  await page.getByRole("button", { name: "Delete" }).click();
  await page.getByText("There is no item here").waitFor();
});

test("a delivery shows its attempts, and is sent again", async (context) => {
  const { run_id } = await newRun("story", human("go"), { webhook: "http://127.0.0.1:9/hook" });
  const page = await open(context, "#/webhooks");
  const row = page.getByRole("row", { name: new RegExp(run_id.slice(-4)) });
  await row.getByRole("button", { name: "See attempts" }).click();
  const attempts = page.getByRole("region", { name: "Attempts" });
  await attempts.getByText("number: 1").first().waitFor();
  await isWell(page, "webhooks-light-1440");
  await attempts.getByRole("button", { name: "Send again" }).click();
  await attempts.getByText("number: 2").first().waitFor();
});

test("usage is drawn by day, and divided by model or graph", async (context) => {
  await newRun("story", human("go"));
  const page = await open(context, "#/usage");
  await page
    .getByRole("img", { name: /Tokens by day/ })
    .locator("canvas")
    .waitFor();
  await page.getByRole("row", { name: /scripted/ }).waitFor();
  await page.getByLabel("Divided by").selectOption("graph");
  await page.getByRole("row", { name: /story/ }).waitFor();
  await isWell(page, "usage-light-1440");
});

test("the queue has what runs and what waits", async (context) => {
  const run = await newRun("saga", human("go"), { wait: false, stream_mode: ["messages-tuple"] });
  const body = { assistant_id: "story", input: human("later"), multitask_strategy: "enqueue" };
  const next = await api("POST", `/threads/${run.thread_id}/runs`, body);
  const page = await open(context, "#/queue");
  await page.getByRole("region", { name: "Running" }).getByText(run.run_id.slice(-4)).waitFor();
  await page.getByRole("region", { name: "Waiting" }).getByText(next.run_id.slice(-4)).waitFor();
  await isWell(page, "queue-light-1440");
  await api("PUT", "/store/items", { namespace: ["gate"], key: run.thread_id, value: {} });
});

test("files of a thread are uploaded, downloaded and deleted", async (context) => {
  const { thread_id } = await newRun("story", human("go"));
  const page = await open(context, `#/thread/${thread_id}`);
  await page.getByRole("tab", { name: "Files" }).click();
  await page.getByText("This thread has no files").waitFor();
  await page
    .getByLabel("Upload a file")
    .setInputFiles({ name: "a.txt", mimeType: "text/plain", buffer: Buffer.from("content") });
  await page.getByRole("row", { name: /a.txt/ }).waitFor();
  const [download] = await Promise.all([
    page.waitForEvent("download"),
    page.getByRole("button", { name: "Download" }).click(),
  ]);
  assert.equal(download.suggestedFilename(), "a.txt");
  await page.getByRole("row", { name: /a.txt/ }).getByRole("button", { name: "Delete" }).click();
  await page.getByText("This thread has no files").waitFor();
});

test("the audit log names who did what", async (context) => {
  await newRun("story", human("go"));
  const page = await open(context, "#/audit", { width: 360, scheme: "dark" });
  await page
    .getByRole("row", { name: /ada.*threads.create/ })
    .first()
    .waitFor();
  await isWell(page, "audit-dark-360");
});

test("a run of 20,000 events is used before all are read, with few rows in the document", async (context) => {
  const run = await newRun("ticking", { count: 1 });
  const { data } = await api("GET", `/threads/${run.thread_id}/runs/${run.run_id}/events?limit=100`);
  const tick = data.find(({ content }) => content?.data?.number === 0);
  const last = 20_000;
  let release;
  const released = new Promise((resolve) => (release = resolve));
  const page = await open(context, "#/nowhere");
  // A server that has as many ticks, and holds back all but the first page of them.
  await page.route(/[/]events[?]/, async (route) => {
    const query = new URL(route.request().url()).searchParams;
    const [after, limit] = ["after", "limit"].map((name) => Number(query.get(name)));
    if (after > 0) await released;
    const numbers = Array.from({ length: Math.min(limit, last - after) }, (_, place) => after + place + 1);
    const events = numbers.map((seq) => ({ ...tick, seq, content: { ...tick.content, data: { number: seq } } }));
    await route.fulfill({ json: { data: events, has_more: after + limit < last } });
  });
  await page.evaluate((address) => (location.hash = address), addressOf(run));
  const rows = page.getByRole("listbox").getByRole("option");
  await rows.nth(10).click();
  const inspector = page.getByRole("complementary", { name: "Inspector" });
  await inspector.getByText("number: 10").waitFor();
  await page.getByText(/^1,000 events, live/).waitFor();
  release();
  await page.getByText(/^20,000 events/).waitFor();
  await page.getByRole("listbox").focus();
  await page.keyboard.press("End");
  await page.getByRole("option", { name: /custom tick/, selected: true }).waitFor();
  await inspector.getByText(`number: ${last}`).waitFor();
  const [shown, elements] = await page.evaluate(() =>
    ["[role=option], tr, li", "*"].map((selector) => document.querySelectorAll(selector).length),
  );
  assert.ok(shown < 300, `${shown} rows are in the document`);
  assert.ok(elements < 1_500, `${elements} elements are in the document`);
});
