// The pages about the work of the server: workers, keys, limits; and why a run waits.
import assert from "node:assert/strict";
import { test } from "node:test";

import { addressOf, api, human, isWell, newRun, open } from "./browser.mjs";

const { OPERATOR_KEY, READER_KEY } = process.env;

test("an operator sees the workers with their slots and leases, others are told who may", async (context) => {
  const run = await newRun("saga", human("go"), { wait: false, stream_mode: ["messages-tuple"] });
  const page = await open(context, "#/workers", { key: OPERATOR_KEY });
  await page.getByText(/^[1-9]\d* of \d+$/).waitFor();
  await page.getByRole("region", { name: "Runs that are held" }).getByText(run.run_id.slice(-4)).waitFor();
  await page.getByRole("region", { name: "Connections" }).getByRole("row", { name: /runs/ }).waitFor();
  await page.getByRole("button", { name: /Show all \d+ tables/ }).click();
  await page.getByRole("row", { name: /webhook_attempts/ }).waitFor();
  await page.getByRole("button", { name: "Show the largest tables only" }).click();
  await isWell(page, "workers-light-1440");
  await page.setViewportSize({ width: 360, height: 900 });
  await page.emulateMedia({ colorScheme: "dark" });
  await isWell(page, "workers-dark-360");
  await api("PUT", "/store/items", { namespace: ["gate"], key: run.thread_id, value: {} });
  const other = await open(context, "#/workers");
  await other.getByRole("alert").filter({ hasText: "operators" }).waitFor();
});

test("an admin sees keys and users, and may not revoke the key of an operator", async (context) => {
  const page = await open(context, "#/keys");
  const keys = page.getByRole("region", { name: "API keys" });
  await keys.getByRole("row", { name: /valid.*ada.*admin/ }).waitFor();
  await page
    .getByRole("region", { name: "Users" })
    .getByRole("row", { name: /ada default 1/ })
    .waitFor();
  await isWell(page, "keys-light-1440");
  page.on("dialog", (dialog) => dialog.accept());
  await keys.getByRole("row", { name: /olga/ }).getByRole("button", { name: "Revoke" }).click();
  await page.getByRole("alert").filter({ hasText: "only operators revoke it" }).waitFor();
  // The key still works.
  const operator = await open(context, "#/keys", { key: OPERATOR_KEY });
  await operator
    .getByRole("region", { name: "API keys" })
    .getByRole("row", { name: /valid.*olga/ })
    .waitFor();
});

test("limits and budgets are shown with what is used of them", async (context) => {
  await newRun("story", human("go"));
  const page = await open(context, "#/limits", { width: 360, scheme: "dark" });
  await page.getByRole("row", { name: /runs in flight user 500/ }).waitFor();
  await page.getByRole("meter", { name: "Used part of budget per user and day" }).waitFor();
  await page.getByRole("row", { name: /thread \$5.00 not counted here/ }).waitFor();
  await isWell(page, "limits-dark-360");
  await page.getByRole("link", { name: "Usage" }).last().click();
  await page.getByRole("region", { name: "Budgets" }).waitFor();
});

test("a reader is offered nothing that changes something", async (context) => {
  const page = await open(context, "#/crons", { key: READER_KEY });
  await page.getByText("You may only read").waitFor();
  await page.getByText("No run is scheduled").waitFor();
  for (const button of await page.locator("button.primary, button.danger").all()) await expectDisabled(button);
  await page.evaluate(() => (location.hash = "#/playground"));
  await page.getByRole("alert").filter({ hasText: "You may only read" }).waitFor();
  await isWell(page, "reader-light-1440");
});

async function expectDisabled(button) {
  assert.equal(await button.isDisabled(), true);
}

test("a delayed run says until when", async (context) => {
  const run = await newRun("story", human("later"), { wait: false, after_seconds: 3600 });
  const page = await open(context, addressOf(run));
  await page.getByText("It is delayed until").waitFor();
  await isWell(page, "delayed-light-1440");
  await api("POST", `/threads/${run.thread_id}/runs/${run.run_id}/cancel`, {});
});
