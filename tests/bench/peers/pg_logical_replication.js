// npm pg-logical-replication: pgoutput decoded to an object for each message.
"use strict";

const { LogicalReplicationService, PgoutputPlugin } = require("pg-logical-replication");

const wanted = JSON.parse(process.argv[2]);
const service = new LogicalReplicationService(
  { host: wanted.host, port: Number(wanted.port), database: wanted.dbname, user: wanted.user },
  { acknowledge: { auto: true, timeoutSeconds: 10 } },
);
const times = [];
let seen = 0;

service.on("data", (lsn, message) => {
  if (message.tag !== "insert" && message.tag !== "update" && message.tag !== "delete") return;
  seen += 1;
  if (wanted.with_times) times.push((performance.timeOrigin + performance.now()) / 1000);
  if (seen === wanted.changes) report();
});
service.on("error", (error) => {
  console.error(error);
  process.exit(1);
});

const began = process.hrtime.bigint();
const cpu = process.cpuUsage();
service.subscribe(new PgoutputPlugin({ protoVersion: 1, publicationNames: [wanted.publication] }), wanted.slot);

function report() {
  const used = process.cpuUsage(cpu);
  const found = {
    changes: seen,
    seconds: Number(process.hrtime.bigint() - began) / 1e9,
    cpu_seconds: (used.user + used.system) / 1e6,
    peak_mb: peakMemory(),
    times,
  };
  process.stdout.write(JSON.stringify(found) + "\n", () => process.exit(0));
}

function peakMemory() {
  try {
    return Number(/VmHWM:\s+(\d+)/.exec(require("fs").readFileSync("/proc/self/status", "utf8"))[1]) / 1024;
  } catch {
    return process.resourceUsage().maxRSS / 1024;
  }
}
