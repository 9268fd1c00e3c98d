// The login at the OIDC issuer of a server: authorization code with PKCE.
import assert from "node:assert/strict";
import { test } from "node:test";

import { isWell, open } from "./browser.mjs";

const { OIDC_URL, ISSUER } = process.env;

test("a user logs in at the issuer, without a token in any address or in lasting storage", async (context) => {
  const page = await open(context, "#/threads", { key: null, servers: [OIDC_URL, ISSUER] });
  const addresses = [];
  page.on("request", (request) => addresses.push(request.url()));
  const logIn = page.getByRole("button", { name: /Log in at 127.0.0.1/ });
  await logIn.waitFor();
  await isWell(page, "login-oidc-light-1440");
  await logIn.click();
  // The page that was asked for is shown, at an address without code.
  await page.getByRole("heading", { name: "Threads" }).waitFor();
  await page.getByText("found, live").waitFor();
  assert.equal(page.url(), `${OIDC_URL}/console/#/threads`);
  const { secret } = JSON.parse(await page.evaluate(() => sessionStorage.getItem("runstead.credentials")));
  assert.equal(secret.split(".").length, 3);
  assert.equal(addresses.filter((address) => address.includes(secret)).length, 0);
  assert.equal(await page.evaluate((text) => JSON.stringify({ ...localStorage }).includes(text), secret), false);
  assert.equal(await page.evaluate(() => sessionStorage.getItem("runstead.login")), null);
  await page.reload();
  await page.getByText("found, live").waitFor();
  await page.getByRole("button", { name: "Log out" }).click();
  await page.getByText("You have logged out").waitFor();

  // An answer to a login that this tab has not begun is refused, and so is the refusal of the issuer shown.
  await page.goto(`${OIDC_URL}/console/?code=stolen&state=forged`);
  await page.getByText("This login was not begun in this tab").waitFor();
  assert.equal(new URL(page.url()).search, "");
  assert.equal(addresses.filter((address) => address.includes("/token")).length, 1);
  assert.deepEqual(page.mistakes, []);
});
