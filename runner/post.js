// The clean-up of the step. If the runner killed main.js before cdflow ended, `cdflow post` waits for cdflow, shows the
// rest of its output, and reports how it ended. Meanwhile the runner keeps the job.
'use strict';

const { spawn } = require('node:child_process');
const { Failure, fail } = require('./step.js');

const { STATE_folder: folder, STATE_program: program } = process.env;
if (folder) {
  const post = spawn(program, ['post'], { stdio: ['ignore', 'inherit', 'inherit'] });
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) process.on(signal, () => post.kill(signal));
  // 7: the state might not be saved.
  post.on('exit', (code) => (process.exitCode = code ?? 7));
  post.on('error', (error) =>
    fail(
      new Failure(
        7,
        `cannot wait for the cancelled step: \`${program}\`, ${error.message}`,
        'show what is deployed with `cdflow status`, and whether the state is locked with `cdflow unlock ENVIRONMENT`',
      ),
    ),
  );
}
