// The frame around the pages: login, themes, keyboard, and a server that is away.
import assert from "node:assert/strict";
import { test } from "node:test";

import { human, isWell, newRun, open, visitor } from "./browser.mjs";

const { API_KEY } = process.env;

test("a user logs in with a key, which is kept for the tab alone, and logs out", async (context) => {
  const page = await open(context, "", { key: null });
  await page.getByRole("heading", { name: "Log in to Runstead" }).waitFor();
  await page.getByText("Send an API key").waitFor();
  await isWell(page, "login-light-1440");
  await page.getByLabel("API key", { exact: true }).fill("wrong");
  await page.keyboard.press("Enter");
  await page.getByRole("status").filter({ hasText: /key/i }).waitFor();
  await page.getByLabel("API key", { exact: true }).fill(API_KEY);
  await page.getByRole("button", { name: "Log in" }).click();
  await page.getByRole("heading", { name: "Runs" }).waitFor();
  await page.reload();
  await page.getByRole("heading", { name: "Runs" }).waitFor();
  assert.equal(await page.evaluate(() => localStorage.getItem("runstead.credentials")), null);
  await page.getByRole("button", { name: "Log out" }).click();
  await page.getByText("You have logged out").waitFor();
  await page.reload();
  await page.getByRole("heading", { name: "Log in to Runstead" }).waitFor();
});

test("an access token is sent as a bearer token", async (context) => {
  const page = await open(context, "", { key: null });
  await page.getByLabel("Log in with").selectOption("an access token");
  await page.getByLabel("Access token", { exact: true }).fill(API_KEY);
  await page.keyboard.press("Enter");
  await page.getByRole("heading", { name: "Runs" }).waitFor();
});

test("the theme is chosen, and stays", async (context) => {
  const page = await open(context);
  await page.getByLabel("Theme").selectOption("dark");
  const ground = () => page.evaluate(() => getComputedStyle(document.body).backgroundColor);
  const dark = await ground();
  await page.reload();
  await page.getByRole("heading", { name: "Runs" }).waitFor();
  assert.equal(await ground(), dark);
  await page.getByLabel("Theme").selectOption("light");
  assert.notEqual(await ground(), dark);
});

test("the content is reached by keyboard, and an unknown address says so", async (context) => {
  const page = await open(context, "#/nowhere");
  await page.getByText("There is no page at this address").waitFor();
  await page.keyboard.press("Tab");
  await page.keyboard.press("Enter");
  assert.equal(await page.evaluate(() => document.activeElement.id), "main");
});

test("a page goes on when the server is back, and says how long it was away", async (context) => {
  const page = await open(context, "#/runs");
  await page.getByRole("heading", { name: "Runs" }).waitFor();
  let isAway = true;
  await page.route(/[/](runs|ok)/, (route) => (isAway ? route.abort("connectionrefused") : route.continue()));
  await page.getByText("The server does not answer since").waitFor();
  // Longer than a hiccup, of which nothing is said.
  await page.waitForTimeout(1_600);
  // Meanwhile a run ends.
  await newRun("fail", human("x"));
  isAway = false;
  await page.getByText("The server was away for").waitFor();
  await page.getByText(/Since it went away: \d+ runs? began; \d+ runs? ended, \d+ of them with an error/).waitFor();
  await isWell(page, "away-light-1440");
  await page.getByRole("button", { name: "Dismiss" }).click();
  await page.getByText("found, live").waitFor();
});

test("tabs of one user read a list over one connection, also after the reading tab is closed", async (context) => {
  const newTab = await visitor(context);
  const tabs = [];
  const reads = [];
  for (let number = 0; number < 6; number += 1) {
    const tab = await newTab("#/runs");
    await tab.getByText("found, live").waitFor();
    const session = await tab.context().newCDPSession(tab);
    await session.send("Network.enable");
    session.on("Network.responseReceived", ({ response }) => {
      if (/[/]runs[?]/.test(response.url)) reads.push({ number, connection: response.connectionId });
    });
    tabs.push(tab);
  }
  // Until the tabs know each other, each reads for itself; a tab that waits too long for the other does so, too.
  const readByOne = async () => {
    do {
      reads.length = 0;
      while (reads.length < 5) await tabs.at(-1).waitForTimeout(100);
    } while (["number", "connection"].some((name) => new Set(reads.map((read) => read[name])).size > 1));
    return reads[0].number;
  };
  const reader = await readByOne();
  const run = await newRun("story", human("go"));
  for (const tab of tabs) await tab.getByText(run.run_id.slice(-4)).first().waitFor();
  await tabs[reader].close();
  tabs.splice(reader, 1);
  assert.notEqual(await readByOne(), reader);
});
