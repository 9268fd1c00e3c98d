// The lanes of a checkpoint beside its row. Lines stretch with the height of the row, and the node stays round.
import type { TreeRow } from "../../model/checkpoint-tree";

const STEP = 16;
const MIDDLE = 50;

export function Branch({ row, lanes }: { row: TreeRow; lanes: number }) {
  const width = lanes * STEP;
  const at = (lane: number): number => lane * STEP + STEP / 2;
  const lines = [
    ...row.passing.map((lane) => `M${at(lane)} 0V100`),
    ...row.joining.map((lane) => `M${at(lane)} 0C${at(lane)} ${MIDDLE} ${at(row.lane)} 0 ${at(row.lane)} ${MIDDLE}`),
    ...(row.hasParent ? [`M${at(row.lane)} ${MIDDLE}V100`] : []),
  ];
  return (
    <span class="branch" aria-hidden="true" style={{ width: `${width}px` }}>
      <svg viewBox={`0 0 ${width} 100`} preserveAspectRatio="none">
        <path d={lines.join("")} vector-effect="non-scaling-stroke" />
      </svg>
      <span class={`node lane-${row.lane % 4}`} style={{ insetInlineStart: `${at(row.lane)}px` }} />
    </span>
  );
}
