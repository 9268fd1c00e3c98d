// The request that would create a run like this one, for a shell and for the clients.
import { ROOT } from "../api";
import { pretty } from "../format";
import { credentials } from "../session";
import type { Run } from "../types";

type Body = Record<string, unknown>;

function bodyOf(run: Run): Body {
  const { input, command, context, stream_mode } = run.kwargs;
  const body: Body = { assistant_id: run.assistant_id };
  if (command !== null) body.command = command;
  else body.input = input;
  if (context && Object.keys(context).length > 0) body.context = context;
  return { ...body, stream_mode, stream_resumable: true };
}

export function asCurl(run: Run): string {
  const header = { key: "x-api-key: $API_KEY", token: "authorization: Bearer $TOKEN" };
  const login = credentials.value === null ? "" : ` \\\n  -H "${header[credentials.value.kind]}"`;
  const body = pretty(bodyOf(run)).replaceAll("'", "'\\''");
  return `curl -N ${ROOT}/threads/${run.thread_id}/runs/stream -H 'content-type: application/json'${login} \\\n  -d '${body}'\n`;
}

export function asPython(run: Run): string {
  const { assistant_id, ...options } = bodyOf(run);
  const given = Object.entries(options).map(([name, value]) => `    ${name}=${python(value)},\n`);
  return (
    `from langgraph_sdk import get_client\n\nclient = get_client(url=${python(ROOT)}${pythonLogin()})\n` +
    `async for part in client.runs.stream(\n    ${python(run.thread_id)},\n    ${python(assistant_id)},\n` +
    `${given.join("")}):\n    print(part.event, part.data)\n`
  );
}

function pythonLogin(): string {
  const logins = { key: ", api_key=API_KEY", token: ', headers={"authorization": f"Bearer {TOKEN}"}' };
  return credentials.value === null ? ", api_key=None" : logins[credentials.value.kind];
}

function python(value: unknown): string {
  // The words that JSON and Python spell differently, outside of texts.
  const words = { true: "True", false: "False", null: "None" };
  return JSON.stringify(value).replace(
    /"(?:[^"\\]|\\.)*"|\b(true|false|null)\b/g,
    (found, word?: keyof typeof words) => (word === undefined ? found : words[word]),
  );
}

export function asJavaScript(run: Run): string {
  const { assistant_id, stream_mode, stream_resumable, ...others } = bodyOf(run);
  const options = { ...others, streamMode: stream_mode, streamResumable: stream_resumable };
  const logins = { key: "apiKey: API_KEY", token: "defaultHeaders: { authorization: `Bearer ${TOKEN}` }" };
  const login = credentials.value === null ? "apiKey: null" : logins[credentials.value.kind];
  return (
    `import { Client } from "@langchain/langgraph-sdk";\n\n` +
    `const client = new Client({ apiUrl: ${JSON.stringify(ROOT)}, ${login} });\n` +
    `const stream = client.runs.stream(${JSON.stringify(run.thread_id)}, ${JSON.stringify(assistant_id)}, ${pretty(options)});\n` +
    `for await (const part of stream) console.log(part.event, part.data);\n`
  );
}
