// The pages of runs, in a real browser over a real server.
import assert from "node:assert/strict";
import { test } from "node:test";

import { addressOf, api, human, isWell, newRun, open, visitor } from "./browser.mjs";

const ALL = ["values", "messages-tuple", "updates", "custom"];

test("runs are listed live, and filtered by status, assistant, thread and metadata", async (context) => {
  const suite = crypto.randomUUID();
  const failed = await newRun("fail", human("x"), { metadata: { suite } });
  const page = await open(context, `#/runs?metadata=${JSON.stringify({ suite })}`);
  await page.getByRole("row", { name: /error.*fail.*boom/ }).waitFor();
  // A run that begins afterwards appears by itself.
  await newRun("story", human("go"), { metadata: { suite } });
  await page.getByRole("row", { name: /success.*story/ }).waitFor();
  assert.equal(await page.getByRole("row").count(), 3);
  await isWell(page, "runs-light-1440");

  await page.getByLabel("Status").selectOption("error");
  await page.getByText("1 found").waitFor();
  await page.getByLabel("Status").selectOption("any");
  await page.getByLabel("Graph or assistant").selectOption("story");
  await page.getByRole("row", { name: /story/ }).waitFor();
  await page.getByText("1 found").waitFor();
  await page.getByRole("button", { name: "Clear" }).click();
  await page.getByRole("textbox", { name: "Thread" }).fill(failed.thread_id);
  await page.keyboard.press("Enter");
  await page.getByText("1 found").waitFor();
  // The filters are in the address: a reload keeps them.
  await page.reload();
  await page.getByText("1 found").waitFor();
  await page.getByRole("textbox", { name: "Metadata" }).fill("no JSON");
  await page.getByRole("button", { name: "Filter", exact: true }).click();
  await page.getByRole("alert").filter({ hasText: "give a JSON object" }).waitFor();
});

test("filters are saved under a name", async (context) => {
  const tag = `tag-${crypto.randomUUID()}`;
  const failed = await newRun("fail", human("x"), { config: { tags: [tag, "nightly"] } });
  await newRun("story", human("go"), { config: { tags: [tag] } });
  const page = await open(context, "#/runs?status=error");
  page.on("dialog", (dialog) => dialog.accept("what failed"));
  await page.getByLabel("Tag").fill(tag);
  await page.getByLabel("Error").fill("ValueError");
  await page.getByRole("button", { name: "Filter", exact: true }).click();
  await page.getByText("1 found").waitFor();
  await page.getByText(failed.run_id.slice(-4)).waitFor();
  await page.getByRole("button", { name: "Save filter" }).click();
  await page.getByRole("button", { name: "Clear" }).click();
  await page.reload();
  await page.getByRole("button", { name: "what failed", exact: true }).click();
  await page.waitForURL(/status=error.*tag=tag-.*error=ValueError/);
  await page.getByText("1 found").waitFor();
  await page.getByRole("button", { name: "Forget the filter what failed" }).click();
  assert.equal(await page.getByRole("button", { name: "what failed" }).count(), 0);
});

test("the waterfall has rows for nodes, models and tools, and shows what went in and out", async (context) => {
  const run = await newRun("payments", human("pay invoice 2042"), { stream_mode: ALL });
  const page = await open(context, addressOf(run));
  const tool = page.getByRole("option", { name: /tool lookup_invoice/ });
  await tool.click();
  await page.getByRole("tab", { name: "Input" }).click();
  const inspector = page.getByRole("complementary", { name: "Inspector" });
  await inspector.getByText("2042").first().waitFor();
  await page.getByRole("tab", { name: "Output" }).last().click();
  await inspector.getByText("Borealis Cloud").first().waitFor();
  await isWell(page, "run-light-1440");

  // The raw events are those that the server stores.
  await inspector.getByRole("tab", { name: "Events" }).click();
  const { data } = await api(
    "GET",
    `/threads/${run.thread_id}/runs/${run.run_id}/events?types=tool_start&types=tool_end`,
  );
  for (const { seq } of data) await inspector.getByText(`seq: ${seq}`, { exact: true }).waitFor();

  // By keyboard alone: to the first row, and down.
  await page.getByRole("listbox").focus();
  await page.keyboard.press("Home");
  await page.keyboard.press("ArrowDown");
  await inspector.getByRole("heading", { name: "attempt 1" }).waitFor();
  await page.getByText("Its thread waits for an answer").waitFor();
});

test("frames have the ids under which they are stored, and the output is shown up to each of them", async (context) => {
  const run = await newRun("story", human("go"), { stream_mode: ALL });
  const answer = await fetch(`${process.env.SERVER_URL}/threads/${run.thread_id}/runs/${run.run_id}/stream`, {
    headers: { "last-event-id": "-1", "x-api-key": process.env.API_KEY },
  });
  const ids = [...(await answer.text()).matchAll(/^id: (\S+)/gm)].map((match) => match[1]);
  assert.ok(ids.length > 40);

  const page = await open(context, addressOf(run));
  await page.getByRole("tab", { name: "Frames" }).click();
  await page.getByText(`${ids.length} frames`).waitFor();
  const rows = page.getByRole("listbox").getByRole("option");
  await rows.first().waitFor();
  const shown = await rows.locator(".frame-id").allTextContents();
  assert.deepEqual(shown, ids.slice(0, shown.length));
  await rows.nth(1).click();
  await page.getByRole("complementary", { name: "Frame" }).getByText(ids[1], { exact: true }).waitFor();
  await isWell(page, "frames-light-1440");

  await page.getByRole("tab", { name: "Output" }).click();
  await page.getByText("w40 end1").first().waitFor();
  await page.getByRole("slider").fill("8");
  await page.getByText(`Up to frame 8 of ${ids.length}`).waitFor();
  assert.equal(await page.getByText("w40 end1").count(), 0);
  assert.equal(await page.locator(".scrubber code").textContent(), ids[7]);
});

