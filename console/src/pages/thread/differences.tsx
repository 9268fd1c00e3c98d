// The differences of the values of two checkpoints.
import { differences } from "../../model/diff";
import { preview, shortId } from "../../format";
import type { ThreadState } from "../../types";
import { Empty } from "../../ui/basics";

const LONGEST = 2_000;

export function Differences({ before, after }: { before: ThreadState; after: ThreadState }) {
  const changes = differences(before.values, after.values);
  return (
    <>
      <h2>
        From {shortId(before.checkpoint!.checkpoint_id)} to {shortId(after.checkpoint!.checkpoint_id)}
      </h2>
      {changes.length === 0 && <Empty>The values are the same.</Empty>}
      {changes.map(({ path, before: old, after: now }) => (
        <section key={path} class="change">
          <h3>
            <code>{path}</code>
          </h3>
          {old !== undefined && (
            <p class="removed">
              <span class="mark">was</span> {preview(old, LONGEST)}
            </p>
          )}
          {now !== undefined && (
            <p class="added">
              <span class="mark">is</span> {preview(now, LONGEST)}
            </p>
          )}
        </section>
      ))}
    </>
  );
}
