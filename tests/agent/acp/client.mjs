// A session with the agent by the TypeScript SDK: node client.mjs FOLDER COMMAND...
// It prints one JSON object: what it was told, and how the prompt ended.
import { spawn } from "node:child_process";
import { Readable, Writable } from "node:stream";
import * as acp from "@agentclientprotocol/sdk";

const [folder, command, ...words] = process.argv.slice(2);
const agent = spawn(command, words, { stdio: ["pipe", "pipe", "inherit"] });
const stream = acp.ndJsonStream(Writable.toWeb(agent.stdin), Readable.toWeb(agent.stdout));
const updates = [];
const asked = [];
const { methods } = acp;

const found = await acp
  .client({ name: "a test" })
  .onNotification(methods.client.session.update, ({ params }) => {
    updates.push(params.update.sessionUpdate);
  })
  .onRequest(methods.client.session.requestPermission, ({ params }) => {
    asked.push(params.toolCall.title);
    const option = params.options.find((one) => one.kind === "allow_once");
    return { outcome: { outcome: "selected", optionId: option.optionId } };
  })
  .connectWith(stream, async (context) => {
    const hello = { protocolVersion: acp.PROTOCOL_VERSION, clientCapabilities: {} };
    const first = await context.request(methods.agent.initialize, hello);
    const where = { cwd: folder, mcpServers: [] };
    const { sessionId } = await context.request(methods.agent.session.new, where);
    const prompt = [{ type: "text", text: "Mend it." }];
    const ended = await context.request(methods.agent.session.prompt, { sessionId, prompt });
    const { sessions } = await context.request(methods.agent.session.list, { cwd: folder });
    await context.request(methods.agent.session.close, { sessionId });
    return { version: first.protocolVersion, ...ended, sessions: sessions.length };
  });
agent.stdin.end();
const code = await new Promise((resolve) => agent.on("exit", resolve));
console.log(JSON.stringify({ ...found, updates, asked, code }));
process.exit(0);
