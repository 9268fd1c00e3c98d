// The versions of an assistant: any of them can be made the current one.
import { useState } from "preact/hooks";

import { call, search } from "../../api";
import { useResource } from "../../resource";
import type { Assistant } from "../../types";
import { Button, Problem, Time } from "../../ui/basics";
import { JsonView } from "../../ui/json";

const MANY = 100;

export function Versions({ assistant, reload }: { assistant: Assistant; reload: () => Promise<void> }) {
  const path = `/assistants/${assistant.assistant_id}`;
  const { data, error } = useResource(`${path} ${assistant.version}`, () =>
    search<Assistant>(`${path}/versions`, { limit: MANY }),
  );
  const [problem, setProblem] = useState<string | null>(null);
  const choose = async (version: number): Promise<void> => {
    try {
      setProblem(null);
      await call("POST", `${path}/latest`, { version });
      await reload();
    } catch (failure) {
      setProblem((failure as Error).message);
    }
  };
  return (
    <>
      <Problem text={error ?? problem} />
      <ol class="list">
        {data?.items.map(({ version, name, created_at, config, context, metadata, description }) => (
          <li key={version}>
            <div class="row">
              <strong>
                Version {version}
                {version === assistant.version && <span class="note">current</span>}
              </strong>
              <Time value={created_at} />
              {version !== assistant.version && (
                <Button onClick={() => choose(version)}>Make version {version} current</Button>
              )}
            </div>
            <JsonView value={{ name, description, config, context, metadata }} depth={0} />
          </li>
        ))}
      </ol>
    </>
  );
}
