// How `node --test` tells pytest: one line of JSON for each test at the top of a file.
import { inspect } from "node:util";

export default async function* report(events) {
  for await (const { type, data } of events) {
    if (type === "test:stdout" || type === "test:stderr") {
      yield line({ said: data.message });
    } else if ((type === "test:pass" || type === "test:fail") && data.nesting === 0) {
      const error = data.details?.error;
      yield line({
        title: data.name,
        passed: type === "test:pass",
        skipped: data.skip ?? null,
        text: error ? inspect(error.cause ?? error, { depth: 6 }) : "",
      });
    }
  }
}

function line(value) {
  return `${JSON.stringify(value)}\n`;
}
