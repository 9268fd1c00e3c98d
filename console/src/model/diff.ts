// The differences of two JSON values, by the path of what differs.
export type Change = { path: string; before: unknown; after: unknown };

/** `undefined` stands for a value that is not there. */
export function differences(before: unknown, after: unknown, path = ""): Change[] {
  if (Object.is(before, after)) return [];
  if (!isBranch(before) || !isBranch(after) || Array.isArray(before) !== Array.isArray(after)) {
    return [{ path: path || "all", before, after }];
  }
  const names = new Set([...Object.keys(before), ...Object.keys(after)]);
  return [...names].flatMap((name) => {
    const below = path === "" ? name : `${path}.${name}`;
    return differences((before as Branch)[name], (after as Branch)[name], below);
  });
}

type Branch = Record<string, unknown>;

function isBranch(value: unknown): value is object {
  return typeof value === "object" && value !== null;
}
