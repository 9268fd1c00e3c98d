// The checkpoints of a thread as a tree with its branches, the newest first: each can be forked, and any two be compared.
import { useState } from "preact/hooks";

import { search } from "../../api";
import { shortId } from "../../format";
import { href } from "../../router";
import { treeOf, type TreeRow, widthOf } from "../../model/checkpoint-tree";
import { useResource } from "../../resource";
import type { ThreadState } from "../../types";
import { Button, Empty, Id, Problem, Time } from "../../ui/basics";
import { JsonView } from "../../ui/json";
import { Branch } from "./branch";
import { Differences } from "./differences";

const LIMIT = 50;

export function History({ threadId, updatedAt }: { threadId: string; updatedAt: string }) {
  const [limit, setLimit] = useState(LIMIT);
  const { data, error } = useResource(`history ${threadId} ${updatedAt} ${limit}`, () =>
    search<ThreadState>(`/threads/${threadId}/history`, { limit }),
  );
  const [chosen, setChosen] = useState<string[]>([]);
  const states = data?.items ?? [];
  const rows = treeOf(states.map((state) => ({ id: idOf(state), parent: parentOf(state) })));
  const lanes = widthOf(rows);
  const choose = (id: string, isChosen: boolean): void =>
    setChosen(isChosen ? [...chosen, id].slice(-2) : chosen.filter((one) => one !== id));
  // The older one first.
  const compared = states.filter((state) => chosen.includes(idOf(state))).reverse();
  return (
    <>
      <Problem text={error} />
      {data !== null && states.length === 0 && <Empty>This thread has no checkpoints.</Empty>}
      <div class="split">
        <div>
          {states.length > 0 && <p class="muted">Choose one checkpoint to see its values, or two to compare them.</p>}
          <ol class="list tree" aria-label="Checkpoints">
            {states.map((state, place) => (
              <Row
                key={idOf(state)}
                state={state}
                row={rows[place]!}
                lanes={lanes}
                isBranch={isBranch(states, place)}
                isChosen={chosen.includes(idOf(state))}
                onChoose={(isChosen) => choose(idOf(state), isChosen)}
                fork={href(["fork", threadId], { checkpoint: idOf(state) })}
              />
            ))}
          </ol>
          {states.length === limit && <Button onClick={() => setLimit(limit + LIMIT)}>Show older ones</Button>}
        </div>
        <div class="inspector" role="region" aria-label="Chosen checkpoints" tabIndex={0}>
          {compared.length === 0 && <Empty>Nothing is chosen.</Empty>}
          {compared.length === 1 && <Values state={compared[0]!} />}
          {compared.length === 2 && <Differences before={compared[0]!} after={compared[1]!} />}
        </div>
      </div>
    </>
  );
}

function idOf(state: ThreadState): string {
  return state.checkpoint?.checkpoint_id ?? "";
}

function parentOf(state: ThreadState): string | null {
  return state.parent_checkpoint?.checkpoint_id ?? null;
}

/** Of two states with one parent, the newer one is a branch. */
function isBranch(states: ThreadState[], place: number): boolean {
  const parent = parentOf(states[place]!);
  return parent !== null && states.slice(place + 1).some((older) => parentOf(older) === parent);
}

function Values({ state }: { state: ThreadState }) {
  return (
    <>
      <h2>Values</h2>
      <JsonView value={state.values} depth={3} />
    </>
  );
}

type RowProps = {
  state: ThreadState;
  row: TreeRow;
  lanes: number;
  isBranch: boolean;
  isChosen: boolean;
  onChoose: (isChosen: boolean) => void;
  fork: string;
};

function Row({ state, row, lanes, isBranch, isChosen, onChoose, fork }: RowProps) {
  const id = idOf(state);
  return (
    <li class={isChosen ? "chosen" : ""}>
      <Branch row={row} lanes={lanes} />
      <div>
        <label>
          <input type="checkbox" checked={isChosen} onChange={(event) => onChoose(event.currentTarget.checked)} />{" "}
          <code title={id}>{shortId(id)}</code>
        </label>{" "}
        step {String(state.metadata.step ?? "")} · {String(state.metadata.source ?? "")}
        {isBranch && <span class="note">branch</span>}
        {state.next.length > 0 && ` · next ${state.next.join(", ")}`}{" "}
        {state.created_at && <Time value={state.created_at} />}{" "}
        <a href={fork} aria-label={`Fork from ${shortId(id)}`}>
          Fork
        </a>
        {state.parent_checkpoint && (
          <span class="muted">
            {" "}
            after <Id value={state.parent_checkpoint.checkpoint_id} />
          </span>
        )}
      </div>
    </li>
  );
}
