import { defineConfig } from "vite";

// Addresses are relative, so that the pages work under any prefix.
export default defineConfig({
  base: "./",
  oxc: { jsx: { runtime: "automatic", importSource: "preact" } },
  build: {
    outDir: "../src/runstead/console",
    emptyOutDir: true,
    target: "es2022",
    modulePreload: { polyfill: false },
    assetsInlineLimit: 0,
    reportCompressedSize: false,
    rolldownOptions: {
      // Of LangChain's packages only the client for runs is used: their modules do nothing when they are loaded.
      treeshake: {
        moduleSideEffects: (id) => !id.includes("/@langchain/") && !/\/node_modules\/(zod|langsmith)\//.test(id),
      },
    },
  },
});