test("the output of a run is shown while it goes on", async (context) => {
  const run = await newRun("saga", human("go"), { wait: false, stream_mode: ALL });
  const page = await open(context, addressOf(run));
  await page.getByRole("tab", { name: "Output" }).click();
  // Half of it is there although the other half has not been written.
  await page.locator(".bubble-ai").getByText("w20").waitFor();
  assert.equal(await page.getByText("end1").count(), 0);
  await api("PUT", "/store/items", { namespace: ["gate"], key: run.thread_id, value: {} });
  await page.locator(".bubble-ai").getByText("w40 end1").waitFor();
  await page.locator(".status-success").waitFor();
});

test("tabs of one run share a stream, which another tab continues when its reader is closed", async (context) => {
  const run = await newRun("saga", human("go"), { wait: false, stream_mode: ALL });
  const newTab = await visitor(context);
  const tabs = [];
  let streams = 0;
  for (let number = 0; number < 3; number += 1) {
    const tab = await newTab("#/nowhere");
    tab.on("request", (request) => (streams += request.url().endsWith("/stream") ? 1 : 0));
    await tab.evaluate((address) => (location.hash = address), addressOf(run));
    await tab.getByRole("tab", { name: "Output" }).click();
    await tab.locator(".bubble-ai").getByText("w20").waitFor();
    tabs.push(tab);
  }
  assert.equal(streams, 1);
  await tabs.shift().close();
  await api("PUT", "/store/items", { namespace: ["gate"], key: run.thread_id, value: {} });
  const words = Array.from({ length: 40 }, (_, place) => `w${place + 1}`).join(" ");
  for (const tab of tabs) await tab.locator(".bubble-ai").getByText(`${words} end1`, { exact: true }).waitFor();
  assert.equal(streams, 2);
});

test("a run is cancelled, and a waiting one says what it waits for", async (context) => {
  const run = await newRun("saga", human("go"), { wait: false, stream_mode: ALL });
  const body = { assistant_id: "story", input: human("later"), multitask_strategy: "enqueue" };
  const next = await api("POST", `/threads/${run.thread_id}/runs`, body);
  const page = await open(context, addressOf(next));
  await page.getByText("It waits until the thread's run").waitFor();
  await isWell(page, "waiting-light-1440");
  await page
    .getByRole("link", { name: run.run_id.slice(0, 8) })
    .last()
    .click();
  await page.getByRole("button", { name: "Cancel" }).click();
  await page.locator(".status-interrupted").waitFor();
  const { status } = await api("GET", `/threads/${run.thread_id}/runs/${run.run_id}`);
  assert.equal(status, "interrupted");
});

test("a run is forked with another input and a changed state", async (context) => {
  const run = await newRun("story", human("go"));
  const body = { assistant_id: "story", input: human("and again") };
  const second = await api("POST", `/threads/${run.thread_id}/runs`, body);
  await api("GET", `/threads/${run.thread_id}/runs/${second.run_id}/join`);
  const page = await open(context, addressOf(second));
  await page.getByRole("link", { name: "Fork" }).click();
  await page.getByText("as a branch from").waitFor();
  await page.getByLabel("Input (JSON)").fill("{");
  await page.getByText("This is no JSON").waitFor();
  await page.getByLabel("Input (JSON)").fill(JSON.stringify(human("in another way")));
  await page.getByLabel("Change of the state (JSON)").fill(JSON.stringify(human("in between")));
  await isWell(page, "fork-light-1440");
  await page.getByRole("button", { name: "Start the fork" }).click();
  await page.waitForURL(/#\/run\//);
  await page.locator(".status-success").waitFor();
  const { values } = await api("GET", `/threads/${run.thread_id}/state`);
  const said = values.messages.filter(({ type }) => type === "human").map(({ content }) => content);
  assert.deepEqual(said, ["go", "in between", "in another way"]);
});

test("the request is copied for a shell, Python and JavaScript", async (context) => {
  const run = await newRun("story", human('it\'s "true"'));
  const page = await open(context, addressOf(run));
  const copied = {};
  for (const kind of ["curl", "Python", "JavaScript"]) {
    await page.getByRole("button", { name: `Copy as ${kind}` }).click();
    await page.getByRole("button", { name: "Copied" }).waitFor();
    copied[kind] = await page.evaluate(() => navigator.clipboard.readText());
    await page.getByRole("button", { name: `Copy as ${kind}` }).waitFor();
  }
  for (const text of Object.values(copied)) assert.ok(text.includes(run.thread_id), text);
  assert.ok(copied.curl.includes("it'\\''s"), copied.curl);
  assert.ok(copied.Python.includes("stream_resumable=True"), copied.Python);
  assert.ok(copied.Python.includes('it\'s \\"true\\"'), copied.Python);
});

test("a page for narrow and dark screens", async (context) => {
  const run = await newRun("payments", human("pay invoice 2042"), { stream_mode: ALL });
  const page = await open(context, addressOf(run), { width: 360, scheme: "dark" });
  await page.getByRole("option", { name: /tool lookup_invoice/ }).click();
  await isWell(page, "run-dark-360");
  await page.getByRole("button", { name: "Menu" }).click();
  await page.getByRole("link", { name: "Runs", exact: true }).click();
  await page.getByRole("table").waitFor();
  await isWell(page, "runs-dark-360");
});
