// What waits for a human, answered in a real browser.
import assert from "node:assert/strict";
import { test } from "node:test";

import { api, human, isWell, newRun, open } from "./browser.mjs";

/** The last message of the thread, once its latest run has ended. */
async function lastMessage({ thread_id }) {
  const [latest] = await api("GET", `/threads/${thread_id}/runs?limit=1`);
  await api("GET", `/threads/${thread_id}/runs/${latest.run_id}/join`);
  const { values } = await api("GET", `/threads/${thread_id}/state`);
  return values.messages.at(-1).content;
}

test("an action is approved, and the run that continues is linked", async (context) => {
  const run = await newRun("payments", human("pay invoice 2042"));
  const page = await open(context, `#/approvals?thread=${run.thread_id}`);
  await page.getByText("send_payment").first().waitFor();
  await isWell(page, "approvals-light-1440");
  await page.getByRole("button", { name: "Approve", exact: true }).click();
  await page.getByRole("link", { name: "See the run that continues" }).click();
  await page.locator(".status-success").waitFor();
  assert.match(await lastMessage(run), /96.00 EUR were paid/);
});

test("an action is changed before it is approved, and another one is rejected", async (context) => {
  const changed = await newRun("payments", human("pay invoice 2042"));
  const page = await open(context, `#/approvals?thread=${changed.thread_id}`);
  const args = page.getByLabel("Arguments (JSON)");
  await args.fill((await args.inputValue()).replace(/96(\.0)?/, "1"));
  assert.ok(
    await page.getByRole("button", { name: "Approve", exact: true }).isDisabled(),
    "what was changed is not approved as it was",
  );
  const address = page.url();
  await page.getByRole("button", { name: "Approve with changes" }).click();
  await page.getByRole("link", { name: "See the run that continues" }).click();
  await page.locator(".status-success").waitFor();
  assert.match(await lastMessage(changed), /1.00 EUR were paid/);

  const rejected = await newRun("payments", human("pay invoice 2041"));
  await page.goto(address.replace(changed.thread_id, rejected.thread_id));
  await page.getByLabel("Reason or answer").fill("not yet");
  await page.getByRole("button", { name: "Reject" }).click();
  await page.getByRole("link", { name: "See the run that continues" }).click();
  await page.locator(".status-success").waitFor();
  assert.match(await lastMessage(rejected), /the payment was refused/);
});

test("an interrupt with a response_schema has a form, whose answer fits it", async (context) => {
  const run = await newRun("survey", human("ask me"));
  const page = await open(context, `#/approvals?thread=${run.thread_id}`, { width: 360, scheme: "dark" });
  await page.getByText("Take the offer of Aurora?").waitFor();
  await page.getByLabel("Verdict").selectOption("refuse");
  await page.getByRole("button", { name: "Answer" }).click();
  await page.getByRole("alert").filter({ hasText: "Price is required" }).waitFor();
  await page.getByLabel("Price").fill("-1");
  await page.getByLabel(/Is Urgent/).check();
  await isWell(page, "approvals-dark-360");
  // What the form cannot know, the server checks, and the question stays open.
  await page.getByRole("button", { name: "Answer" }).click();
  await page.getByText("does not fit its response_schema").waitFor();
  await page.getByLabel("Price").fill("12.5");
  await page.getByRole("button", { name: "Answer" }).click();
  await page.getByText("Answered.").waitFor();
  assert.match(await lastMessage(run), /refuse.*12.5.*True/);
});

test("of two deciders one wins, and the other hears of it", async (context) => {
  const run = await newRun("payments", human("pay invoice 2042"));
  const [first, second] = await Promise.all([1, 2].map(() => open(context, `#/approvals?thread=${run.thread_id}`)));
  // The second one decides on what it saw before the first one's answer.
  await second.getByRole("button", { name: "Reject" }).waitFor();
  await second.route(/[/]approvals[?]/, (route) => route.abort());
  await first.getByRole("button", { name: "Approve", exact: true }).click();
  await first.getByText("Answered.").waitFor();
  await second.getByRole("button", { name: "Reject" }).click();
  await second.getByText("Another decision was faster").waitFor();
  assert.match(await lastMessage(run), /96.00 EUR were paid/);
});

test("several threads are approved at once", async (context) => {
  const runs = [
    await newRun("payments", human("pay invoice 2041")),
    await newRun("payments", human("pay invoice 2042")),
  ];
  const page = await open(context, "#/approvals");
  page.on("dialog", (dialog) => dialog.accept());
  await page.getByRole("button", { name: /Approve all/ }).click();
  for (const run of runs) {
    await page.getByRole("region", { name: run.thread_id }).waitFor({ state: "detached" });
    assert.match(await lastMessage(run), /were paid/);
  }
});
