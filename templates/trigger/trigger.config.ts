// The project's settings for Trigger.dev {{.Version}}; keep it in the root of the
// repository that has the tasks. `npx trigger.dev@{{.Version}} deploy` reads it.
import { defineConfig } from "@trigger.dev/sdk";

const project = process.env.TRIGGER_PROJECT_REF;
if (!project) {
  throw new Error("TRIGGER_PROJECT_REF is not set: it is shown in the project's settings on https://{{.Domain}}");
}

export default defineConfig({
  project,
  dirs: ["./trigger"],
  // The default runtime is a Node.js that gets no security fixes any more.
  runtime: "node-22",
  logLevel: "info",
  // Seconds of CPU time an attempt may take, so that a task that hangs ends.
  maxDuration: {{.MaxDuration}},
  // vCPU and memory of a run: 0.5 and 0.5 GB. A task that needs more says so.
  machine: "small-1x",
  retries: {
    enabledInDev: false,
    default: {
      maxAttempts: 3,
      minTimeoutInMs: 1_000,
      maxTimeoutInMs: 10_000,
      factor: 2,
      randomize: true,
    },
  },
});
