// The checkpoints of a thread as a tree: a lane for each branch, as in the history of a version control system.
export type TreeNode = { id: string; parent: string | null };

export type TreeRow = {
  lane: number;
  /** Lanes of branches that pass by. */
  passing: number[];
  /** Lanes from above that end in this node: those of its children. */
  joining: number[];
  hasParent: boolean;
};

/** Rows for nodes in their order, the newest first: children stand before their parents. */
export function treeOf(nodes: readonly TreeNode[]): TreeRow[] {
  // The parent that each lane leads to; null for a lane that is free.
  const lanes: (string | null)[] = [];
  return nodes.map(({ id, parent }) => {
    const joining = lanes.flatMap((wanted, lane) => (wanted === id ? [lane] : []));
    const free = lanes.indexOf(null);
    const lane = joining[0] ?? (free === -1 ? lanes.length : free);
    for (const one of joining) lanes[one] = null;
    const passing = lanes.flatMap((wanted, one) => (wanted === null ? [] : [one]));
    lanes[lane] = parent;
    return { lane, passing, joining, hasParent: parent !== null };
  });
}

/** The number of lanes that are drawn side by side. */
export function widthOf(rows: readonly TreeRow[]): number {
  return Math.max(1, ...rows.map((row) => Math.max(row.lane, ...row.passing, ...row.joining) + 1));
}
