// How a step talks to the runner: its files for outputs and state, and its command for errors.
'use strict';

const crypto = require('node:crypto');
const fs = require('node:fs');

// An error that a person can act on: cdflow's exit code, what failed and why, and how to fix it.
class Failure extends Error {
  constructor(exit, what, ...fixes) {
    super([what, ...fixes.map((fix) => `  -> ${fix}`)].join('\n'));
    this.exit = exit;
  }
}

// The words for exit codes are those of cdflow (docs/exit-codes.md).
const REASONS = { 1: 'internal', 2: 'invalid-input', 7: 'state-not-saved', 9: 'integrity', 10: 'unavailable' };

function append(variable, name, value) {
  const file = process.env[variable];
  if (!file) return;
  const delimiter = crypto.randomUUID();
  fs.appendFileSync(file, `${name}<<${delimiter}\n${value}\n${delimiter}\n`);
}

// For post.js, which gets it as STATE_<name>.
const saveState = (name, value) => append('GITHUB_STATE', name, value);

// Ends the step with an error, in the words and with the outputs of cdflow's own errors.
function fail(error) {
  const exit = error instanceof Failure ? error.exit : 1;
  const text = error instanceof Failure ? error.message : `cdflow cannot be started: ${error.stack}`;
  const escaped = text.replace(/%/g, '%25').replace(/\r/g, '%0D').replace(/\n/g, '%0A');
  console.log(`::error::${escaped}`);
  append('GITHUB_OUTPUT', 'exit-code', exit);
  append('GITHUB_OUTPUT', 'failure-reason', REASONS[exit]);
  process.exitCode = exit;
}

module.exports = { Failure, fail, saveState };
