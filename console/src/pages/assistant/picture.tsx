// The picture of a graph: nodes placed by dagre, edges as paths. The same is in a list for readers of the screen.
import { Graph, layout } from "@dagrejs/dagre";
import { useMemo } from "preact/hooks";

import { get } from "../../api";
import { useResource } from "../../resource";
import { Problem } from "../../ui/basics";

type Node = { id: string; data?: { name?: string } };
type Edge = { source: string; target: string; conditional?: boolean; data?: string };
type Drawing = { nodes: Node[]; edges: Edge[] };

const HEIGHT = 34;
const CHARACTER = 8.2;

export function GraphPicture({ assistantId }: { assistantId: string }) {
  const path = `/assistants/${assistantId}/graph`;
  const { data, error } = useResource(path, () => get<Drawing>(path));
  if (data === null) return <Problem text={error} />;
  return (
    <>
      <div class="scroll picture" tabIndex={0} role="region" aria-label="Picture of the graph">
        <Picture drawing={data} />
      </div>
      <details>
        <summary>{data.edges.length} edges as a list</summary>
        <ul>
          {data.edges.map((edge) => (
            <li key={`${edge.source} ${edge.target} ${edge.data}`}>
              {edge.source} to {edge.target}
              {edge.conditional && ", conditional"}
              {edge.data && `: ${edge.data}`}
            </li>
          ))}
        </ul>
      </details>
    </>
  );
}

function Picture({ drawing }: { drawing: Drawing }) {
  const { nodes, edges, width, height } = useMemo(() => placed(drawing), [drawing]);
  return (
    <svg
      width={width}
      height={height}
      viewBox={`0 0 ${width} ${height}`}
      role="img"
      aria-label={`${nodes.length} nodes and ${edges.length} edges`}
    >
      <defs>
        <marker
          id="arrow"
          viewBox="0 0 8 8"
          refX="7"
          refY="4"
          markerWidth="7"
          markerHeight="7"
          orient="auto-start-reverse"
        >
          <path d="M0 0 L8 4 L0 8 z" class="arrow" />
        </marker>
      </defs>
      {edges.map((edge) => (
        <path
          key={edge.key}
          d={edge.path}
          class={edge.conditional ? "edge edge-conditional" : "edge"}
          marker-end="url(#arrow)"
        />
      ))}
      {nodes.map((node) => (
        <g key={node.id} transform={`translate(${node.x - node.width / 2} ${node.y - HEIGHT / 2})`}>
          <rect
            width={node.width}
            height={HEIGHT}
            rx={node.isEnd ? HEIGHT / 2 : 6}
            class={node.isEnd ? "node node-end" : "node"}
          />
          <text x={node.width / 2} y={HEIGHT / 2} class="node-name">
            {node.name}
          </text>
        </g>
      ))}
    </svg>
  );
}

function placed({ nodes, edges }: Drawing) {
  const graph = new Graph({ multigraph: true });
  graph.setGraph({ rankdir: "TB", nodesep: 32, ranksep: 46, marginx: 16, marginy: 16 });
  for (const node of nodes) graph.setNode(node.id, { width: nameOf(node).length * CHARACTER + 28, height: HEIGHT });
  edges.forEach((edge, place) => graph.setEdge(edge.source, edge.target, {}, String(place)));
  layout(graph);
  const { width = 0, height = 0 } = graph.graph();
  return {
    width,
    height,
    nodes: nodes.map((node) => {
      const { x = 0, y = 0, width: wide = 0 } = graph.node(node.id);
      return { id: node.id, name: nameOf(node), isEnd: node.id.startsWith("__"), x, y, width: wide };
    }),
    edges: edges.map((edge, place) => {
      const { points = [] } = graph.edge(edge.source, edge.target, String(place));
      return { key: String(place), conditional: edge.conditional === true, path: pathOf(points) };
    }),
  };
}

function nameOf(node: Node): string {
  return (node.data?.name ?? node.id).replace(/^__(start|end)__$/, "$1");
}

type Point = { x: number; y: number };

/** A smooth path through points: quadratic curves between the middles of its parts. */
function pathOf(points: Point[]): string {
  const [first, ...others] = points;
  if (first === undefined) return "";
  const curves = others.slice(0, -1).map((point, place) => {
    const next = others[place + 1]!;
    return `Q${point.x} ${point.y} ${(point.x + next.x) / 2} ${(point.y + next.y) / 2}`;
  });
  const last = others.at(-1) ?? first;
  return `M${first.x} ${first.y} ${curves.join(" ")} L${last.x} ${last.y}`;
}
