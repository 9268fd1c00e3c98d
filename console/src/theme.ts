// Light or dark: as the system, unless the reader has chosen.
import { effect, signal } from "@preact/signals";

export type Theme = "system" | "light" | "dark";

const STORED_AS = "runstead.theme";

export const theme = signal<Theme>((localStorage.getItem(STORED_AS) as Theme | null) ?? "system");

effect(() => {
  localStorage.setItem(STORED_AS, theme.value);
  if (theme.value === "system") delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = theme.value;
});
