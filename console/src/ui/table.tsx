// A table that scrolls by itself where the screen is narrow.
import type { ComponentChildren } from "preact";

type Column<T> = { title: string; of: (row: T) => ComponentChildren; isNumber?: boolean; isText?: boolean };
type TableProps<T> = { label: string; rows: readonly T[]; keyOf: (row: T) => string; columns: Column<T>[] };

export function Table<T>({ label, rows, keyOf, columns }: TableProps<T>) {
  return (
    <div class="scroll" tabIndex={0} role="region" aria-label={label}>
      <table>
        <thead>
          <tr>
            {columns.map((column) => (
              <th key={column.title} scope="col" class={column.isNumber ? "number" : ""}>
                {column.title}
              </th>
            ))}
          </tr>
        </thead>
        <tbody>
          {rows.map((row) => (
            <tr key={keyOf(row)}>
              {columns.map((column) => (
                <td key={column.title} class={column.isNumber ? "number" : column.isText ? "text" : ""}>
                  {column.of(row)}
                </td>
              ))}
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}
