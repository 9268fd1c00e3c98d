// A tab with a chat in it, used as a human would use it.
import assert from "node:assert/strict";

const WITHIN = 30_000;

export class Tab {
  constructor(page) {
    this.page = page;
    this.problems = [];
    page.on("pageerror", (error) => this.problems.push(String(error)));
    page.setDefaultTimeout(WITHIN);
  }

  get threadId() {
    return new URL(this.page.url()).searchParams.get("thread");
  }

  async send() {
    await this.page.click(".send");
  }

  async stop() {
    await this.page.click(".stop");
  }

  async approve() {
    await this.page.click(".approve");
  }

  async reload() {
    await this.page.reload();
  }

  /** Until a text can be seen. */
  async sees(text, where = "main, [data-busy]") {
    await this.page.locator(where, { hasText: text }).first().waitFor();
  }

  /** Until nothing is at work any more. */
  async rests() {
    await this.page.locator("[data-busy=false]").waitFor();
  }

  async messages() {
    return this.page.locator("li").evaluateAll((items) =>
      items.map((item) => ({
        type: item.className,
        text: [...item.querySelectorAll(".text")].map((text) => text.textContent).join(" "),
        calls: [...item.querySelectorAll(".call")].map((call) => call.textContent),
      })),
    );
  }

  async answers() {
    return (await this.messages()).filter(({ type, text }) => type === "ai" && text).map(({ text }) => text);
  }

  /** Every text that the answers have had on the screen so far. */
  async seen() {
    return this.page.evaluate(() => window.seen ?? []);
  }

  /** Nothing was thrown, and nothing said to have gone wrong. */
  async isWell() {
    assert.deepEqual(this.problems, []);
    assert.deepEqual(await this.page.locator(".error").allTextContents(), []);
  }
}
