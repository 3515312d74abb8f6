// The step: fetches cdflow, starts it, shows its output, and passes a cancel on.
//
// The runner sends SIGINT, after 7.5 s SIGTERM, and kills node 2.5 s later. cdflow is therefore a process that does not
// depend on node: it has its own session, writes into a file, and post.js finds it by a folder.
'use strict';

const { spawn } = require('node:child_process');
const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');
const { fetchProgram, MIRROR } = require('./fetch.js');
const { Failure, fail, saveState } = require('./step.js');

let cdflow;
let isCancelled = false;
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) {
  process.on(signal, () => {
    if (!cdflow) process.exit(128 + os.constants.signals[signal]);
    // Only the first one: the second would end reports that post.js can wait for.
    if (!isCancelled) cdflow.kill(signal);
    isCancelled = true;
  });
}

async function main() {
  const program = await fetchProgram();
  const folder = fs.mkdtempSync(path.join(process.env.RUNNER_TEMP || os.tmpdir(), 'cdflow-step-'));
  // Before the start: post.js must find a run that outlives node.
  saveState('program', program);
  saveState('folder', folder);
  try {
    process.exitCode = await run(program, folder);
  } finally {
    // Nothing is left to wait for: cdflow has ended, or was never started.
    saveState('folder', '');
  }
  fs.rmSync(folder, { recursive: true, force: true });
}

function run(program, folder) {
  const env = { ...process.env, CDFLOW_STEP_FOLDER: folder };
  delete env[MIRROR];
  // The runner kills the processes with this variable at the end of a job, even in the middle of an apply.
  delete env.RUNNER_TRACKING_ID;
  const output = fs.openSync(path.join(folder, 'output'), 'a+', 0o600);
  cdflow = spawn(program, [], { detached: true, stdio: ['ignore', output, output], env });
  const show = follower(folder, output);
  const timer = setInterval(show, 100);
  return new Promise((resolve, reject) => {
    cdflow.on('exit', (code, signal) => {
      const missing = code === 1 && missingLibrary(output);
      if (missing) reject(cannotStart(program, missing));
      else resolve(code ?? 128 + os.constants.signals[signal]);
    });
    cdflow.on('error', (error) => reject(cannotStart(program, error.message)));
  }).finally(() => {
    clearInterval(timer);
    show();
  });
}

function cannotStart(program, why) {
  return new Failure(
    2,
    `cannot start cdflow: \`${program}\`, ${why}`,
    'run the job on a Linux with glibc 2.34 or newer that executes files of the tool cache',
    'use the Action in its container, which needs Docker',
  );
}

// What the system's loader says of a C library that is too old; it prints that instead of starting the program.
function missingLibrary(output) {
  const start = Buffer.alloc(1024);
  const length = fs.readSync(output, start, 0, start.length, 0);
  const found = /version `(GLIBC_[0-9.]+)' not found/.exec(start.toString('utf8', 0, length));
  return found && `this machine lacks ${found[1]}`;
}

// Returns a function that shows what was written since its last call, and notes for post.js how far it came.
function follower(folder, output) {
  let shown = 0;
  return () => {
    for (;;) {
      const piece = Buffer.alloc(64 * 1024);
      const length = fs.readSync(output, piece, 0, piece.length, shown);
      if (length === 0) return;
      process.stdout.write(piece.subarray(0, length));
      shown += length;
      fs.writeFileSync(path.join(folder, 'shown'), String(shown));
    }
  };
}

main().catch(fail);
