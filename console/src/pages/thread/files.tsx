// The files of a thread: those that users upload, and those that agents make.
import { useState } from "preact/hooks";

import { getPage, send } from "../../api";
import { bytes } from "../../format";
import { useResource } from "../../resource";
import { Button, Empty, Problem } from "../../ui/basics";
import { Table } from "../../ui/table";

type File = { path: string; size: number; modified_at: string };

const POLL_MS = 5_000;

export function Files({ threadId }: { threadId: string }) {
  const path = `/threads/${threadId}/files`;
  const { data, error, reload } = useResource(path, () => getPage<File>(path), POLL_MS);
  const [problem, setProblem] = useState<string | null>(null);
  const act = async (work: () => Promise<unknown>): Promise<void> => {
    try {
      setProblem(null);
      await work();
      await reload();
    } catch (failure) {
      setProblem((failure as Error).message);
    }
  };
  return (
    <>
      <label>
        Upload a file{" "}
        <input type="file" multiple onChange={(event) => act(() => upload(path, event.currentTarget.files!))} />
      </label>
      <Problem text={error ?? problem} />
      {data?.items.length === 0 && <Empty>This thread has no files.</Empty>}
      {data !== null && data.items.length > 0 && (
        <Table
          label="Files"
          rows={data.items}
          keyOf={(file) => file.path}
          columns={[
            { title: "Path", of: (file) => <code>{file.path}</code>, isText: true },
            { title: "Size", of: (file) => bytes(file.size), isNumber: true },
            {
              title: "Actions",
              of: (file) => (
                <span class="actions">
                  <Button onClick={() => act(() => download(path, file.path))}>Download</Button>
                  <Button
                    kind="danger"
                    onClick={() => act(() => send(path, { method: "DELETE" }, { path: file.path }))}
                  >
                    Delete
                  </Button>
                </span>
              ),
            },
          ]}
        />
      )}
    </>
  );
}

async function upload(path: string, files: FileList): Promise<void> {
  const form = new FormData();
  for (const file of files) form.append("file", file);
  await send(path, { method: "POST", body: form });
}

/** Saves a file; a link could not send the user's credentials. */
async function download(path: string, file: string): Promise<void> {
  const content = await (await send(`${path}/content`, {}, { path: file })).blob();
  const link = document.createElement("a");
  link.href = URL.createObjectURL(content);
  link.download = file.split("/").at(-1) ?? "file";
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}
