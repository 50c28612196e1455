import { defineConfig } from "vite";

// `npm run dev` serves the page beside a running tifo; TIFO_URL says where that is.
const tifo = process.env["TIFO_URL"] ?? "http://127.0.0.1:8080";

const proxy = { "/v1": tifo, "/metrics": tifo, "/mqtt": { target: tifo, ws: true } };

export default defineConfig({
  base: "./",
  build: { target: "es2022", assetsInlineLimit: 0, chunkSizeWarningLimit: 600 },
  server: { proxy },
  preview: { proxy },
});
