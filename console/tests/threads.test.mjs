// The pages of threads, and the playground, in a real browser over a real server.
import assert from "node:assert/strict";
import { test } from "node:test";

import { api, human, isWell, newRun, open } from "./browser.mjs";

test("threads are listed live, and filtered", async (context) => {
  const suite = crypto.randomUUID();
  const page = await open(context, `#/threads?metadata=${JSON.stringify({ suite })}`);
  await page.getByText("No thread matches").waitFor();
  const { thread_id } = await api("POST", "/threads", { metadata: { suite, title: "A new one" } });
  await page.getByRole("row", { name: /idle.*A new one/ }).waitFor();
  await isWell(page, "threads-light-1440");
  await page.getByLabel("Status").selectOption("busy");
  await page.getByText("No thread matches").waitFor();
  await page.getByLabel("Status").selectOption("idle");
  await page.getByRole("link", { name: thread_id.slice(0, 8) }).click();
  await page.getByRole("heading", { name: "A new one" }).waitFor();
  page.on("dialog", (dialog) => dialog.accept());
  await page.getByRole("button", { name: "Delete" }).click();
  await page.getByRole("heading", { name: "Threads" }).waitFor();
});

test("a thread is a chat, with tokens as they are written, and is stopped", async (context) => {
  const { thread_id } = await newRun("story", human("go"));
  const page = await open(context, `#/thread/${thread_id}`);
  await page.getByRole("log").getByText("w40 end1").waitFor();
  await page.getByRole("textbox", { name: "Message" }).fill("and on");
  await page.keyboard.press("Enter");
  await page.getByRole("log").getByText("w40 end2").waitFor();
  const said = await page.getByRole("log").getByRole("article").locator("p").allTextContents();
  assert.equal(said.filter((text) => text.includes("end")).length, 2, "each answer is shown once");
  await isWell(page, "chat-light-1440");
});

test("a chat goes on after a reload in mid-run, and is stopped", async (context) => {
  const { thread_id } = await newRun("saga", human("go"), { wait: false, stream_mode: ["messages-tuple", "values"] });
  const page = await open(context, `#/thread/${thread_id}`);
  await page.getByRole("log").getByText("w20").waitFor();
  await page.reload();
  await page.getByRole("log").getByText("w20").waitFor();
  await page.getByRole("button", { name: "Stop" }).click();
  await page.getByText("The agent works").waitFor({ state: "detached" });
  const [{ status }] = await api("GET", `/threads/${thread_id}/runs`);
  assert.equal(status, "interrupted");
});

test("a question is answered in the chat", async (context) => {
  const { thread_id } = await newRun("payments", human("pay invoice 2042"));
  const page = await open(context, `#/thread/${thread_id}`);
  await page.getByRole("button", { name: "Approve", exact: true }).click();
  await page.getByRole("log").getByText("96.00 EUR were paid").waitFor();
});

test("the tree of checkpoints shows branches; any two are compared, and any one is forked", async (context) => {
  const { thread_id } = await newRun("story", human("go"));
  const page = await open(context, `#/thread/${thread_id}`);
  await page.getByRole("tab", { name: "History" }).click();
  const boxes = page.getByRole("checkbox");
  await boxes.last().check();
  await page.getByRole("heading", { name: "Values" }).waitFor();
  await boxes.first().check();
  await page.getByText("messages.1").waitFor();
  const history = await api("GET", `/threads/${thread_id}/history`);
  assert.equal(await boxes.count(), history.length);
  await page
    .getByRole("link", { name: /Fork from/ })
    .nth(1)
    .click();
  await page.getByLabel("Input (JSON)").fill(JSON.stringify(human("a branch")));
  await page.getByRole("button", { name: "Start the fork" }).click();
  await page.locator(".status-success").waitFor();
  const { values } = await api("GET", `/threads/${thread_id}/state`);
  assert.deepEqual(
    values.messages.filter(({ type }) => type === "human").map(({ content }) => content),
    ["go", "a branch"],
  );

  // Both branches are in the tree, side by side, and their ends are compared.
  await page.goBack();
  await page.goBack();
  await page.getByRole("tab", { name: "History" }).click();
  await page.getByText("branch", { exact: true }).waitFor();
  const rows = page.getByRole("list", { name: "Checkpoints" }).getByRole("listitem");
  const ends = rows.filter({ has: page.locator(`[title="${history[0].checkpoint.checkpoint_id}"]`) });
  assert.equal(await ends.first().locator(".lane-1").count(), 1);
  await ends.first().getByRole("checkbox").check();
  await rows.first().getByRole("checkbox").check();
  await page.getByText("a branch").waitFor();
  await isWell(page, "history-light-1440");
});

test("the playground runs any graph, and shows its events on the wire", async (context) => {
  const page = await open(context, "#/runs");
  let late = null;
  await page.route(/[/]threads$/, (route) => (late === null ? (late = route) : route.continue()));
  await page.evaluate(() => (location.hash = "#/playground"));
  while (late === null) await page.waitForTimeout(20);
  await page.getByLabel("Graph or assistant").selectOption("payments");
  const thread = page.locator(".filters code");
  const shown = await thread.textContent();
  // The thread of the first choice comes after that of the second, and is not shown.
  const answered = page.waitForResponse(/[/]threads$/);
  await late.continue();
  await answered;
  assert.equal(await thread.textContent(), shown);
  await page.getByRole("textbox", { name: "Message" }).fill("pay invoice 2042");
  await page.getByRole("button", { name: "Send" }).click();
  await page.getByRole("button", { name: "Approve", exact: true }).waitFor();
  const wire = page.getByRole("complementary", { name: "Wire" });
  await wire
    .getByRole("option", { name: /metadata/ })
    .first()
    .waitFor({ state: "attached" });
  await wire.getByRole("option").last().click();
  await wire.locator(".json").waitFor();
  await isWell(page, "playground-light-1440");
  // A graph without messages has the fields of its input.
  await page.getByLabel("Graph or assistant").selectOption("ticking");
  await page.getByLabel("Count").fill("3");
  await page.getByRole("button", { name: "Run" }).click();
  await wire
    .getByRole("option", { name: /values/ })
    .first()
    .waitFor();
  await page.getByText("count: ").first().waitFor();

  // The same run over both protocols, side by side: each has its values.
  await page.getByRole("combobox", { name: "Wire" }).selectOption("both");
  await page.getByLabel("Count").fill("4");
  await page.getByRole("button", { name: "Run" }).click();
  const [legacy, protocol] = ["Legacy SSE", "Event protocol"].map((name) => wire.getByRole("region", { name }));
  await protocol
    .getByRole("option", { name: /lifecycle.*completed/ })
    .last()
    .waitFor({ state: "attached" });
  await legacy
    .getByRole("option", { name: /values/ })
    .last()
    .waitFor({ state: "attached" });
  await protocol
    .getByRole("option", { name: /^\S+ ?values/ })
    .last()
    .click();
  await protocol.getByText("method: values").waitFor();
  await isWell(page, "wire-light-1440");
  await page.setViewportSize({ width: 360, height: 900 });
  await isWell(page, "wire-light-360");
});

test("a chat for narrow and dark screens", async (context) => {
  const { thread_id } = await newRun("payments", human("pay invoice 2042"));
  const page = await open(context, `#/thread/${thread_id}`, { width: 360, scheme: "dark" });
  await page.getByRole("button", { name: "Reject" }).waitFor();
  await isWell(page, "chat-dark-360");
});
